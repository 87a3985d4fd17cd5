"""Statements that are made once and serve any number of rows: lists go in as arrays.

A list that is expanded into as many parameters makes another text for each length, to be built here and parsed there;
rows sent one by one cost a way there and back each.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import TextClause, text


def insertion(table: str, columns: Sequence[tuple[str, str]], *, then: str) -> TextClause:
    """INSERT of many rows into these columns (name, type of Postgres), in the order of the arrays; and `then` ..."""
    names = ", ".join(name for name, _ in columns)
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns)
    return text(f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) {then}")


def arrays(rows: Iterable[object], columns: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """What such a statement takes: the attributes of these rows, column by column."""
    listed = list(rows)
    return {name: list(map(attrgetter(name), listed)) for name, _ in columns}
