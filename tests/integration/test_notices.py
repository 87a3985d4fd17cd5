"""Notices on real rows: written with what they tell of, told once by whoever claims them, again where it failed."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from threading import Barrier, Event, Thread
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, text

from db import notices, runs
from db.records import Caps
from orchestrator.hints import Hints
from orchestrator.notices import Channel, Teller, Untold, telling
from orchestrator.service import Orchestrator
from orchestrator.status import status_of
from tests.integration.night import Hands, finish, good, start
from tests.integration.outages import standby
from workers.llm.errors import Unauthorized


@dataclass
class Ear:
    """A channel that hears, and fails as often as it is told to."""

    name: ClassVar[str] = "webhook"
    place: str = "webhook at ear"
    failing: int = 0
    heard: list[Any] = field(default_factory=list)
    before: Callable[[], object] = lambda: None

    def tell(self, body: bytes) -> None:
        self.before()
        self.heard.append(json.loads(body))
        if len(self.heard) <= self.failing:
            raise Untold("answered 500")


def teller(engine: Engine, ear: Channel, delays_s: Sequence[float] = (0, 0, 0)) -> Teller:
    return Teller(engine, [ear], delays_s=delays_s)


def told(engine: Engine) -> list[tuple[str, str, int]]:
    """(event, state, attempts) as `status` shows it."""
    with engine.connect() as connection:
        run = runs.by_id(connection, connection.execute(text("SELECT max(id) FROM runs")).scalar_one())
        found = status_of(connection, run)["notices"]
    json.dumps(found)
    return [(one["event"], one["state"], one["attempts"]) for one in found]


def test_the_end_of_a_run_is_told_once_with_its_figures(engine: Engine):
    run = finish(start(engine), Hands(engine))
    ear = Ear()
    one = teller(engine, ear)
    assert [one.round() for _ in range(3)] == [True, False, False]
    (said,) = ear.heard
    assert (said["run"], said["event"], said["reason"]) == ("night", "done", None)
    assert said["figures"]["calls"] == run.spent.calls > 0
    assert said["figures"]["examples"] > 0 and said["figures"]["usd"] == run.spent.nusd / 1e9
    assert told(engine) == [("done", "told", 1)]


def test_a_cap_is_told_with_its_reason(engine: Engine):
    run = finish(start(engine, caps=Caps(calls=20)), Hands(engine))
    ear = Ear()
    teller(engine, ear).round()
    assert (ear.heard[0]["event"], ear.heard[0]["reason"]) == ("stopped", run.reason)


def test_a_broken_endpoint_is_told(engine: Engine):
    driver = start(engine)
    driver.tick()
    with engine.begin() as connection:
        refused = Unauthorized("default: 401 the key is refused").told
        connection.execute(text("UPDATE tasks SET error = :error"), {"error": refused})
    driver.sweep()
    ear = Ear()
    teller(engine, ear).round()
    assert (ear.heard[0]["event"], ear.heard[0]["reason"]) == ("paused", "default: 401 the key is refused")


def test_what_fails_is_told_again_until_it_arrives(engine: Engine):
    finish(start(engine), Hands(engine))
    ear = Ear(failing=2)
    one = teller(engine, ear)
    assert [one.round() for _ in range(4)] == [True, True, True, False]
    assert len({said["id"] for said in ear.heard}) == 1  # so that whoever listens can tell a repeat
    assert told(engine) == [("done", "told", 3)]


def test_after_the_last_try_it_is_given_up_and_status_says_so(engine: Engine):
    finish(start(engine), Hands(engine))
    ear = Ear(failing=9)
    one = teller(engine, ear)
    assert [one.round() for _ in range(5)] == [True] * 4 + [False]
    assert told(engine) == [("done", "given_up", 4)]
    with engine.connect() as connection:
        (row,) = notices.of_run(connection, 1)
    assert row.error == "answered 500"


def test_a_later_try_waits_for_its_time(engine: Engine):
    finish(start(engine), Hands(engine))
    one = teller(engine, Ear(failing=1), delays_s=(3600,))
    assert [one.round(), one.round()] == [True, False]
    assert told(engine) == [("done", "waiting", 1)]


def test_many_tellers_tell_each_notice_once(engine: Engine):
    finish(start(engine), Hands(engine))
    with engine.begin() as connection:
        for _ in range(30):
            notices.announce(connection, 1, "stalled", None)
    ears = [Ear() for _ in range(4)]
    together = Barrier(len(ears))

    def tell(ear: Ear) -> None:
        one = teller(engine, ear)
        together.wait()
        while one.round():
            pass

    threads = [Thread(target=tell, args=(ear,)) for ear in ears]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [said["id"] for ear in ears for said in ear.heard]
    assert len(ids) == len(set(ids)) == 31


def test_what_a_dead_teller_had_in_hand_is_told_by_the_next_and_its_mark_is_void(engine: Engine):
    finish(start(engine), Hands(engine))
    with engine.begin() as connection:
        lost = notices.claim(connection, ["webhook"], lease_s=0)
    assert lost is not None
    ear = Ear()
    assert teller(engine, ear).round()
    assert len(ear.heard) == 1
    with engine.begin() as connection:
        notices.untold(connection, lost, error="late", delay_s=0)
    assert told(engine) == [("done", "told", 2)]
    assert not teller(engine, ear).round()


def test_each_channel_has_its_own_tries_and_only_what_is_here_is_told(engine: Engine):
    finish(start(engine), Hands(engine))
    ear = Ear()
    assert teller(engine, ear).round()
    with engine.connect() as connection:
        states = connection.execute(text("SELECT channel, state FROM notices ORDER BY channel")).all()
    assert [tuple(state) for state in states] == [("command", "waiting"), ("webhook", "told")]
    assert told(engine) == [("done", "told", 1)]  # nobody tried the command, so nobody need know of it


def test_old_news_is_not_told(engine: Engine):
    finish(start(engine), Hands(engine))
    with engine.begin() as connection:
        connection.execute(text("UPDATE notices SET at = now() - interval '25 hours'"))
    assert not teller(engine, Ear()).round()


def test_a_teller_waits_for_a_standby_to_be_promoted(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.notices.teller._POLL_S", 0.02)
    finish(start(engine), Hands(engine))
    heard = Event()
    with ExitStack() as parting:
        with standby(engine) as refused:
            parting.enter_context(telling(engine, [Ear(before=heard.set)]))
            assert refused.wait(30)
        assert heard.wait(30)


def test_a_notice_that_crashes_the_channel_does_not_silence_those_after_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("orchestrator.notices.teller._POLL_S", 0.02)
    finish(start(engine), Hands(engine))
    with engine.begin() as connection:
        notices.announce(connection, 1, "stalled", None)
    asked, heard = Event(), Event()

    def crash_once() -> None:
        if not asked.is_set():
            asked.set()
            raise RuntimeError("a bug")
        heard.set()

    with telling(engine, [Ear(before=crash_once)]):
        assert heard.wait(30)


def test_no_transaction_is_open_while_somebody_is_told(engine: Engine):
    finish(start(engine), Hands(engine))
    seen: list[int] = []
    ear = Ear(before=lambda: seen.append(engine.pool.checkedout()))  # type: ignore[attr-defined]  # of QueuePool
    assert teller(engine, ear).round()
    assert seen == [0]


@dataclass
class Stuck:
    """A channel that never comes back while the test lasts."""

    name: ClassVar[str] = "webhook"
    place: str = "webhook at tar"
    entered: Event = field(default_factory=Event)
    free: Event = field(default_factory=Event)

    def tell(self, body: bytes) -> None:
        self.entered.set()
        self.free.wait(60)


def test_a_webhook_that_hangs_holds_no_run_up(engine: Engine, redis_url: str):
    start(engine)
    with engine.begin() as connection:
        notices.announce(connection, 1, "stalled", None)
        connection.execute(text("UPDATE runs SET owner_until = NULL"))
    stuck, hands, hints = Stuck(), Hands(engine), Hints(redis_url)
    block: AbstractContextManager[None] = telling(engine, [stuck])
    with block:
        assert stuck.entered.wait(30)
        serving = Orchestrator(engine, hints)
        for _ in range(200):
            serving.round()
            hands.work()
            with engine.connect() as connection:
                if runs.by_id(connection, 1).status == "done":
                    break
        else:
            pytest.fail("the run never ended")
        assert not stuck.free.is_set()
        stuck.free.set()
    hints.close()


def test_stopping_waits_only_so_long_for_what_is_in_hand(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.notices.teller._PARTING_S", 0.2)
    finish(start(engine), Hands(engine))
    stuck = Stuck()
    began = time.monotonic()
    with telling(engine, [stuck]):
        assert stuck.entered.wait(30)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    stuck.free.set()


# -- stalls


def drive(engine: Engine, seconds: float) -> None:
    """As if the run had been driven for so long without any change."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET driven_s = driven_s + :s"), {"s": seconds})


def events(engine: Engine) -> list[tuple[str, str | None]]:
    query = "SELECT event, reason FROM notices WHERE channel = 'webhook' ORDER BY id"
    with engine.connect() as connection:
        return [(row.event, row.reason) for row in connection.execute(text(query))]


def test_a_run_in_which_nothing_moves_is_told_once_and_again_after_it_moved(engine: Engine):
    driver = start(engine)
    driver.tick()
    driver.sweep(stall_s=600)
    assert events(engine) == []
    drive(engine, 700)
    driver.sweep(stall_s=600)
    driver.sweep(stall_s=600)
    assert [event for event, _ in events(engine)] == ["stalled"]
    assert "10 minutes; no task was tried in vain" in str(events(engine)[0][1])
    with engine.connect() as connection:
        assert status_of(connection, runs.by_id(connection, driver.run.id))["stalled"] is True
    Hands(engine, good).work()
    driver.tick()
    with engine.connect() as connection:
        assert not runs.by_id(connection, driver.run.id).stalled
    drive(engine, 700)
    driver.sweep(stall_s=600)
    assert [event for event, _ in events(engine)] == ["stalled", "stalled"]


def test_a_stall_says_what_the_endpoint_said(engine: Engine):
    driver = start(engine)
    driver.tick()
    with engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET error = 'RetryLater: default: connection refused'"))
    drive(engine, 700)
    driver.sweep(stall_s=600)
    assert events(engine) == [("stalled", "no task has ended for 10 minutes; RetryLater: default: connection refused")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tasks SET state = 'leased', lease_until = now() + interval '1 h', deadline_s = 7200",
        "UPDATE tasks SET state = 'done', ended_at = now() - interval '5 minutes'",
        "UPDATE runs SET moved_s = driven_s",
    ],
    ids=["a long task is in hand", "tasks end, and wait for their turn", "a task was applied lately"],
)
def test_what_still_moves_has_not_stalled(engine: Engine, change: str):
    driver = start(engine)
    driver.tick()
    drive(engine, 700)
    with engine.begin() as connection:
        connection.execute(text(change))
        assert not notices.watch(connection, driver.run.id, after_s=600)


def test_a_run_that_was_paused_is_given_its_time_again(engine: Engine):
    driver = start(engine)
    driver.tick()
    drive(engine, 700)
    with engine.begin() as connection:
        runs.set_status(connection, driver.run.id, "paused", reason="paused")
        assert not notices.watch(connection, driver.run.id, after_s=600)
        runs.set_status(connection, driver.run.id, "running")
        assert not notices.watch(connection, driver.run.id, after_s=600)
    assert events(engine) == []  # whoever pauses a run by hand knows of it
