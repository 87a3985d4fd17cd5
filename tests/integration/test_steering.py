"""A user's word against another's, and against a driver's, when both are said at once."""

from sqlalchemy import Connection, Engine

from db import runs, tasks
from db.records import Caps, Run
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
