"""A user's word against another's, and against a driver's, when both are said at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, text

from db import runs, tasks
from db.errors import ConfigError
from db.records import Caps, Run
from orchestrator import steering
from orchestrator.begin import Begun, begin
from orchestrator.config import build
from orchestrator.seeds import Seed, Seeds
from tests.integration.test_attempts import MOST, blocked, issue

CONFIG = build("idea-mcts", [{"endpoints": {"default": {"model": "m"}}}], ())
SEEDS = Seeds(seeds=(Seed(instruction="a"),), duplicates=0)


def run_it(connection: Connection) -> Begun:
    """What `instructree run` does with its run before it watches it."""
    return begin(connection, name="night", stem="s", config=CONFIG, seeds=SEEDS, caps=Caps())


def driven(engine: Engine) -> Run:
    """A run with an owner, and one task that is ready."""
    with engine.begin() as connection:
        run_it(connection)
        run = runs.adopt(connection, owner="driver", lease_s=60)
        assert run is not None
        issue(connection, run, MOST)
        return run


def test_a_run_that_is_being_cancelled_is_not_taken_up_again(engine: Engine):
    run = driven(engine)
    with engine.connect() as canceller, engine.connect() as again:
        runs.cancel(canceller, run.id)
        taking_up = blocked(engine, again, lambda: run_it(again))
        canceller.commit()
        taking_up.result()
        again.commit()
        assert runs.by_id(again, run.id).status == "cancelled"


def test_a_run_that_is_taken_up_while_its_driver_withdraws_tasks_waits_for_it(engine: Engine):
    run = driven(engine)
    with engine.connect() as driver, engine.connect() as again:
        runs.hold(driver, run, lease_s=60)
        taking_up = blocked(engine, again, lambda: run_it(again))
        tasks.withdraw(driver, run.id, "budget")
        driver.commit()
        taking_up.result()
        again.commit()
    with engine.connect() as connection:
        assert [task.state for task in tasks.finished(connection, run.id, 10)] == ["failed"]


@pytest.mark.parametrize("name", ["twins", None])
def test_two_who_begin_one_run_at_the_same_moment_share_it(engine: Engine, name: str | None):
    """Each is a command of its own; there was a traceback for the second."""
    together = Barrier(4)

    def command(_: int) -> Begun:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            together.wait()
            begun = begin(connection, name=name, stem="s", config=CONFIG, seeds=SEEDS, caps=Caps())
            connection.commit()
            return begun

    with ThreadPoolExecutor(max_workers=4) as threads:
        found = list(threads.map(command, range(4)))
    assert len({begun.run.id for begun in found}) == 1
    assert sorted(begun.fresh for begun in found) == [False, False, False, True]


def test_the_second_of_two_who_begin_waits_and_is_refused_where_it_wants_another_configuration(engine: Engine):
    other = build("idea-mcts", [{"endpoints": {"default": {"model": "m"}}}], ("seed=4",))

    def second() -> Begun:
        return begin(late, name="night", stem="s", config=other, seeds=SEEDS, caps=Caps())

    with engine.connect() as early, engine.connect() as late:
        run_it(early)
        waiting = blocked(engine, late, second)
        early.commit()
        with pytest.raises(ConfigError, match="run 'night' exists with another configuration"):
            waiting.result()


def test_when_it_was_paused_and_went_on_is_kept_and_is_no_change_of_its_settings(engine: Engine):
    run = driven(engine)
    for said in (steering.pause, steering.pause, steering.resume, steering.resume, steering.pause, steering.cancel):
        with engine.begin() as connection:
            said(connection, run.name)
    with engine.connect() as connection:
        known = runs.by_id(connection, run.id)
        assert (known.changes, runs.changes_made(connection, [run.id])) == ((), {run.id: 0})
    first, second = known.pauses
    assert first.end and first.begin < first.end < second.begin
    assert second.end == known.finished_at


def test_a_paused_run_that_is_paused_again_keeps_the_reason_why(engine: Engine):
    run = driven(engine)
    with engine.begin() as connection:
        runs.set_status(connection, run.id, "paused", reason="endpoint 'default' answered 401")
        steering.pause(connection, run.name)
        assert runs.by_id(connection, run.id).reason == "endpoint 'default' answered 401"


def test_a_run_whose_watcher_left_is_paused_from_then_on_and_one_that_has_ended_is_not(engine: Engine):
    run = driven(engine)
    for _ in range(2):
        with engine.begin() as connection:
            runs.interrupt(connection, run.id)
    with engine.connect() as connection:
        known = runs.by_id(connection, run.id)
    assert [(pause.end, pause.reason) for pause in known.pauses] == [(None, "interrupted")]
    with engine.begin() as connection:
        steering.cancel(connection, run.name)
        runs.interrupt(connection, run.id)
        assert runs.by_id(connection, run.id).status == "cancelled"
