"""What a database may do to those who work with it, as long as a block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from psycopg2.errors import ReadOnlySqlTransaction
from sqlalchemy import Connection, Engine, create_engine, event, text


@contextmanager
def closed(engine: Engine) -> Iterator[None]:
    """Nobody is connected to the database, and nobody gets in."""
    with _altered(engine, "ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"):
        yield


@contextmanager
def standby(engine: Engine) -> Iterator[Event]:
    """The database only reads, as one that is not promoted yet. Who is connected meanwhile never gets to write.

    The event is set as soon as this engine has given up a connection because a write was refused.
    """
    refused = Event()

    def note(_connection: object, _record: object, cause: BaseException | None) -> None:
        if isinstance(cause, ReadOnlySqlTransaction):
            refused.set()

    event.listen(engine, "invalidate", note)
    with _altered(engine, "SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
        yield refused
    event.remove(engine, "invalidate", note)


@contextmanager
def _altered(engine: Engine, what: str, back: str) -> Iterator[None]:
    name = engine.url.database
    admin = create_engine(engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} {what}"))
        _kick(connection, name)
        try:
            yield
        finally:
            connection.execute(text(f"ALTER DATABASE {name} {back}"))
    admin.dispose()


def _kick(connection: Connection, name: str | None) -> None:
    kick = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = :name AND backend_type = 'client backend'"  # a vacuum at work is not ours to end
    )
    connection.execute(kick, {"name": name})
