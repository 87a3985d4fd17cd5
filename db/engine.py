"""Connections: one engine a process, with limits that keep a stuck statement from stopping everybody."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from db.environment import DATABASE
from db.errors import ConfigError, ServiceError

T = TypeVar("T")
# How a database shows that it is away, restarting, overrun or a standby: it may be back in a moment.
AWAY = (OperationalError, InterfaceError, PoolTimeout)
# A standby answers so until it is promoted.
_READ_ONLY = "25006"
# Between tries to reach a database: long enough for a restart, shorter than a lease can wait.
PAUSES_S = (0.1, 0.3, 1.0, 2.0, 4.0, 6.0)
# A host that is simply gone says nothing: without these a process waits for a quarter of an hour, or for two hours
# where it has nothing to send.
_LIVENESS = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # milliseconds that what was sent may stay unacknowledged
}
# The server's side of the same, too, so that the locks of a client that is gone are freed.
_LIMITS = {
    "statement_timeout": 60_000,
    "lock_timeout": 20_000,
    "idle_in_transaction_session_timeout": 30_000,
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_CURE = f"start one with `instructree up`, or point {DATABASE} to a running Postgres"


def open_engine(url: str, *, pool_size: int = 10, ping: bool = True) -> Engine:
    """An engine on psycopg2, whichever spelling of a Postgres address is given.

    SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, which we do not depend on (queue-and-database.md, 0.4).
    What the address itself says of the connection (`?keepalives_idle=60`) comes before what is said here. `ping`: a
    connection is asked whether it still lives before each use; who tries again anyway need not.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"{DATABASE} is not a database address: expected postgresql://user@host/name") from None
    if not parsed.drivername.startswith("postgres"):
        raise ConfigError(f"{DATABASE} names {parsed.drivername!r}: only Postgres is supported")
    ours = {
        **_LIVENESS,
        "connect_timeout": 10,
        "application_name": "instructree",
        "options": " ".join(f"-c {name}={value}" for name, value in _LIMITS.items()),
    }
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg2"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=ping,
        connect_args={name: value for name, value in ours.items() if name not in parsed.query},
    )
    event.listen(engine, "handle_error", _as_away)
    return engine


def connections_of(engine: Engine) -> tuple[int, int]:
    """How many connections of an engine of `open_engine` are in use, and how many may be: one more has to wait."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout(), 2 * pool.size()  # as many as are kept may be added for a while


def _as_away(context: ExceptionContext) -> None:
    """A connection that breaks is one of AWAY, also where libpq finds no better name for it than DatabaseError.

    So is one on which nothing may be written. It and its kind are given up, so that the address is looked up anew.
    """
    if getattr(context.original_exception, "pgcode", None) == _READ_ONLY:
        context.is_disconnect = True
    if context.is_disconnect and not isinstance(context.sqlalchemy_exception, AWAY):
        raise OperationalError(context.statement, None, context.original_exception)


def patiently(engine: Engine, work: Callable[[Connection], T], *, pauses_s: Sequence[float] = PAUSES_S) -> T:
    """Carries out a short transaction, trying again while the database is away.

    The work may be done twice, when its commit was not heard of: it must be such that this does no harm.

    Raises:
        SQLAlchemyError: one of AWAY, when it still is after the last pause; any other at once.
    """
    for pause_s in pauses_s:
        try:
            with engine.begin() as connection:
                return work(connection)
        except AWAY:
            time.sleep(pause_s)
    with engine.begin() as connection:
        return work(connection)


def check_reachable(engine: Engine) -> None:
    """Raises ServiceError, naming the host and the cure, when the database does not answer."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except AWAY as error:
        place = engine.url.host or engine.url.query.get("host") or "the local socket"
        raise ServiceError(f"the database at {place} cannot be reached ({cause_of(error)}): {_CURE}") from None


def cause_of(error: SQLAlchemyError) -> str:
    """The database's own first line, without statement and parameters."""
    told = str(getattr(error, "orig", None) or "").strip()
    return told.splitlines()[0][:160] if told else type(error).__name__
