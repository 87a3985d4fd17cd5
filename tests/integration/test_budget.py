"""Budgets on real rows: time, attempts whose answers never came, runs that are cancelled or changed by hand."""

import pytest
from sqlalchemy import Engine, text

from db import attempts, runs, views
from db.errors import ConfigError
from db.records import AttemptRow, Caps
from orchestrator.driver import Driver
from orchestrator.export import rows_of
from tests.integration.night import Hands, adopted, assert_lawful, finish, start


def drive_for(engine: Engine, seconds: float) -> None:
    """As if the run had been driven for so long."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET driven_s = :seconds"), {"seconds": seconds})


def test_wall_time_is_the_time_in_which_somebody_drives(engine: Engine):
    driver = start(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET driven_at = now() - interval '7 seconds'"))
    driver.tick()
    assert 7 <= driver.run.driven_s < 9
    with engine.begin() as connection:  # the machine slept
        connection.execute(text("UPDATE runs SET driven_at = now() - interval '8 hours'"))
    driver.tick()
    assert driver.run.driven_s < 60
    driven = driver.run.driven_s
    with engine.begin() as connection:  # nobody drove
        connection.execute(text("UPDATE runs SET driven_at = now() - interval '8 hours'"))
    assert adopted(engine).run.driven_s == driven


def test_growing_ends_in_time_for_the_responses(engine: Engine):
    driver, hands = start(engine, caps=Caps(seconds=1000)), Hands(engine)
    for _ in range(4):
        driver.tick()
        hands.work()
    drive_for(engine, 990)
    run = finish(driver, hands)
    assert run.status == "stopped" and run.reason is not None and "not fully grown" in run.reason
    assert_lawful(engine, run)
    with engine.connect() as connection:
        assert rows_of(connection, run)
        assert not views.example_counts(connection, run.id).get("failed")


def test_responses_that_nobody_has_begun_when_time_is_up_are_given_up(engine: Engine):
    driver, hands = start(engine, caps=Caps(seconds=100_000)), Hands(engine)
    while driver.run.phase == "growing":
        driver.tick()
        if driver.run.phase == "growing":
            hands.work()
    drive_for(engine, 100_000)
    run = finish(driver, hands)
    assert run.status == "stopped" and run.reason is not None and "undone" in run.reason
    assert_lawful(engine, run)
    with engine.connect() as connection:
        assert set(views.reasons(connection, run.id)) == {"budget"}


class Forgetful(Hands):
    """Before it carries a task out, it loses the answer to a call of the same task."""

    def __init__(self, engine: Engine, tokens: int) -> None:
        super().__init__(engine)
        self._tokens = tokens

    def work(self) -> int:
        with self._engine.begin() as connection:
            ready = connection.execute(text("SELECT id, run_id FROM tasks WHERE state = 'ready'")).all()
            connection.execute(text("UPDATE tasks SET state = 'leased' WHERE state = 'ready'"))
            for task_id, run_id in ready:
                lost = AttemptRow(
                    id=f"lost-{task_id}",
                    key="k",
                    run_id=run_id,
                    task_id=task_id,
                    lease_token=0,
                    role="judge",
                    endpoint="default",
                    tokens=self._tokens,
                    nusd=self._tokens * 1000,
                )
                attempts.open_all(connection, [lost])
            connection.execute(text("UPDATE tasks SET state = 'ready' WHERE state = 'leased'"))
        return super().work()


def test_what_was_lost_counts_as_spent_at_its_worst(engine: Engine):
    run = finish(start(engine), Forgetful(engine, tokens=77))
    assert_lawful(engine, run)
    with engine.connect() as connection:
        lost = views.unanswered(connection, run.id)
        paid = views.call_sums(connection, run.id)
    assert set(lost) == {"lost"} and lost["lost"] > 50
    assert run.spent.calls == paid["calls"] + lost["lost"]
    assert run.spent.tokens == paid["tokens_in"] + paid["tokens_out"] + 77 * lost["lost"]
    assert run.spent.nusd == paid["nusd"] + 77_000 * lost["lost"]


def test_a_cancelled_run_reserves_nothing_and_leaves_no_task(engine: Engine):
    driver, hands = start(engine), Hands(engine)
    for _ in range(4):
        driver.tick()
        hands.work()
    driver.tick()
    with engine.begin() as connection:
        assert runs.by_id(connection, driver.run.id).reserved.calls > 0
        runs.cancel(connection, driver.run.id)
    driver.tick()
    assert driver.over and driver.run.reserved.calls == driver.run.reserved.tokens == 0
    assert_lawful(engine, driver.run)


def test_reservations_follow_the_prompts_that_were_seen(engine: Engine):
    driver, hands = start(engine), Hands(engine)

    def reserved() -> int:
        with engine.connect() as connection:
            query = text("SELECT max(reserved_tokens / reserved_calls) FROM tasks WHERE kind = 'evaluate'")
            return int(connection.execute(query).scalar_one() or 0)

    driver.tick()
    before = reserved()
    for _ in range(2):
        hands.work()
        driver.tick()
    assert 0 < reserved() < before / 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("jsonb_set(config, '{search,iterations}', '7')", "somebody changed it"),
        ("jsonb_set(config, '{work,judges,reasks}', '9')", "somebody changed it"),
    ],
)
def test_a_configuration_changed_by_hand_is_not_driven(engine: Engine, change: str, says: str):
    run = start(engine).run
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE runs SET config = {change}"))
        changed = runs.by_id(connection, run.id)
    with pytest.raises(ConfigError, match=says):
        Driver(engine, changed)
