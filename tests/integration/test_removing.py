"""A run is removed: none of its rows is left, and nothing that another run has is gone."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text

from db import calls, removal, runs
from db.errors import ConfigError
from db.records import Run
from db.schema import metadata
from orchestrator.removing import remove
from orchestrator.steering import find_run, whole_run
from tests.integration.night import Hands, assert_lawful, finish, good, start, varied, widened
from workers.contracts import Payload, TreeResult

SHARED = ("evolver", "judge", "responder")
POOL = ("rounds.most=4", "rounds.prompts=3", "batches.size=4", "feedback.every=2")


def of_trees(engine: Engine) -> Run:
    return finish(start(engine, "harvest.held_out=true"), Hands(engine, varied))


def of_pool(engine: Engine) -> Run:
    return finish(start(engine, *POOL, recipe="sedi-instruct", seeds=12), Hands(engine, widened))


def counted(engine: Engine) -> dict[str, int]:
    """Rows by table."""
    with engine.connect() as connection:
        found = {
            table.name: connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one()
            for table in metadata.sorted_tables
        }
    return {name: count for name, count in found.items() if count}


def sharing(engine: Engine) -> Run:
    """A run that paid for nothing: the answers of all its calls were there, one for each role."""
    with engine.connect() as connection:
        found = connection.execute(text("SELECT role, min(key) AS key FROM calls GROUP BY role"))
        known: dict[str, str] = {row.role: row.key for row in found}

    def replayed(payload: Payload, _: Callable[[str], str]) -> TreeResult:
        return good(payload, known.__getitem__)

    return finish(start(engine, name="day"), Hands(engine, replayed))


@pytest.mark.parametrize("made", [of_trees, of_pool])
def test_a_removed_run_leaves_no_rows_but_its_answers(engine: Engine, made: Callable[[Engine], Run]):
    run = made(engine)
    before = counted(engine)
    removed = remove(engine, run.name, with_calls=False)
    assert counted(engine) == {"calls": before["calls"]}
    assert removed.calls_kept == before["calls"]
    told = {table: before[table] for table in removed.rows}
    assert removed.rows == told and told["examples"] > 0
    with engine.connect() as connection:
        assert calls.find(connection, {"call-1"})["call-1"].run_id is None


@pytest.mark.parametrize("with_calls", [False, True])
def test_a_run_that_has_answers_of_a_removed_one_keeps_them(engine: Engine, with_calls: bool):
    first = of_trees(engine)
    alone = counted(engine)
    second = sharing(engine)
    both = counted(engine)
    removed = remove(engine, first.name, with_calls=with_calls)
    left = counted(engine)
    assert {table: left.get(table, 0) for table in both if table != "calls"} == {
        table: count - alone.get(table, 0) for table, count in both.items() if table != "calls"
    }
    assert left["calls"] == removed.calls_kept == (len(SHARED) if with_calls else alone["calls"])
    assert_lawful(engine, second)


def test_a_removal_that_was_killed_is_ended_by_another(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(removal, "_ROWS", 2)
    monkeypatch.setattr(removal, "_TREES", 1)
    run, some, trees = of_trees(engine), removal.remove_some, 0

    def killed(connection: Connection, run_id: int) -> dict[str, int]:
        nonlocal trees
        found = some(connection, run_id)
        trees += found.get("trees", 0)
        if trees == 2:
            raise KeyboardInterrupt
        return found

    before = counted(engine)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(removal, "remove_some", killed)
        remove(engine, run.name, with_calls=False)
    left = counted(engine)
    assert (before["trees"], left["trees"]) == (3, 2) and 0 < left["nodes"] < before["nodes"]
    with engine.connect() as connection:
        with pytest.raises(ConfigError, match="half removed: end that with `instructree remove night`"):
            whole_run(connection, "night")
        half = find_run(connection, "night")
    assert half.status == "cancelled"
    remove(engine, half.name, with_calls=True)
    assert counted(engine) == {}


def test_a_run_that_goes_on_keeps_its_rows(engine: Engine):
    run = start(engine).run
    before = counted(engine)
    with pytest.raises(ConfigError, match="run 'night' is running"):
        remove(engine, run.name, with_calls=True)
    assert counted(engine) == before


def test_answers_are_not_forgotten_while_another_run_may_be_given_them(engine: Engine):
    run = of_trees(engine)
    start(engine, name="day")
    before = counted(engine)
    with pytest.raises(ConfigError, match="run 'day' is not over"):
        remove(engine, run.name, with_calls=True)
    assert counted(engine) == before
    remove(engine, run.name, with_calls=False)
    with engine.connect() as connection:
        assert runs.names(connection) == ["day"]


def test_a_name_is_free_again(engine: Engine):
    remove(engine, of_trees(engine).name, with_calls=False)
    assert_lawful(engine, finish(start(engine), Hands(engine, first=1000)))
