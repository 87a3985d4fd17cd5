"""What all tables share."""

from datetime import timedelta

from sqlalchemy import BigInteger, Column, ColumnElement, DateTime, MetaData, func, text

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def time(name: str, *, now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not now, server_default=func.now() if now else None)


def count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def seconds(number: float | ColumnElement[float]) -> ColumnElement[timedelta]:
    """A length of time, to be added to a moment in a statement."""
    return func.make_interval(0, 0, 0, 0, 0, 0, number)
