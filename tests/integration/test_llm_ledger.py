"""The ledger's writer on a real database: durable before anybody hears of it, in bulk, whatever the database does."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from db import calls
from db.errors import Retry
from db.records import CallRow
from tests.integration.outages import closed, standby
from workers.config import Endpoint, Role, Style, WorkSettings
from workers.llm.address import Address
from workers.llm.call import call_for
from workers.llm.errors import LedgerAway, LedgerRefused
from workers.llm.gateway import open_gateway
from workers.llm.ledger import DatabaseLedger
from workers.llm.scripted.server import ScriptedServer
from workers.prompting import Prompt


def row(key: str, **values: Any) -> CallRow:
    known: dict[str, Any] = {
        "key": key,
        "run_id": None,
        "task_id": 7,
        "role": "evolver",
        "endpoint": "default",
        "model": "m",
        "tokens_in": 3,
        "tokens_out": 4,
        "nusd": 11,
        "latency_s": 0.25,
        "outcome": "ok",
        "response": {"text": f"answer to {key}", "first_token": {"4": -0.5}},
    }
    return CallRow(**{**known, **values})


@pytest.fixture
def ledger(engine: Engine) -> Iterator[DatabaseLedger]:
    ledger = DatabaseLedger(engine, pauses_s=(0.05, 0.05))
    yield ledger
    ledger.close()


def count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM calls")).scalar_one())


def test_rows_come_back_as_they_went_in(engine: Engine):
    rows = [row("b"), row("a", nusd=None, outcome="refused"), row("a", tokens_in=99)]
    with engine.begin() as connection:
        assert calls.insert(connection, rows) == {"a", "b"}
        assert calls.insert(connection, [row("a", tokens_in=100), row("c")]) == {"c"}
        assert calls.insert(connection, []) == set()
        found = calls.find(connection, ["a", "b", "nothing"])
        assert calls.find(connection, []) == {}
    assert found == {"a": rows[1], "b": rows[0]}


def test_a_recorded_row_is_committed_and_found(engine: Engine, ledger: DatabaseLedger):
    async def work() -> None:
        assert await ledger.lookup("k") is None
        assert await ledger.record(row("k")) == row("k")
        assert count(engine) == 1  # seen from another connection
        assert await ledger.lookup("k") == row("k")

    asyncio.run(work())


def test_the_older_row_stands_and_a_second_payment_is_counted(ledger: DatabaseLedger):
    async def work() -> None:
        await ledger.record(row("k"))
        assert await ledger.record(row("k", tokens_in=99)) == row("k")
        both = await asyncio.gather(ledger.record(row("n")), ledger.record(row("n", tokens_in=98)))
        assert both[0] == both[1]

    asyncio.run(work())
    assert ledger.doubled == 2


def test_bad_outcomes_are_found_with_their_outcome(ledger: DatabaseLedger):
    async def work() -> list[CallRow | None]:
        for outcome in ("cut", "empty", "refused", "filtered"):
            await ledger.record(row(outcome, outcome=outcome))
        return [await ledger.lookup(outcome) for outcome in ("cut", "empty", "refused", "filtered")]

    assert [found and found.outcome for found in asyncio.run(work())] == ["cut", "empty", "refused", "filtered"]


@contextmanager
def counting_commits(engine: Engine) -> Iterator[list[None]]:
    commits: list[None] = []

    def note(connection: Connection) -> None:
        commits.append(None)

    event.listen(engine, "commit", note)
    yield commits
    event.remove(engine, "commit", note)


def test_many_rows_share_a_commit_and_one_row_does_not_wait(engine: Engine, ledger: DatabaseLedger):
    async def work() -> float:
        await ledger.lookup("warm")
        await asyncio.sleep(0.1)
        begun = time.perf_counter()
        await ledger.record(row("alone"))
        alone = time.perf_counter() - begun
        await asyncio.gather(*(ledger.record(row(f"k{i}")) for i in range(1000)))
        return alone

    with counting_commits(engine) as commits:
        alone_s = asyncio.run(work())
    assert count(engine) == 1001
    assert len(commits) <= 20
    assert alone_s < 0.25  # a lonely row goes out at once; the bound leaves room for a busy machine


def test_several_event_loops_are_served(engine: Engine, ledger: DatabaseLedger):
    async def work(name: str) -> None:
        await asyncio.gather(*(ledger.record(row(f"{name}{i}")) for i in range(50)))

    async def both() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, work(name)) for name in "abc"))

    asyncio.run(both())
    assert count(engine) == 150


def test_closing_writes_what_is_waiting(engine: Engine):
    async def work() -> None:
        ledger = DatabaseLedger(engine)
        waiting = [asyncio.create_task(ledger.record(row(f"k{i}"))) for i in range(300)]
        await asyncio.sleep(0)
        await asyncio.to_thread(ledger.close)
        await asyncio.gather(*waiting)
        with pytest.raises(LedgerAway, match="closed"):
            await ledger.record(row("late"))
        ledger.close()

    asyncio.run(work())
    assert count(engine) == 300


def test_a_waiter_who_has_gone_does_no_harm(engine: Engine, ledger: DatabaseLedger):
    async def work() -> None:
        gone = asyncio.create_task(ledger.record(row("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await ledger.record(row("here"))

    asyncio.run(work())
    assert count(engine) == 2


def test_a_row_that_is_never_taken_does_not_take_others_along(engine: Engine, ledger: DatabaseLedger):
    async def work() -> list[object]:
        rows = [row("a"), row("bad", run_id=999), row("worse", outcome="odd"), row("b")]
        waiting = [*(ledger.record(item) for item in rows), ledger.lookup("nothing")]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    a, bad, worse, b, nothing = asyncio.run(work())
    assert (a, b, nothing) == (row("a"), row("b"), None)
    assert isinstance(bad, LedgerRefused) and "foreign key" in str(bad) and "\n" not in str(bad)
    assert isinstance(worse, LedgerRefused) and worse.retry is Retry.NEVER
    assert count(engine) == 2


def test_while_the_database_is_away_everybody_is_told_and_nothing_is_dropped(engine: Engine, ledger: DatabaseLedger):
    async def work() -> None:
        await ledger.record(row("before"))
        with closed(engine):
            told = await asyncio.gather(ledger.record(row("paid")), ledger.lookup("before"), return_exceptions=True)
            assert all(isinstance(error, LedgerAway) and error.retry is Retry.FREE for error in told)
        assert await ledger.lookup("paid") == row("paid")  # kept, and written as soon as it could be

    asyncio.run(work())
    assert count(engine) == 2


def test_what_was_paid_for_outlives_a_standby_that_is_not_promoted_yet(engine: Engine, ledger: DatabaseLedger):
    async def work() -> None:
        await ledger.record(row("before"))
        with standby(engine), pytest.raises(LedgerAway, match="read-only"):
            await ledger.record(row("paid"))
        assert await ledger.record(row("after")) == row("after")

    asyncio.run(work())
    assert count(engine) == 3


def test_a_short_absence_is_waited_out(engine: Engine):
    ledger = DatabaseLedger(engine, pauses_s=(0.2, 0.4, 0.8, 1.6))

    async def work() -> CallRow:
        await ledger.record(row("before"))
        with closed(engine):
            paid = asyncio.create_task(ledger.record(row("paid")))
            await asyncio.sleep(0.3)
        return await paid

    assert asyncio.run(work()) == row("paid")
    ledger.close()
    assert (count(engine), ledger.doubled) == (2, 0)


def test_closing_says_what_could_not_be_written(engine: Engine):
    ledger = DatabaseLedger(engine, pauses_s=())

    async def work() -> None:
        with pytest.raises(LedgerAway):
            await ledger.record(row("paid"))

    with closed(engine):
        asyncio.run(work())
        with pytest.raises(LedgerAway, match="1 paid answers could not be written"):
            ledger.close()


def test_two_writers_with_keys_in_common_do_not_deadlock(engine: Engine):
    keys = [f"k{i:03}" for i in range(150)]

    async def write(ledger: DatabaseLedger, seed: int) -> list[CallRow]:
        order = random.Random(seed).sample(keys, len(keys))
        return list(await asyncio.gather(*(ledger.record(row(key, tokens_in=seed)) for key in order)))

    async def both() -> list[list[CallRow]]:
        return list(await asyncio.gather(write(ledgers[0], 1), write(ledgers[1], 2)))

    ledgers = [DatabaseLedger(engine), DatabaseLedger(engine)]
    written = asyncio.run(both())
    for ledger in ledgers:
        ledger.close()
    assert count(engine) == 150
    assert {item.key: item for item in written[0]} == {item.key: item for item in written[1]}
    assert sum(ledger.doubled for ledger in ledgers) == 150


def test_the_gateway_pays_once_across_restarts_of_a_worker(engine: Engine):
    """Two gateways one after the other on one database, as a worker and the one that takes its place."""
    settings = WorkSettings(endpoints={"default": Endpoint(model="scripted", timeout_s=10)})

    async def work() -> None:
        async with ScriptedServer() as server:
            for expected in (False, True):
                gateway = await open_gateway(engine, {"default": Address(base_url=server.base_url)})
                prompts = [Prompt(text=f"Describe thing {i}.", style=Style.CHAT) for i in range(20)]
                asked = [gateway.call(call_for(settings, Role.EVOLVER, prompt)) for prompt in prompts]
                answers = await asyncio.gather(*asked)
                await gateway.close()
                assert {answer.replayed for answer in answers} == {expected}
            assert server.stats["paid_total"] == 20 and server.stats["repaid"] == 0

    asyncio.run(work())
    assert count(engine) == 20
