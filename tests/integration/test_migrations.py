"""The schema: up from nothing, again without change, and the same as the tables in the code."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text
from typer.testing import CliRunner

from db import laws, minutes, runs, workers
from db.engine import check_reachable, open_engine
from db.errors import ConfigError, ServiceError, StaleLease
from db.migrate import check_current, current, drift, head, migrate
from db.schema import metadata
from orchestrator.cli import app
from tests.integration.night import Hands, adopted, finish, good, start

# Names and definitions of everything that alembic's comparison does not look at.
_FINE_PRINT = """
    SELECT conrelid::regclass::text || ': ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT relname || ': ' || coalesce(array_to_string(reloptions, ','), '') FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""


def fine_print(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return {row[0] for row in connection.execute(text(_FINE_PRINT)) if "alembic_version" not in row[0]}


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))


def test_up_from_nothing_and_again_without_change(engine: Engine):
    empty(engine)
    assert migrate(engine) == (None, head())
    before = fine_print(engine)
    assert migrate(engine) == (head(), head())
    assert fine_print(engine) == before
    check_current(engine)


def test_migrations_and_tables_in_the_code_are_the_same(engine: Engine):
    with engine.connect() as connection:
        assert drift(connection) == []
    migrated = fine_print(engine)
    empty(engine)
    fresh: MetaData = metadata
    fresh.create_all(engine)
    assert fine_print(engine) == migrated


def put_back(connection: Connection) -> None:
    """The database as it was before tasks were summed up."""
    config = Config()
    config.set_main_option("script_location", "db:migrations")
    before = ScriptDirectory.from_config(config).get_revision("0015").down_revision
    connection.execute(text("DROP TABLE task_totals"))
    connection.execute(text("DROP INDEX examples_node_idx"))
    connection.execute(text("UPDATE alembic_version SET version_num = :before"), {"before": before})


def test_runs_that_were_there_before_their_tasks_were_summed_up_are_summed_up(engine: Engine):
    run = finish(start(engine), Hands(engine, good))
    with engine.begin() as connection:
        was = minutes.by_kind(connection)
        put_back(connection)
    migrate(engine)
    with engine.begin() as connection:
        assert {kind: one.waits for kind, one in minutes.by_kind(connection).items()} == {
            kind: one.waits for kind, one in was.items()
        }
        assert not any(laws.recount(connection, run.id).values())


def test_who_drove_a_run_before_the_schema_changed_writes_nothing_more(engine: Engine):
    old, hands = start(engine), Hands(engine, good)
    old.tick()
    hands.work()
    with engine.begin() as connection:
        put_back(connection)
    migrate(engine)
    with pytest.raises(StaleLease):
        old.tick()
    with engine.begin() as connection:
        assert runs.adopt(connection, owner="an old one", lease_s=20) is None
    finish(adopted(engine), hands)
    with engine.connect() as connection:
        assert not any(laws.recount(connection, old.run.id).values())


def test_a_migration_that_changes_nothing_takes_no_run_away(engine: Engine):
    driver = start(engine)
    migrate(engine)
    driver.tick()


def test_what_was_being_written_when_the_schema_changed_is_counted(engine: Engine):
    run = finish(start(engine), Hands(engine, good))
    with engine.begin() as connection:
        put_back(connection)
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as old:
            runs.lock(old, run.id)
            migration = thread.submit(migrate, engine)
            until_somebody_waits(engine)
            old.execute(text("UPDATE minutes SET done = done + 1"))
        migration.result()
    with engine.connect() as connection:
        assert not any(laws.recount(connection, run.id).values())


def until_somebody_waits(engine: Engine) -> None:
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(200):
        with engine.connect() as connection:
            if connection.execute(waits).scalar_one():
                return
        sleep(0.05)
    raise AssertionError("nobody waits for a lock")


def test_a_newer_database_is_refused_with_both_versions(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for look in (migrate, check_current):
        with pytest.raises(ServiceError, match=f"schema 9999, newer than this program's {head()}: upgrade instructree"):
            look(engine)


def test_who_works_on_while_the_database_is_upgraded_is_healthy(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    me = workers.Identity.of_this_process(("expand",), 1)
    with engine.begin() as connection:
        workers.register(connection, me)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    monkeypatch.setenv("INSTRUCTREE_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    for command, code in (("worker", 0), ("orchestrator", 1)):
        assert CliRunner().invoke(app, [command, "--health"]).exit_code == code
    empty(engine)
    assert isinstance(CliRunner().invoke(app, ["worker", "--health"]).exception, ServiceError)


def test_an_empty_database_is_told_to_be_migrated(engine: Engine):
    empty(engine)
    with engine.connect() as connection:
        assert current(connection) is None
    with pytest.raises(ServiceError, match="run `instructree migrate`"):
        check_current(engine)


@pytest.mark.parametrize("url", ["nonsense", "mysql://a@b/c"])
def test_an_address_that_is_none_is_named(url: str):
    with pytest.raises(ConfigError, match="INSTRUCTREE_DATABASE_URL"):
        open_engine(url)


def test_a_database_that_is_away_is_named_with_the_cure():
    with pytest.raises(ServiceError, match=r"database at 127.0.0.1 cannot be reached .*instructree up"):
        check_reachable(open_engine("postgresql://nobody:secret@127.0.0.1:1/none"))
