"""Endpoints that are down, on real rows: told once each, whatever else the run does meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from db import calls, runs
from db.records import CallRow
from db.workers import Identity
from orchestrator import steering
from orchestrator.driver import Driver
from orchestrator.notices import Teller
from tests.integration.night import start
from tests.integration.test_notices import Ear
from workers.known import Known
from workers.llm.address import Address
from workers.llm.client import OpenAIClient
from workers.llm.gateway import Gateway, Retrying
from workers.llm.ledger import DatabaseLedger
from workers.llm.limits.fleet import RedisLimiter
from workers.llm.scripted.faults import SeededPlan
from workers.llm.scripted.server import Script, ScriptedServer
from workers.porter import Porter
from workers.process import Held, Loop
from workers.run_task import Runner

STALL_S = 900.0
# Not yet five minutes, and more than that; each by so much that the time of the test itself counts for nothing.
SHORT_S, LONG_S = 200.0, 310.0
TWO = (
    *("endpoints.judge.model=j", "endpoints.judge.usd_per_million_in=1", "endpoints.judge.usd_per_million_out=2"),
    "roles.judge.endpoint=judge",
)
AWAY = "EndpointAway: endpoint '{}' is not answering; trying again in 9 s"


@pytest.fixture
def driver(engine: Engine) -> Driver:
    """A run with two endpoints, `default` and `judge`, whose first tasks wait."""
    driver = start(engine, *TWO)
    driver.tick()
    return driver


def complain(engine: Engine, error: str | None, *, of: int = 1) -> None:
    """As if this was what these first tasks of the run were given back with, and all others nothing."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET error = NULL"))
        query = """
            UPDATE tasks SET error = :error, not_before = now() WHERE id IN (SELECT id FROM tasks ORDER BY id LIMIT :of)
        """
        connection.execute(text(query), {"error": error, "of": of})


def answer(engine: Engine, endpoint: str, *, ago_s: float = 0, key: str = "a call") -> None:
    row = CallRow(
        key=key,
        run_id=None,
        task_id=None,
        role="judge",
        endpoint=endpoint,
        model="m",
        tokens_in=1,
        tokens_out=1,
        nusd=0,
        latency_s=0.1,
        outcome="ok",
        response={},
    )
    with engine.begin() as connection:
        calls.insert(connection, [row])
        query = "UPDATE calls SET created_at = now() - make_interval(secs => :ago) WHERE key = :key"
        connection.execute(text(query), {"ago": ago_s, "key": key})


def later(engine: Engine, driver: Driver, seconds: float, *, stall_s: float | None = STALL_S) -> None:
    """As if the run had been driven for so long, its tasks ending all the while; then it is swept."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET driven_s = driven_s + :s, moved_s = driven_s + :s"), {"s": seconds})
        query = "UPDATE calls SET created_at = created_at - make_interval(secs => :s)"
        connection.execute(text(query), {"s": seconds})
    driver.sweep(stall_s=stall_s)


def told(engine: Engine) -> list[str]:
    """What is to be told of endpoints; nothing else may be."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT event, reason FROM notices WHERE channel = 'webhook' ORDER BY id")).all()
    assert {row.event for row in rows} <= {"endpoint_down"}
    return [row.reason for row in rows]


def test_one_endpoint_of_two_that_is_down_is_told_once_while_the_run_moves_on(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0)
    for _ in range(4):
        answer(engine, "default", key="of the other")
        later(engine, driver, 70)
    assert told(engine) == []
    for _ in range(20):
        later(engine, driver, 70)
    reason = "endpoint 'judge' has served no call for 5 minutes; it is not answering; trying again in 9 s"
    assert told(engine) == [reason]
    ear = Ear()
    assert Teller(engine, [ear]).round()
    assert (ear.heard[0]["event"], ear.heard[0]["reason"]) == ("endpoint_down", reason)
    assert ear.heard[0]["text"].startswith(f"Run night misses an endpoint ({reason}): ")
    assert set(remembered(engine)) == {"judge"}


def remembered(engine: Engine) -> dict[str, object]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT outages FROM runs")).scalar_one()
    assert isinstance(found, dict)
    return found


def test_each_endpoint_is_told_for_itself_by_the_error_that_says_most(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"), of=2)
    with engine.begin() as connection:
        refused = "ConnectionFailed: endpoint 'judge' cannot be reached: Connection refused"
        for which, error in (("min", refused), ("max", "ServerFault: endpoint 'default' answered 503: busy")):
            query = (
                "UPDATE tasks SET error = :error, not_before = not_before - interval '9 s' "
                f"WHERE id = (SELECT {which}(id) FROM tasks)"
            )
            connection.execute(text(query), {"error": error})
    later(engine, driver, 0)
    later(engine, driver, LONG_S)
    assert told(engine) == [
        "endpoint 'default' has served no call for 5 minutes; it answered 503: busy",
        "endpoint 'judge' has served no call for 5 minutes; it cannot be reached: Connection refused",
    ]


def test_an_endpoint_that_fails_some_calls_and_answers_others_is_not_told(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    for _ in range(20):
        later(engine, driver, 100)
        answer(engine, "judge", key="now and then")
        later(engine, driver, 150)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM calls"))
    assert told(engine) == []


def test_an_endpoint_that_may_take_minutes_over_a_call_is_not_told_before_two_of_these(engine: Engine):
    driver = start(engine, *TWO, "endpoints.judge.timeout_s=300")
    driver.tick()
    complain(engine, AWAY.format("judge"), of=2)
    with engine.begin() as connection:
        query = "UPDATE tasks SET error = :error WHERE id = (SELECT min(id) FROM tasks)"
        connection.execute(text(query), {"error": AWAY.format("default")})
    later(engine, driver, 0)
    answer(engine, "default", key="of the other")
    later(engine, driver, LONG_S)
    answer(engine, "judge", ago_s=100, key="a slow one")
    assert told(engine) == [
        "endpoint 'default' has served no call for 5 minutes; it is not answering; trying again in 9 s"
    ]
    later(engine, driver, LONG_S)
    later(engine, driver, 0)
    assert len(told(engine)) == 1
    later(engine, driver, LONG_S)
    (_, reason) = told(engine)
    assert reason == "endpoint 'judge' has served no call for 10 minutes; it is not answering; trying again in 9 s"


def test_who_has_answered_is_counted_from_there_and_told_again(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0)
    later(engine, driver, LONG_S)
    assert len(told(engine)) == 1
    later(engine, driver, 100)
    answer(engine, "judge")  # it came back for a moment, and no sweep saw the tasks content
    later(engine, driver, LONG_S - 100)
    assert len(told(engine)) == 1
    later(engine, driver, 100)
    assert len(told(engine)) == 2


def test_who_is_complained_of_no_more_is_forgotten(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0)
    complain(engine, None)
    later(engine, driver, LONG_S)
    assert remembered(engine) == {}
    complain(engine, AWAY.format("judge"))
    later(engine, driver, SHORT_S)
    later(engine, driver, SHORT_S)
    assert told(engine) == []
    later(engine, driver, SHORT_S)
    assert len(told(engine)) == 1


def test_a_task_that_has_nothing_to_say_yet_does_not_end_an_outage(engine: Engine, driver: Driver):
    complain(engine, "TimedOut: endpoint 'judge' gave no whole answer in time")
    later(engine, driver, 0)
    complain(engine, None)
    later(engine, driver, SHORT_S)
    complain(engine, "TimedOut: endpoint 'judge' gave no whole answer in time")
    later(engine, driver, LONG_S - SHORT_S)
    assert told(engine) == ["endpoint 'judge' has served no call for 5 minutes; it gave no whole answer in time"]


@pytest.mark.parametrize(
    "error",
    [
        "LimitReached: endpoint 'judge' is at its limit; trying again in 90 s",
        "RateLimited: endpoint 'judge' answered 429: slow down",
        "LedgerAway: the database cannot be reached",
        "its worker stopped beating",
        "EndpointAway: endpoint 'judge2' is not answering; trying again in 9 s",
    ],
)
def test_who_waits_for_something_else_says_nothing_of_the_endpoint(engine: Engine, driver: Driver, error: str):
    complain(engine, error)
    later(engine, driver, 0)
    later(engine, driver, LONG_S)
    assert told(engine) == [] and remembered(engine) == {}


def test_an_endpoint_that_nobody_asks_any_more_is_not_told(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0)
    with engine.begin() as connection:  # all workers have gone, and tasks stay due
        connection.execute(text("UPDATE tasks SET not_before = now() - interval '70 s'"))
    later(engine, driver, LONG_S)
    assert told(engine) == []


def test_where_stalls_are_never_told_neither_is_an_endpoint(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0, stall_s=None)
    later(engine, driver, 10 * STALL_S, stall_s=None)
    assert told(engine) == []


def test_a_run_that_was_paused_is_given_its_time_again(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0)
    later(engine, driver, SHORT_S)
    with engine.begin() as connection:
        steering.pause(connection, "night")
        steering.resume(connection, "night")
    complain(engine, AWAY.format("judge"))
    later(engine, driver, SHORT_S)
    later(engine, driver, SHORT_S)
    assert told(engine) == []
    later(engine, driver, SHORT_S)
    assert len(told(engine)) == 1


def test_another_orchestrator_counts_on_where_the_first_was_killed(engine: Engine, driver: Driver):
    complain(engine, AWAY.format("judge"))
    later(engine, driver, 0)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET owner_until = NULL"))
        run = runs.adopt(connection, owner="the next", lease_s=60)
    assert run is not None
    second = Driver(engine, run)
    later(engine, second, LONG_S)
    later(engine, second, LONG_S)
    assert len(told(engine)) == 1


@contextmanager
def working(engine: Engine, redis_url: str, script: Script) -> Iterator[Runner]:
    """A worker with the limits that all share, and the endpoint that it asks."""
    loop, server = Loop(), ScriptedServer(script)
    loop.run(server.__aenter__())
    book = {"default": Address(base_url=server.base_url)}
    limiter = RedisLimiter(redis_url, book)
    gateway = loop.run(_opened(OpenAIClient(book), DatabaseLedger(engine), limiter))
    porter = Porter(engine, Identity.of_this_process(("evaluate",), 4).id)
    try:
        yield Runner(engine, loop, gateway, porter, Held(), Known(engine))
    finally:
        porter.close()
        loop.run(gateway.close())
        loop.run(limiter.close())
        loop.run(server.__aexit__(None, None, None))
        loop.close()


async def _opened(client: OpenAIClient, ledger: DatabaseLedger, limiter: RedisLimiter) -> Gateway:
    return Gateway(client, ledger, limiter=limiter, retrying=Retrying(first_wait_s=0.01))


@pytest.mark.parametrize("plan", [SeededPlan(hang_share=1), SeededPlan(status_shares={503: 1})], ids=["hangs", "503"])
def test_what_real_calls_to_it_end_with_is_such_a_complaint(engine: Engine, redis_url: str, plan: SeededPlan):
    driver = start(engine, "endpoints.default.timeout_s=0.3", seeds=4)
    driver.tick()
    with working(engine, redis_url, Script(models=("m",), plan=plan)) as runner, ThreadPoolExecutor(4) as slots:
        for seconds in (0, LONG_S):
            with engine.begin() as connection:
                connection.execute(text("UPDATE tasks SET not_before = now()"))
                waiting = list(connection.scalars(text("SELECT id FROM tasks WHERE state = 'ready'")))
            list(slots.map(runner.run, waiting))
            later(engine, driver, seconds)
    (reason,) = told(engine)
    assert reason.startswith("endpoint 'default' has served no call for 5 minutes; it ")
