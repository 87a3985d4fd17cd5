"""One task from claim to result on real rows, with a gateway that answers, fails or hangs as told."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text

from db import tasks, views
from db.errors import Retry, ServiceError
from db.records import Lease
from db.workers import Identity
from tests.integration.night import start
from workers.asking import Answer
from workers.contracts import MAX_ATTEMPTS
from workers.known import Known
from workers.llm.call import Call
from workers.llm.errors import (
    BrokenOff,
    BudgetSpent,
    ConnectionFailed,
    ModelError,
    RateLimited,
    TimedOut,
    Unauthorized,
    Withdrawn,
)
from workers.porter import Porter
from workers.process import STUCK_S, Held, Loop
from workers.run_task import Runner

SCORES = '{"scores": [{"id": "A", "quality": 4, "complexity": 3}]}'


@dataclass
class Door:
    """A gateway in name: what `answers` returns is said, raised or waited for."""

    answers: Callable[[Call], str | ModelError | None]

    async def call(self, call: Call) -> Answer:
        said = self.answers(call)
        if said is None:
            await asyncio.sleep(3600)
        if isinstance(said, ModelError):
            raise said
        return Answer(text=str(said), outcome="ok", call="c", replayed=0)


@dataclass
class Bench:
    """A worker at a run whose first task waits: the scores of a seed."""

    engine: Engine
    runner: Runner
    held: Held
    door: Door

    def task(self) -> dict[str, object]:
        with self.engine.connect() as connection:
            return dict(connection.execute(text("SELECT * FROM tasks ORDER BY id LIMIT 1")).mappings().one())

    def due(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE tasks SET not_before = now()"))

    def run(self) -> dict[str, object]:
        self.runner.run(int(str(self.task()["id"])))
        return self.task()


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    start(engine).tick()
    loop, held, door = Loop(), Held(), Door(lambda call: SCORES)
    porter = Porter(engine, Identity.of_this_process(("evaluate",), 1).id)
    runner = Runner(engine, loop, door, porter, held, Known(engine))  # type: ignore[arg-type]  # all that a runner asks of a gateway
    yield Bench(engine, runner, held, door)
    porter.close()
    loop.close()


def test_a_task_that_is_answered_is_done(bench: Bench):
    done = bench.run()
    assert (done["state"], done["attempts"], done["error"]) == ("done", 1, None)
    assert bench.held.done == 1 and bench.held.leases() == []


def test_a_task_that_is_stuck_frees_its_slot_at_its_deadline(bench: Bench):
    bench.door.answers = lambda call: None
    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET deadline_s = 0.2"))
    stuck = bench.run()
    assert (stuck["state"], stuck["attempts"], stuck["error"]) == ("ready", 1, tasks.STUCK)
    assert bench.held.leases() == []


@pytest.mark.parametrize(
    "error",
    [ConnectionFailed("refused"), RateLimited("busy", retry_after_s=3), Unauthorized("no key"), Withdrawn("paused")],
)
def test_what_is_no_fault_of_the_task_spends_no_attempt(bench: Bench, error: ModelError):
    bench.door.answers = lambda call: error
    given_back = bench.run()
    assert (given_back["state"], given_back["attempts"]) == ("ready", 0)
    assert str(error) in str(given_back["error"])
    assert given_back["hinted_at"] is None


@pytest.mark.parametrize(("error", "told"), [(Unauthorized("no key"), 1), (Withdrawn("paused"), 0)])
def test_only_what_was_tried_is_told_as_tried_in_vain(bench: Bench, error: ModelError, told: int):
    bench.door.answers = lambda call: error
    run_id = bench.run()["run_id"]
    with bench.engine.connect() as connection:
        waiting = views.waiting(connection, int(str(run_id)))
    assert (waiting["tasks"] if waiting else 0) == told


@pytest.mark.parametrize("error", [TimedOut("no answer"), BrokenOff("half an answer")])
def test_what_may_have_cost_money_spends_an_attempt(bench: Bench, error: ModelError):
    bench.door.answers = lambda call: error
    for attempt in range(1, MAX_ATTEMPTS + 1):
        bench.due()
        tried = bench.run()
        assert (tried["state"], tried["attempts"]) == ("failed" if attempt == MAX_ATTEMPTS else "ready", attempt)


@pytest.mark.parametrize(
    ("retry", "state", "attempts"),
    [(Retry.NEVER, "failed", 1), (Retry.COUNTED, "ready", 1), (Retry.FREE, "ready", 0)],
)
def test_the_class_of_an_error_says_what_becomes_of_its_task(bench: Bench, retry: Retry, state: str, attempts: int):
    odd = type("Odd", (ModelError,), {"retry": retry})
    bench.door.answers = lambda call: odd("never seen before")
    ended = bench.run()
    assert (ended["state"], ended["attempts"], ended["error"]) == (state, attempts, "Odd: never seen before")


def test_a_spent_budget_leaves_the_node_without_a_score_and_says_why(bench: Bench):
    bench.door.answers = lambda call: BudgetSpent("no cap leaves room")
    done = bench.run()
    assert done["state"] == "done"
    assert "'reason': 'budget'" in str(done["result"])


def test_an_error_of_our_own_is_tried_again_and_kept(bench: Bench):
    def crash(call: Call) -> str:
        raise RuntimeError("a bug")

    bench.door.answers = crash
    crashed = bench.run()
    assert (crashed["state"], crashed["attempts"], crashed["error"]) == ("ready", 1, "RuntimeError: a bug")


def test_what_this_machine_lacks_spoils_no_task_and_is_told_to_its_heart(bench: Bench):
    def send(call: Call) -> str:
        raise ServiceError("no address here")

    bench.door.answers = send
    given_back = bench.run()
    assert (given_back["state"], given_back["attempts"]) == ("ready", 0)
    assert bench.held.unfit == "no address here"


def test_who_is_told_to_stop_gives_back_what_is_still_theirs(bench: Bench):
    task_id = int(str(bench.task()["id"]))
    with bench.engine.begin() as connection:
        lease = tasks.claim(connection, task_id, worker="w", lease_s=30, max_attempts=MAX_ATTEMPTS)
        assert lease is not None
        stale = (lease.task_id, lease.token - 1)
        assert tasks.give_all_back(connection, [stale], error="told to stop") == 0
        assert tasks.give_all_back(connection, [(lease.task_id, lease.token)], error="told to stop") == 1
    freed = bench.task()
    assert (freed["state"], freed["attempts"], freed["hinted_at"]) == ("ready", 0, None)


def test_a_slot_that_outlives_its_deadline_is_found():
    held = Held()
    held.add(Lease(task_id=1, token=1, run_id=1, tree_id=1, kind="expand", payload={}, attempts=1, deadline_s=5.0))
    ((_, begun),) = held._leases.values()
    assert held.stuck(begun + 5 + STUCK_S - 1) == []
    assert held.stuck(begun + 5 + STUCK_S + 1) == [1]
