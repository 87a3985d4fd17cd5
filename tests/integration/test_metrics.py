"""What Prometheus is told, held against a recount of the rows; what ended in each minute."""

import asyncio
import re
import socket
from contextlib import ExitStack
from secrets import token_hex
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from sqlalchemy import Engine, text

from db import minutes
from db.engine import open_engine
from db.errors import ConfigError
from db.exposition import Connections, HostPort, Served
from db.records import Caps
from orchestrator.metrics import Figures
from orchestrator.removing import remove
from orchestrator.steering import cancel, pause
from tests.integration.night import Hands, finish, good, start, widened
from tests.monitoring import ALERTS, panels
from tests.recount import NOT_RECOUNTED, RECOUNTS, Series, differences, of, read
from workers.contracts import Kind
from workers.llm.address import Address
from workers.llm.errors import ServerFault
from workers.llm.limits import RedisLimiter, Take
from workers.metrics import OwnFigures
from workers.process import Held
from workers.slots import Slots

NOWHERE = "redis://127.0.0.1:1/0"


def told(engine: Engine, broker: str = NOWHERE) -> Series:
    registry = CollectorRegistry()
    registry.register(Figures(engine, broker))
    return read(generate_latest(registry).decode())


def test_every_counter_is_its_recount_during_a_run_and_after(engine: Engine):
    driver = start(engine)
    hands = Hands(engine, good, most=3)
    done = 0
    while not driver.over:
        driver.tick()
        done += hands.work()
        if done % 4 == 0:
            assert differences(engine, told(engine)) == []
    series = told(engine)
    assert differences(engine, series) == []
    ended = sum(value for (_, result), value in of(series, "tasks_ended_total").items() if result == "done")
    assert ended == done > 20
    assert series["nodes_open", ()] == 0
    assert series["database_up", ()] == 1 and series["broker_up", ()] == 0


def test_every_counter_of_a_pool_is_its_recount(engine: Engine):
    finish(start(engine, "rounds.most=2", "rounds.prompts=2", recipe="self-instruct", seeds=9), Hands(engine, widened))
    series = told(engine)
    assert differences(engine, series) == []
    assert sum(of(series, "texts_total").values()) == 2 * 2 * 8


def test_a_removed_run_takes_its_figures_along(engine: Engine):
    for name in ("night", "day"):
        finish(start(engine, name=name), Hands(engine, good, first=0 if name == "night" else 1000))
    both = told(engine)
    remove(engine, "night", with_calls=False)
    left = told(engine)
    assert differences(engine, left) == []
    assert 0 < sum(of(left, "calls_total").values()) < sum(of(both, "calls_total").values())


def test_queues_say_what_is_due_what_waits_what_is_in_hand_and_what_is_dead(engine: Engine):
    driver = start(engine)
    driver.tick()
    with engine.begin() as connection:
        rows = list(connection.scalars(text("SELECT id FROM tasks ORDER BY id")))
        assert len(rows) == 3
        connection.execute(
            text("UPDATE tasks SET not_before = now() - interval '90 s' WHERE id = :id"), {"id": rows[0]}
        )
        connection.execute(
            text("UPDATE tasks SET not_before = now() + interval '90 s' WHERE id = :id"), {"id": rows[1]}
        )
        connection.execute(
            text("UPDATE tasks SET state = 'failed', applied_at = now() WHERE id = :id"), {"id": rows[2]}
        )
    series = told(engine)
    tasks = {state: value for (queue, state), value in of(series, "tasks").items() if queue == "evaluate"}
    assert tasks == {"ready": 1, "retrying": 1, "held": 0, "leased": 0, "unapplied": 0, "dead": 1}
    oldest = of(series, "task_oldest_ready_seconds")
    assert 90 <= oldest.pop(("evaluate",)) < 120
    assert set(oldest.values()) == {0}


def test_what_a_paused_run_has_left_to_do_is_held_and_not_due_whenever_it_was_to_begin(engine: Engine):
    driver = start(engine)
    driver.tick()
    with engine.begin() as connection:
        later = "UPDATE tasks SET not_before = now() + interval '90 s' WHERE id = (SELECT min(id) FROM tasks)"
        taken = "UPDATE tasks SET state = 'leased' WHERE id = (SELECT max(id) FROM tasks)"
        for change in (later, taken):
            connection.execute(text(change))
        pause(connection, "night")
    series = told(engine)
    tasks = {state: value for (queue, state), value in of(series, "tasks").items() if queue == "evaluate"}
    assert tasks == {"ready": 0, "retrying": 0, "held": 2, "leased": 1, "unapplied": 0, "dead": 0}
    assert differences(engine, series) == []


def test_minutes_count_each_task_once_with_its_waiting_and_its_work(engine: Engine):
    run = finish(start(engine), Hands(engine, good))
    with engine.connect() as connection:
        kinds = minutes.by_kind(connection)
        spans = minutes.of_run(connection, run.id)
    assert {span.kind for span in spans} == set(kinds) == {"expand", "evaluate", "respond"}
    for kind, found in kinds.items():
        assert sum(span.done for span in spans if span.kind == kind) == found.done
        assert sum(found.waits) == sum(found.runs) == found.done > 0 == found.failed
        assert found.wait_s >= 0 and found.run_s >= 0 and found.lag_s >= 0
    assert len(found.waits) == len(minutes.BOUNDS_S) + 1


def test_a_task_that_failed_is_counted_as_such_and_what_nobody_began_has_no_length(engine: Engine):
    driver = start(engine, caps=Caps(calls=1000))
    driver.tick()
    with engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET state = 'failed', error = 'no', ended_at = now()"))
    driver.tick()
    with engine.connect() as connection:
        (found,) = minutes.by_kind(connection).values()
    assert (found.done, found.failed, sum(found.waits), sum(found.runs)) == (0, 3, 0, 0)
    assert (found.wait_s, found.run_s) == (0.0, 0.0)


def test_what_an_alert_waits_for_is_told_before_it_has_ever_happened(engine: Engine):
    series = told(engine)
    kinds = {kind.value for kind in Kind}
    assert of(series, "tasks_ended_total") == {(kind, end): 0 for kind in kinds for end in ("done", "failed")}
    assert of(series, "task_retries_total") == {(kind,): 0 for kind in kinds}
    assert of(series, "nodes_total") == {("", "scored"): 0}
    assert of(series, "texts_total") == {("", "kept"): 0}
    assert of(series, "examples") == {("", "accepted"): 0}
    assert of(series, "attempts") == {("open",): 0, ("lost",): 0, ("doubled",): 0}


def test_what_runs_may_still_spend(engine: Engine):
    driver = start(engine, caps=Caps(calls=1000, nusd=5_000_000_000))
    driver.tick()
    with engine.connect() as connection:
        row = connection.execute(text("SELECT reserved_calls, reserved_nusd FROM runs")).one()
    left = of(told(engine), "budget_left")
    assert left == pytest.approx({("calls",): 1000 - row.reserved_calls, ("dollars",): 5 - row.reserved_nusd / 1e9})


def test_a_run_that_is_near_its_cap_is_seen_beside_one_that_is_not(engine: Engine):
    start(engine, caps=Caps(calls=1000, seconds=100.0))
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET name = 'evening', driven_s = 80, spent_calls = 930"))
    start(engine, caps=Caps(calls=1_000_000))
    series = told(engine)
    assert of(series, "budget_share_left") == pytest.approx({("calls",): 0.07, ("seconds",): 0.2})
    assert of(series, "budget_left") == {("calls",): 1_000_070, ("seconds",): 20}


def test_a_run_at_its_cap_hides_none_that_is_near_its_own(engine: Engine):
    for name, spent in (("spent", 1000), ("evening", 930)):
        start(engine, caps=Caps(calls=1000))
        with engine.begin() as connection:
            rename = text("UPDATE runs SET name = :name, spent_calls = :spent WHERE name = 'night'")
            connection.execute(rename, {"name": name, "spent": spent})
    assert of(told(engine), "budget_share_left") == pytest.approx({("calls",): 0.07})
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET spent_calls = cap_calls"))
    assert of(told(engine), "budget_share_left") == {("calls",): 0}


def test_what_a_cancelled_run_left_undone_waits_no_more(engine: Engine):
    start(engine).tick()
    assert told(engine)["nodes_open", ()] == 3
    with engine.begin() as connection:
        pause(connection, "night")
    assert told(engine)["nodes_open", ()] == 3
    with engine.begin() as connection:
        cancel(connection, "night")
    series = told(engine)
    assert series["nodes_open", ()] == 0
    assert differences(engine, series) == []


def test_a_reason_that_is_none_of_ours_is_no_label_of_its_own(engine: Engine):
    finish(start(engine), Hands(engine, good))
    with engine.begin() as connection:
        connection.execute(text("UPDATE totals SET status = 'failed', reason = 'x' || run_id WHERE what = 'evolved'"))
    reasons = {reason for reason, status in of(told(engine), "nodes_total") if status == "failed"}
    assert reasons == {"other"}


def test_an_endpoint_is_called_as_it_is_in_the_ledger_and_one_at_two_addresses_is_told_once(
    engine: Engine, redis_url: str
):
    async def story(place: str) -> None:
        limiter = RedisLimiter(redis_url, {"default": Address(base_url=f"http://{place}/v1")})
        take = Take(id=place, endpoint="default", model=model, tokens=1, concurrency=4)
        await limiter.acquire(take)
        await limiter.release(take, ServerFault("503"))
        await limiter.close()

    model = token_hex(4)
    for _ in range(2):
        asyncio.run(story(token_hex(8)))
    series = told(engine, redis_url)
    assert series["endpoint_requests_total", ("default", model)] == 2
    assert series["endpoint_failures_total", ("default", model)] == 2
    breaker = {
        state: value for (_, of_model, state), value in of(series, "endpoint_breaker").items() if of_model == model
    }
    assert breaker == {"closed": 1, "probing": 0, "open": 0}


def test_a_database_that_is_away_is_told(engine: Engine):
    away = open_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    series = told(away)
    assert series["database_up", ()] == 0
    assert of(series, "tasks") == {}


def test_a_process_tells_how_many_of_its_own_connections_are_in_use(database_url: str):
    engine = open_engine(database_url, pool_size=2)
    registry = CollectorRegistry()
    registry.register(Connections(engine))
    with ExitStack() as held:
        for in_use in range(5):
            series = read(generate_latest(registry).decode())
            assert (series["database_pool_in_use", ()], series["database_pool_size", ()]) == (in_use, 4)
            if in_use < 4:
                held.enter_context(engine.connect())
    assert read(generate_latest(registry).decode())["database_pool_in_use", ()] == 0
    engine.dispose()


def test_figures_are_served_where_it_is_said_and_a_port_in_use_is_refused_in_one_line(engine: Engine, redis_url: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = Served(HostPort.of(str(port)))
    served.put(Figures(engine, redis_url))
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            page = answer.read().decode()
        assert read(page)["broker_up", ()] == 1
        assert "instructree_process_resident_memory_bytes" in page
        with pytest.raises(
            ConfigError, match=rf"metrics cannot be served at 127.0.0.1:{port} \(Address already in use\)"
        ):
            Served(HostPort.of(f"127.0.0.1:{port}"))
    finally:
        served.end()


@pytest.mark.parametrize("place", ["", "x", "host:", "127.0.0.1:70000", ":0"])
def test_a_place_that_is_none(place: str):
    with pytest.raises(ConfigError, match="expected PORT or HOST:PORT"):
        HostPort.of(place)


def registered(engine: Engine, broker: str) -> CollectorRegistry:
    """What orchestrators and workers tell."""
    registry = CollectorRegistry()
    registry.register(Figures(engine, broker))
    registry.register(OwnFigures(Held(), Slots(1)))
    registry.register(Connections(engine))
    return registry


def exported(registry: CollectorRegistry) -> set[str]:
    """The names of all series, whether or not there are any now."""
    types = re.findall(r"^# TYPE instructree_(\S+) (\w+)", generate_latest(registry).decode(), re.M)
    parts = {"histogram": ("_bucket", "_count", "_sum")}
    return {name + part for name, kind in types for part in parts.get(kind, ("",))}


def test_every_series_is_recounted_or_there_is_a_reason_why_not(engine: Engine, redis_url: str):
    assert not RECOUNTS.keys() & NOT_RECOUNTED.keys()
    assert exported(registered(engine, redis_url)) == RECOUNTS.keys() | NOT_RECOUNTED.keys()


def test_nothing_asks_for_a_series_that_is_not_exported(engine: Engine, redis_url: str):
    registry = registered(engine, redis_url)
    ProcessCollector(namespace="instructree", registry=registry)
    told_of = exported(registry)
    asked = [*panels(), *((rule["alert"], rule["expr"]) for rule in ALERTS)]
    assert len(asked) > 40
    for where, expression in asked:
        for name in re.findall(r"\binstructree_(\w+)", expression):
            assert name in told_of, (where, name)
