"""The shared limiter on a real Valkey: most of it with the time told by the test, the rest in real event loops."""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from workers.llm.address import Address
from workers.llm.errors import ConnectionFailed, EndpointAway
from workers.llm.limits import RedisLimiter, Take
from workers.llm.limits.fleet import connect
from workers.llm.limits.rules import Rules
from workers.llm.limits.shared import PREFIX, Asked, Ended, Kind, Reply, SharedState, Verdict, identity_of
from workers.llm.limits.states import EndpointState, endpoint_states
from workers.llm.scripted.limits import Bucket

pytestmark = pytest.mark.integration

T0 = 1_000_000_000.0
FREE = 60 * 10_000.0
HORIZON_S = Rules().horizon_s


@dataclass
class Fleet:
    """Processes that share one endpoint of their own, at a time that the test tells."""

    redis: Redis
    rules: Rules
    identity: str = field(default_factory=lambda: secrets.token_hex(8))
    members: dict[str, SharedState] = field(default_factory=dict)
    now: float = T0

    async def tell(
        self,
        member: str,
        asks: Sequence[Take] = (),
        ends: Sequence[Ended] = (),
        mine: Sequence[str] = (),
        held: Sequence[str] = (),
    ) -> Reply:
        if member not in self.members:
            self.members[member] = SharedState(
                self.redis, self.identity, self.identity, instance=member, rules=self.rules
            )
        asked = [Asked(take=take) for take in asks]
        return await self.members[member].exchange(asked, ends, mine, held=held, now=self.now)

    async def ask(self, member: str, take: Take) -> Verdict:
        return (await self.tell(member, [take])).verdicts[0]

    async def state(self) -> EndpointState:
        return next(state for state in await endpoint_states(self.redis, now=self.now) if state.name == self.identity)


def a_take(
    name: str = "",
    *,
    rpm: float | None = FREE,
    concurrency: int = 1000,
    retry: bool = False,
    tokens: int = 1,
    tpm: float | None = None,
) -> Take:
    return Take(
        id=name or secrets.token_hex(8),
        endpoint="x",
        tokens=tokens,
        concurrency=concurrency,
        retry=retry,
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
    )


def play(redis_url: str, story: Callable[[Fleet], object], **rules: float) -> None:
    async def on_a_fleet() -> None:
        redis = connect(redis_url)
        try:
            await story(Fleet(redis, replace(Rules(), **rules)))  # type: ignore[misc, arg-type]
        finally:
            await redis.aclose()

    asyncio.run(on_a_fleet())


def most_in_any(window_s: float, starts: Sequence[float]) -> int:
    ordered, most, first = sorted(starts), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] < moment - window_s + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("burst", [1, 25])
def test_never_above_limit_and_burst_in_any_window_and_hardly_below(redis_url: str, burst: int):
    """Eight processes ask for anything at any time, for two minutes at 300 a minute; each command comes twice."""

    async def story(fleet: Fleet) -> None:
        lots, starts = Random(burst), []
        while fleet.now < T0 + 120:
            fleet.now += lots.expovariate(1 / 0.02) if lots.random() > 0.002 else 3.0
            member = f"p{lots.randrange(8)}"
            takes = [a_take(rpm=300) for _ in range(lots.randrange(1, 6))]
            reply = await fleet.tell(member, takes)
            await fleet.tell(member, takes[: len(reply.verdicts)])
            starts += [fleet.now + verdict.seconds for verdict in reply.verdicts if verdict.answer == "go"]
        for window_s in (0.5, 1, 7, 60):
            assert most_in_any(window_s, starts) <= 300 / 60 * window_s + burst
        assert len(starts) >= 0.6 * 300 * 2  # there were pauses when nobody asked

    play(redis_url, story, burst=burst)


def test_a_limit_that_is_always_asked_for_is_used(redis_url: str):
    async def story(fleet: Fleet) -> None:
        starts = []
        while fleet.now < T0 + 60:
            for member in ("a", "b", "c", "d"):
                verdict = await fleet.ask(member, a_take(rpm=1200))
                starts += [fleet.now] if verdict.answer == "go" else []
            fleet.now += 0.02
        assert 0.97 * 1200 <= len(starts) <= 1201

    play(redis_url, story)


@pytest.mark.parametrize(
    ("before", "after"),
    [({"rpm": 1}, {"rpm": 600}), ({"tpm": 100}, {"tpm": 600_000}), ({"tpm": 100}, {}), ({"rpm": 1}, {})],
)
def test_a_limit_that_is_raised_lets_those_through_who_would_have_waited_for_minutes(
    redis_url: str, before: dict[str, Any], after: dict[str, Any]
):
    async def story(fleet: Fleet) -> None:
        assert (await fleet.ask("a", a_take(tokens=1000, **before))).answer == "go"
        assert (await fleet.ask("a", a_take(tokens=1000, **before))).seconds > 30
        fleet.now += 0.5
        last = fleet.now
        for _ in range(5):
            while (verdict := await fleet.ask("b", a_take(tokens=1000, **after))).answer != "go":
                fleet.now += max(verdict.seconds, 0.001)
        assert fleet.now - last < 3

    play(redis_url, story)


def test_a_limit_that_is_lowered_holds_from_the_next_one_on(redis_url: str):
    async def story(fleet: Fleet) -> None:
        for _ in range(20):
            assert (await fleet.ask("a", a_take(rpm=60_000))).answer == "go"
            fleet.now += 0.01
        starts = []
        while fleet.now < T0 + 60:
            verdict = await fleet.ask("a", a_take(rpm=30))
            starts += [fleet.now + verdict.seconds] if verdict.answer == "go" else []
            fleet.now += 0.25
        assert 25 <= len(starts) <= 32

    play(redis_url, story)


def test_tokens_are_reserved_and_what_was_not_used_comes_back(redis_url: str):
    async def story(fleet: Fleet) -> None:
        takes = [a_take(f"t{i}", tokens=1000, tpm=60_000) for i in range(3)]  # each costs a second
        assert [(await fleet.ask("a", takes[0])).answer, (await fleet.ask("a", takes[1])).answer] == ["go", "pace"]
        fleet.now += 1.0
        assert (await fleet.ask("a", takes[1])).answer == "go"
        for _ in range(2):  # told twice, given back once
            await fleet.tell("a", ends=[Ended(take=takes[1], kind=Kind.OK, tokens=100)])
        verdict = await fleet.ask("a", takes[2])
        assert verdict.answer == "pace"
        assert verdict.seconds == pytest.approx(0.1 - HORIZON_S, abs=0.001)
        fleet.now += 0.1
        assert (await fleet.ask("a", takes[2])).answer == "go"
        assert (await fleet.ask("a", a_take(tokens=1, tpm=60_000))).seconds == pytest.approx(1 - HORIZON_S, abs=0.001)

    play(redis_url, story)


def test_a_take_is_taken_once_and_ends_once(redis_url: str):
    async def story(fleet: Fleet) -> None:
        take = a_take("one", rpm=60)
        first = await fleet.ask("a", take)
        fleet.now += 0.5
        assert (first.answer, await fleet.ask("a", take)) == ("go", first)
        state = await fleet.state()
        assert state.allowed == 1
        assert (await fleet.ask("a", a_take(rpm=60))).seconds == pytest.approx(60 / 58.8 - 0.5 - HORIZON_S, abs=0.001)
        for _ in range(3):
            await fleet.tell("a", ends=[Ended(take=take, kind=Kind.LIMITED, retry_after_s=0)])
        assert (await fleet.state()).limited == 1
        assert (await fleet.ask("a", take)).answer == "go"  # it is over: it takes nothing any more
        assert (await fleet.state()).allowed == 1
        assert await fleet.redis.zcard(f"{PREFIX}{fleet.identity}:slots") == 0

    play(redis_url, story)


def test_slots_are_shared_and_those_of_a_dead_process_come_back(redis_url: str):
    async def story(fleet: Fleet) -> None:
        for name in ("a1", "a2", "b1"):
            assert (await fleet.ask(name[0], a_take(name, concurrency=3))).answer == "go"
        assert (await fleet.ask("b", a_take(concurrency=3))).answer == "full"
        for _ in range(4):  # a lives and renews its own; b was killed
            fleet.now += Rules().lease_s / 3
            await fleet.tell("a", mine=["a1", "a2"])
        assert (await fleet.ask("a", a_take("a3", concurrency=3))).answer == "go"
        assert (await fleet.ask("a", a_take("a4", concurrency=3))).answer == "full"
        assert await fleet.redis.hlen(f"{PREFIX}{fleet.identity}:takes") == 3  # nothing is left of the dead

    play(redis_url, story)


def test_a_process_without_a_slot_is_kept_one(redis_url: str):
    """`hog` gives slots back and takes them again at once, and would otherwise never leave a gap."""

    async def story(fleet: Fleet) -> None:
        held = [f"hog{i}" for i in range(2)]
        await fleet.tell("hog", [a_take(name, concurrency=2) for name in held])
        wanted = a_take("late", concurrency=2)
        assert (await fleet.ask("late", wanted)).answer == "full"
        for turn in range(40):
            fleet.now += 0.05
            ended = Ended(take=a_take(held.pop(0), concurrency=2), kind=Kind.OK)
            fresh = a_take(f"again{turn}", concurrency=2)
            verdict = (await fleet.tell("hog", [fresh], [ended])).verdicts[0]
            if verdict.answer == "full":
                break
            held.append(fresh.id)
        assert 0.2 < fleet.now - T0 < 0.5
        assert (await fleet.ask("late", wanted)).answer == "go"

    play(redis_url, story)


def test_nobody_asks_before_retry_after_is_over(redis_url: str):
    async def story(fleet: Fleet) -> None:
        take = a_take(rpm=None)
        await fleet.ask("a", take)
        await fleet.tell("a", ends=[Ended(take=take, kind=Kind.LIMITED, tokens=0, retry_after_s=20.0)])
        for member, passed in (("a", 0.0), ("b", 10.0), ("c", 19.9)):
            fleet.now = T0 + passed
            verdict = await fleet.ask(member, a_take(rpm=None))
            if verdict.answer == "go":
                assert fleet.now + verdict.seconds >= T0 + 20
            else:
                assert verdict.answer == "pace" and verdict.seconds <= 20 - passed
        assert (await fleet.state()).limited == 1

    play(redis_url, story)


@dataclass
class Bench:
    """An endpoint with a token bucket, four processes that always want more, and the time between them."""

    fleet: Fleet
    rate: float
    burst: float
    retry_after: bool
    jitter_s: float = 0.0005
    sent: int = 0
    rejected: int = 0
    starts: list[float] = field(default_factory=list)

    async def run(self, calls: int, rpm: float | None) -> float:
        """The seconds that it takes until so many are admitted."""
        bucket = Bucket(self.rate, self.burst, lambda: self.fleet.now)
        lots, flying = Random(1), []
        while self.sent - self.rejected < calls:
            for member in ("a", "b", "c", "d"):
                take = a_take(rpm=rpm)
                verdict = await self.fleet.ask(member, take)
                if verdict.answer == "go":
                    self.starts.append(self.fleet.now + verdict.seconds)
                    flying.append((self.fleet.now + verdict.seconds + lots.expovariate(1 / self.jitter_s), take))
            self.fleet.now += 0.01
            for due in sorted((due for due in flying if due[0] <= self.fleet.now), key=lambda due: due[0]):
                flying.remove(due)
                await self._arrive(bucket, *due)
        return self.fleet.now - T0

    async def _arrive(self, bucket: Bucket, moment: float, take: Take) -> None:
        now, self.fleet.now = self.fleet.now, moment
        wait_s = bucket.take()
        self.fleet.now = now
        self.sent += 1
        self.rejected += wait_s > 0
        kind = Kind.LIMITED if wait_s else Kind.OK
        asked = wait_s if wait_s and self.retry_after else None
        await self.fleet.tell("a", ends=[Ended(take=take, kind=kind, tokens=0, retry_after_s=asked)])


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize(("rate", "burst"), [(20, 5), (20, 1), (3, 3), (80, 40)])
def test_an_unknown_limit_is_found_and_kept_near(redis_url: str, rate: float, burst: float, retry_after: bool):
    async def story(fleet: Fleet) -> None:
        bench = Bench(fleet, rate, burst, retry_after)
        calls = int(max(rate * 30, 300))  # learning costs a dozen
        assert await bench.run(calls, None) <= 1.15 * calls / rate
        assert bench.rejected / bench.sent <= 0.1

    play(redis_url, story)


def test_a_configured_limit_is_hardly_ever_answered_429_and_a_wrong_one_is_corrected(redis_url: str):
    async def right(fleet: Fleet) -> None:
        bench = Bench(fleet, 20, 5, True)
        assert await bench.run(400, 1200) <= 1.05 * 20
        assert bench.rejected == 0

    async def wrong(fleet: Fleet) -> None:
        bench = Bench(fleet, 20, 5, True)
        assert await bench.run(400, 6000) <= 1.15 * 20
        assert bench.rejected / bench.sent <= 0.1
        assert (await fleet.state()).learned

    play(redis_url, right)
    play(redis_url, wrong)


def test_places_that_a_429_left_unused_are_given_again_within_the_limit(redis_url: str):
    """The endpoint lets nothing through at once, and what is sent evenly arrives unevenly."""

    async def story(fleet: Fleet) -> None:
        bench = Bench(fleet, 20, 1, True, jitter_s=0.003)
        assert await bench.run(400, 1200) <= 1.3 * 20
        assert 0 < bench.rejected / bench.sent <= 0.06
        for window_s in (0.1, 1, 7, 20):
            assert most_in_any(window_s, bench.starts) <= 20 * window_s + 2

    play(redis_url, story)


async def fail(fleet: Fleet, times: int, *, member: str = "a") -> None:
    """One call at a time, as when little is going on."""
    for _ in range(times):
        take = a_take()
        assert (await fleet.ask(member, take)).answer == "go"
        await fleet.tell(member, ends=[Ended(take=take, kind=Kind.FAILED)])
        fleet.now += 0.1


def test_the_life_of_the_breaker(redis_url: str):
    async def story(fleet: Fleet) -> None:
        await fail(fleet, 4)
        answered = a_take()
        await fleet.ask("b", answered)
        await fleet.tell("b", ends=[Ended(take=answered, kind=Kind.ALIVE)])  # a refusal is an answer
        await fail(fleet, 5)
        assert (await fleet.state()).breaker == "open"
        longest = 0.0
        for _ in range(6):
            verdict = await fleet.ask("b", a_take())
            assert verdict.answer == "away"
            longest = max(longest, verdict.seconds)
            fleet.now += verdict.seconds + 0.001
            probe = a_take()
            assert (await fleet.ask("c", probe)).answer == "go"
            assert (await fleet.ask("b", a_take())).answer == "away"  # one at a time
            await fleet.tell("c", ends=[Ended(take=probe, kind=Kind.FAILED)])
        assert 8 < longest <= 10
        fleet.now += 11
        probe = a_take()
        assert (await fleet.ask("c", probe)).answer == "go"
        await fleet.tell("c", ends=[Ended(take=probe, kind=Kind.OK)])
        assert (await fleet.state()).breaker == "closed"
        assert (await fleet.ask("b", a_take())).answer == "go"
        await fail(fleet, 4)  # it counts from nothing again

    play(redis_url, story, retry_floor=100)


def test_failures_are_counted_once_each_though_the_breaker_stays_closed(redis_url: str):
    """An endpoint of which one answer in five is a 503 is not seen by its breaker."""

    async def story(fleet: Fleet) -> None:
        for number in range(20):
            take, kind = a_take(), Kind.OK if number % 5 else Kind.FAILED
            await fleet.ask("a", take)
            for _ in range(2):  # told twice, counted once
                await fleet.tell("a", ends=[Ended(take=take, kind=kind, tokens=1)])
        state = await fleet.state()
        assert (state.breaker, state.allowed, state.failed, state.limited) == ("closed", 20, 4, 0)

    play(redis_url, story)


def test_a_state_that_an_older_version_left_behind_has_no_failures_yet(redis_url: str):
    async def story(fleet: Fleet) -> None:
        await fail(fleet, 1)
        await fleet.redis.hdel(f"{PREFIX}{fleet.identity}", "failed")
        assert (await fleet.state()).failed == 0
        await fail(fleet, 1)
        assert (await fleet.state()).failed == 1

    play(redis_url, story)


def test_a_probe_that_hangs_or_whose_process_died_does_not_bar_the_way(redis_url: str):
    async def story(fleet: Fleet) -> None:
        await fail(fleet, 5)
        fleet.now += 2
        assert (await fleet.ask("killed", a_take())).answer == "go"
        fleet.now += Rules().probe_s + 0.1
        second = a_take()
        assert (await fleet.ask("a", second)).answer == "go"
        await fleet.tell("a", ends=[Ended(take=second, kind=Kind.UNKNOWN)])  # cancelled: the next may try at once
        third = a_take()
        assert (await fleet.ask("a", third)).answer == "go"
        await fleet.tell("a", ends=[Ended(take=third, kind=Kind.OK)])
        assert (await fleet.state()).breaker == "closed"

    play(redis_url, story)


def test_what_was_sent_before_the_breaker_opened_does_not_hold_it_open(redis_url: str):
    async def story(fleet: Fleet) -> None:
        flying = [a_take() for _ in range(20)]
        assert len((await fleet.tell("a", flying)).verdicts) == 20
        for take in flying:
            await fleet.tell("a", ends=[Ended(take=take, kind=Kind.FAILED)])
        assert (await fleet.ask("a", a_take())).seconds == pytest.approx(1.0)

    play(redis_url, story)


def test_429_does_not_open_the_breaker(redis_url: str):
    async def story(fleet: Fleet) -> None:
        for _ in range(20):
            take = a_take(rpm=None)
            verdict = await fleet.ask("a", take)
            if verdict.answer == "go":
                await fleet.tell("a", ends=[Ended(take=take, kind=Kind.LIMITED)])
            fleet.now += 1
        assert (await fleet.state()).breaker == "closed"

    play(redis_url, story)


def test_retries_are_at_most_so_many_of_all_calls(redis_url: str):
    async def story(fleet: Fleet) -> None:
        allowed = 0
        for number in range(400):  # every call wants a retry
            assert (await fleet.ask(f"p{number % 4}", a_take())).answer == "go"
            verdict = await fleet.ask(f"p{number % 3}", a_take(retry=True))
            allowed += verdict.answer == "go"
            assert verdict.answer in ("go", "spent") and (verdict.answer == "go" or verdict.seconds > 1)
            fleet.now += 0.05
        assert 40 < allowed <= 0.15 * 400 + 5 + 5 * 20 / 60  # the five are for every minute
        fleet.now += 1000  # a pause, then a single call
        assert (await fleet.ask("a", a_take())).answer == "go"
        assert [(await fleet.ask("a", a_take(retry=True))).answer for _ in range(3)] == ["go"] * 3

    play(redis_url, story)


def test_a_take_behind_one_whose_retry_is_spent_is_not_held_up(redis_url: str):
    async def story(fleet: Fleet) -> None:
        reply = await fleet.tell("a", [*(a_take(retry=True) for _ in range(8)), a_take()])
        assert [verdict.answer for verdict in reply.verdicts] == ["go"] * 5 + ["spent"] * 3 + ["go"]

    play(redis_url, story)


def test_after_a_wipe_slots_are_shown_before_any_is_given(redis_url: str):
    async def story(fleet: Fleet) -> None:
        names = ["a1", "a2", "a3"]
        await fleet.tell("a", [a_take(name, concurrency=4) for name in names])
        await fleet.redis.flushall()
        fleet.now += 0.1
        assert (await fleet.tell("a", [a_take("a4", concurrency=4)], held=names)).verdicts[0].answer == "go"
        assert (await fleet.ask("b", a_take(concurrency=4))).answer == "full"
        ends = [Ended(take=a_take(name), kind=Kind.OK) for name in (*names, "a4")]
        await fleet.tell("a", ends=ends)
        assert (await fleet.ask("b", a_take(concurrency=4))).answer == "go"

    play(redis_url, story)


def test_a_wipe_at_any_moment_breaks_nothing(redis_url: str):
    async def story(fleet: Fleet) -> None:
        lots, done = Random(3), 0
        flying: list[Take] = []
        for step in range(600):
            fleet.now += 0.02
            if step % 50 == 49:
                await fleet.redis.flushall()
            take, member = a_take(rpm=3000, concurrency=10), f"p{step % 4}"
            ends = [Ended(take=flying.pop(0), kind=lots.choice(list(Kind)))] if len(flying) > 5 else []
            done += len(ends)
            reply = await fleet.tell(member, [take], ends)
            flying += [take] if reply.verdicts[0].answer == "go" else []
        assert done > 100

    play(redis_url, story, failures=1000)


def test_keys_do_not_pile_up(redis_url: str):
    async def story(fleet: Fleet) -> None:
        for turn in range(300):
            take = a_take(rpm=None, concurrency=5)
            if (await fleet.ask(f"p{turn}", take)).answer == "go" and turn % 3:
                await fleet.tell(f"p{turn}", ends=[Ended(take=take, kind=Kind.OK)])
            fleet.now += 1
        names = [name async for name in fleet.redis.scan_iter(f"{PREFIX}{fleet.identity}*")]
        assert len(names) <= 6
        for part in ("slots", "done", "queue", "members"):
            assert await fleet.redis.zcard(f"{PREFIX}{fleet.identity}:{part}") <= 40
        assert await fleet.redis.hlen(f"{PREFIX}{fleet.identity}:takes") <= 20
        assert await fleet.redis.ttl(f"{PREFIX}{fleet.identity}") > 0

    play(redis_url, story)


def book() -> dict[str, Address]:
    return {"x": Address(base_url=f"http://{secrets.token_hex(8)}.example/v1")}


def test_many_takers_on_several_event_loops_keep_to_one_limit(redis_url: str):
    """Real time, so that only what a slow machine cannot spoil is asserted."""
    shared, at_once, peak, lock = book(), 0, 0, threading.Lock()

    async def one_loop() -> None:
        limiter = RedisLimiter(redis_url, shared)

        async def call() -> None:
            nonlocal at_once, peak
            take = a_take(rpm=6000, concurrency=12)
            await limiter.acquire(take)
            with lock:
                at_once += 1
                peak = max(peak, at_once)
            await asyncio.sleep(0.02)
            with lock:
                at_once -= 1
            await limiter.settle(take, tokens=1)
            await limiter.release(take, None)

        await asyncio.gather(*(call() for _ in range(50)))
        await limiter.close()

    begun = time.monotonic()
    threads = [threading.Thread(target=lambda: asyncio.run(one_loop())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun >= 199 / 100 * 0.98
    assert peak <= 12 and at_once == 0


def test_an_endpoint_that_is_gone_is_asked_by_few_and_the_rest_is_told_why(redis_url: str):
    async def story() -> None:
        limiter, told = RedisLimiter(redis_url, book()), []
        for _ in range(12):
            take = a_take()
            try:
                await limiter.acquire(take)
            except EndpointAway as error:
                told.append(error)
                continue
            await limiter.release(take, ConnectionFailed("refused"))
        assert told and all(error.retry_after_s is not None for error in told)
        assert str(told[-1]).startswith("endpoint 'x' is not answering; trying again in ")
        await limiter.close()

    asyncio.run(story())


@dataclass
class Wire:
    """Between a limiter and Valkey, and can be cut."""

    url: str
    cut: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.close()
            return
        parts = urlsplit(self.url)
        there_reader, there_writer = await asyncio.open_connection(parts.hostname, parts.port)
        self.writers += [writer, there_writer]
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    def cut_it(self) -> None:
        self.cut = True
        for writer in self.writers:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()


@asynccontextmanager
async def wire(redis_url: str) -> AsyncIterator[tuple[Wire, str]]:
    between = Wire(redis_url)
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(redis_url)
    yield between, parts._replace(netloc=f":{parts.password}@127.0.0.1:{port}").geturl()
    between.cut_it()
    server.close()


def test_redis_away_in_mid_run_and_back(redis_url: str):
    async def story() -> None:
        addresses = book()
        async with wire(redis_url) as (between, url):
            limiter = RedisLimiter(url, addresses)
            first = a_take("first", rpm=6000, concurrency=8)
            await limiter.acquire(first)
            with capture_logs() as logs:
                between.cut_it()
                takes = [a_take(f"alone{i}", rpm=6000, concurrency=8) for i in range(6)]
                going = {take.id: asyncio.create_task(limiter.acquire(take)) for take in takes}
                await asyncio.wait(going.values(), timeout=0.4)
                assert sum(task.done() for task in going.values()) == 1  # with `first` a quarter of eight
                between.cut = False
                await asyncio.gather(*going.values())
            for take in (first, *takes):
                await limiter.release(take, None)
            await limiter.close()
        assert [log["event"] for log in logs] == ["limiter_alone", "limiter_shared_again"]
        assert str(urlsplit(redis_url).password) not in str(logs)
        async with connect(redis_url) as redis:
            identity = identity_of(addresses["x"], "")
            assert await redis.zcard(f"{PREFIX}{identity}:slots") == 0  # all were shown, and all are over

    asyncio.run(asyncio.wait_for(story(), 60))


def test_the_state_of_an_endpoint_can_be_read(redis_url: str):
    async def story() -> None:
        limiter = RedisLimiter(redis_url, {"judge": Address(base_url=f"http://{secrets.token_hex(8)}/v1")})
        name = secrets.token_hex(4)
        take = replace(a_take(rpm=600), endpoint="judge", model=name)
        await limiter.acquire(take)
        async with connect(redis_url) as redis:
            state = next(state for state in await endpoint_states(redis) if name in state.name)
            assert state.name == f"judge ({name})"
            assert (state.breaker, state.in_flight, state.allowed, state.learned) == ("closed", 1, 1, False)
            assert state.pace == pytest.approx(9.8)
        await limiter.release(take, None)
        await limiter.close()

    asyncio.run(story())
