"""Bringing a database to this program's schema: forward only, one runner at a time."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from db.errors import ServiceError
from db.schema import metadata

# Any fixed number: transactions that migrate queue up behind it.
_LOCK = 0x1D5C_7EE5
# An orchestrator looks at the schema only every five seconds: until one of before has looked, it must adopt no run.
_FENCED_S = 20.0


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "db:migrations")
    return config


def head() -> str:
    """The revision this program was written for."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(connection: Connection) -> str | None:
    """The revision the database is at; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Applies what is missing, in one transaction. Returns the revisions before and after.

    Whoever drives a run meanwhile has lost it when something was applied, and for 20 s nobody can adopt one.

    Raises:
        ServiceError: the database is newer than this program.
    """
    config = _config()
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = check_known(connection)
        config.attributes["connection"] = connection
        is_behind = before not in (None, head())
        if is_behind:
            # Waits for what is being written, which the migrations are to find: what comes later is fenced off.
            connection.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
        command.upgrade(config, "head")
        if is_behind:
            _fence(connection)
    return before, head()


def _fence(connection: Connection) -> None:
    """Takes every run away from its owner: an older program goes on writing until it looks at the schema, and does not
    write all that there is to be written.
    """
    fenced = "owner_token = owner_token + 1, owner_until = clock_timestamp() + make_interval(secs => :secs)"
    connection.execute(text(f"UPDATE runs SET {fenced}"), {"secs": _FENCED_S})


def is_newer(connection: Connection) -> bool:
    """Whether the database has a revision that this program does not know."""
    found = current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return found is not None and found not in known


def check_known(connection: Connection) -> str | None:
    """The database's revision. Raises ServiceError when it is one that this program does not know."""
    found = current(connection)
    if is_newer(connection):
        raise ServiceError(f"the database has schema {found}, newer than this program's {head()}: upgrade instructree")
    return found


def check_current(engine: Engine) -> None:
    """Raises ServiceError unless the database has exactly this program's schema."""
    with engine.connect() as connection:
        found = check_known(connection)
    if found != head():
        raise ServiceError(f"the database has schema {found or 'none'}, not {head()}: run `instructree migrate`")


def drift(connection: Connection) -> list[object]:
    """What differs between the tables in the code and those in the database; empty when nothing does."""
    return list(compare_metadata(MigrationContext.configure(connection), metadata))
