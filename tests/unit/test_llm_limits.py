"""The desk of the shared limiter with a Redis that is played, and the small share a process allows itself alone."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest
from redis.exceptions import ConnectionError as RedisAway
from structlog.testing import capture_logs

from db.errors import ConfigError, Retry, ServiceError
from workers.llm.address import Address
from workers.llm.errors import (
    BudgetSpent,
    CallRefused,
    ConnectionFailed,
    EndpointAway,
    LedgerAway,
    LimitReached,
    ModelError,
    NoLeave,
    RateLimited,
    RetriesSpent,
    ServerFault,
    TimedOut,
    Unauthorized,
    Withdrawn,
)
from workers.llm.limits import RedisLimiter, Take
from workers.llm.limits.alone import Alone
from workers.llm.limits.clock import ServerClock
from workers.llm.limits.desk import Desk
from workers.llm.limits.fleet import connect, ended
from workers.llm.limits.rules import Rules
from workers.llm.limits.shared import Asked, Ended, Kind, Reply, Verdict, identity_of

T0 = 1_000_000_000.0
GO = Verdict(answer="go", seconds=0.0)


def take(name: str, *, retry: bool = False, concurrency: int = 8, rpm: float | None = None) -> Take:
    return Take(
        id=name, endpoint="judge", tokens=100, concurrency=concurrency, retry=retry, requests_per_minute=rpm, model="m"
    )


@dataclass
class Played:
    """A Redis that says what it is told to, and remembers what it was told."""

    says: Callable[[Asked], Verdict] = lambda asked: GO
    away: bool = False
    asked: list[str] = field(default_factory=list)
    ended: list[tuple[str, Kind]] = field(default_factory=list)
    told: list[Ended] = field(default_factory=list)
    shown: list[set[str]] = field(default_factory=list)
    exchanges: int = 0

    async def exchange(
        self, asks: Sequence[Asked], ends: Sequence[Ended], mine: Collection[str], *, held: Collection[str] = ()
    ) -> Reply:
        await asyncio.sleep(0)
        if self.away:
            raise RedisAway("Error connecting to redis://:hunter2@10.0.0.1:6379")
        self.exchanges += 1
        self.told += ends
        self.ended += [(end.take.id, end.kind) for end in ends]
        self.shown.append(set(mine))
        verdicts = []
        for ask in asks:
            verdicts.append(self.says(ask))
            if verdicts[-1].answer == "go":
                self.asked.append(ask.take.id)
            elif verdicts[-1].answer != "spent":
                break
        return Reply(now=T0 + time.monotonic(), pace=100.0, members=2, verdicts=verdicts)


def desk_of(played: Played, *, longest_full_s: float = 300.0) -> Desk:
    return Desk(
        name="judge",
        exchange=played.exchange,
        rules=Rules(),
        longest_full_s=longest_full_s,
        uniform=lambda low, high: low,
    )


def run(story: Callable[[], object]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))  # type: ignore[arg-type]


def test_many_takes_share_few_exchanges_and_come_in_their_order():
    async def story() -> None:
        played = Played()
        desk = desk_of(played)
        await asyncio.gather(*(desk.acquire(take(f"t{i}")) for i in range(100)))
        assert played.asked == [f"t{i}" for i in range(100)]
        assert played.exchanges <= 8
        await desk.close()

    run(story)


def test_what_ends_is_told_once_with_how_it_ended():
    async def story() -> None:
        played = Played()
        desk = desk_of(played)
        await desk.acquire(take("a"))
        for _ in range(2):
            desk.end(Ended(take=take("a"), kind=Kind.LIMITED))
        desk.end(Ended(take=take("never taken"), kind=Kind.OK))
        await desk.close()
        assert played.ended == [("a", Kind.LIMITED)]

    run(story)


def test_a_retry_stands_first_in_line():
    async def story() -> None:
        held = {"full": True}
        played = Played(says=lambda ask: Verdict(answer="full", seconds=0) if held["full"] else GO)
        desk = desk_of(played)
        waiting = [asyncio.create_task(desk.acquire(take(name, retry=name == "again"))) for name in ("a", "b", "again")]
        await asyncio.sleep(0.05)
        held["full"] = False
        await asyncio.gather(*waiting)
        assert played.asked == ["again", "a", "b"]
        await desk.close()

    run(story)


def test_who_stands_in_line_is_asked_for_with_the_limits_of_now():
    """They may be changed while it waits; what it is granted under is what its tokens are given back under."""

    async def story() -> None:
        now = {"take": take("a", concurrency=1, rpm=60)}
        played = Played(says=lambda ask: GO if ask.take.concurrency == 4 else Verdict(answer="full", seconds=0))
        desk = desk_of(played)
        waiter = asyncio.create_task(desk.acquire(replace(now["take"], latest=lambda: now["take"])))
        await asyncio.sleep(0.05)
        assert not waiter.done()
        now["take"] = take("a", concurrency=4, rpm=600)
        await waiter
        desk.end(Ended(take=take("a", concurrency=1, rpm=60), kind=Kind.OK))
        await desk.close()
        assert [end.take.requests_per_minute for end in played.told] == [600]

    run(story)


def test_a_slot_that_comes_free_here_is_asked_for_at_once():
    async def story() -> None:
        room = {"free": 1}

        def says(ask: Asked) -> Verdict:
            room["free"] -= 1
            return GO if room["free"] >= 0 else Verdict(answer="full", seconds=0)

        played = Played(says=says)
        desk = desk_of(played)
        await desk.acquire(take("a"))
        second = asyncio.create_task(desk.acquire(take("b")))
        await asyncio.sleep(0.01)
        assert not second.done()
        room["free"] = 1
        desk.end(Ended(take=take("a"), kind=Kind.OK))
        await second
        await desk.close()

    run(story)


@pytest.mark.parametrize(
    ("verdict", "error", "message"),
    [
        (Verdict(answer="away", seconds=9.0), EndpointAway, "endpoint 'judge' is not answering; trying again in 9 s"),
        (Verdict(answer="spent", seconds=8.0), RetriesSpent, "endpoint 'judge' had too many retries lately"),
        (Verdict(answer="pace", seconds=90.0), LimitReached, "endpoint 'judge' is at its limit; trying again in 90 s"),
    ],
)
def test_who_would_wait_too_long_goes_back_to_the_queue_and_is_told_when_to_come(
    verdict: Verdict, error: type[NoLeave], message: str
):
    async def story() -> None:
        desk = desk_of(Played(says=lambda ask: verdict))
        with pytest.raises(error, match=message) as caught:
            await desk.acquire(take("a"))
        assert caught.value.retry is Retry.FREE and caught.value.retry_after_s is not None
        assert caught.value.retry_after_s >= verdict.seconds / 2
        await desk.close()

    run(story)


def test_no_slot_for_long_is_too_long_as_well():
    async def story() -> None:
        desk = desk_of(Played(says=lambda ask: Verdict(answer="full", seconds=0)), longest_full_s=0.2)
        with pytest.raises(LimitReached):
            await desk.acquire(take("a"))
        await desk.close()

    run(story)


def test_a_short_absence_is_waited_for():
    async def story() -> None:
        tries = iter([Verdict(answer="away", seconds=0.05), GO])
        desk = desk_of(Played(says=lambda ask: next(tries)))
        await desk.acquire(take("a"))
        await desk.close()

    run(story)


def test_who_is_cancelled_leaves_nothing_behind():
    async def story() -> None:
        played = Played(says=lambda ask: Verdict(answer="go", seconds=60) if ask.take.id == "later" else GO)
        desk = desk_of(played)
        for name in ("later", "in line"):
            waiting = asyncio.create_task(desk.acquire(take(name)))
            if name == "later":
                await asyncio.sleep(0.05)  # it has leave, and waits for its moment
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await desk.acquire(take("next"))
        desk.end(Ended(take=take("next"), kind=Kind.OK))
        await desk.close()
        assert ("later", Kind.UNKNOWN) in played.ended
        assert [name for name, _ in played.ended].count("next") == 1

    run(story)


def test_without_redis_a_few_go_on_and_it_is_said_once_without_the_address():
    async def story() -> None:
        played = Played(away=True)
        desk = desk_of(played)
        with capture_logs() as logs:
            going = [asyncio.create_task(desk.acquire(take(f"t{i}", rpm=60_000))) for i in range(12)]
            await asyncio.sleep(0.2)
            assert sum(task.done() for task in going) == 2  # a quarter of 8
            desk.end(Ended(take=take("t0"), kind=Kind.OK))
            await asyncio.sleep(0.1)
            assert sum(task.done() for task in going) == 3
            played.away = False
            await asyncio.gather(*going)
        assert played.shown[0] == {"t1", "t2"}  # what is in flight is shown before anything is asked for
        assert [log["event"] for log in logs] == ["limiter_alone", "limiter_shared_again"]
        assert "hunter2" not in str(logs) and "10.0.0.1" not in str(logs)
        await desk.close()

    run(story)


def test_one_broken_connection_is_no_absence():
    async def story() -> None:
        played = Played(away=True)

        async def once(*told: object, **more: object) -> Reply:
            try:
                return await played.exchange(*told, **more)  # type: ignore[arg-type]
            finally:
                played.away = False

        desk = Desk(name="judge", exchange=once, rules=Rules())
        with capture_logs() as logs:
            await desk.acquire(take("a"))
        assert logs == []
        await desk.close()

    run(story)


def test_closing_without_redis_does_not_hang():
    async def story() -> None:
        played = Played()
        desk = desk_of(played)
        await desk.acquire(take("a"))
        played.away = True
        desk.end(Ended(take=take("a"), kind=Kind.OK))
        await desk.close()

    run(story)


def test_the_servers_clock_is_learned_from_bounds_and_a_set_clock_is_noticed():
    clock = ServerClock()
    assert clock.ours(1000.0, sent=10.0, received=10.9) == pytest.approx(
        10.9
    )  # nothing is known but that it was not later
    assert clock.ours(1001.0, sent=11.1, received=11.11) == pytest.approx(11.11)
    assert clock.ours(1002.0, sent=12.0, received=12.5) == pytest.approx(12.11)  # this answer lay about
    assert clock.ours(902.5, sent=12.6, received=12.7) == pytest.approx(12.6)  # theirs was set back
    assert clock.ours(903.5, sent=13.6, received=13.65) == pytest.approx(13.6)


def test_alone_is_a_small_share_of_what_is_known_and_never_unlimited():
    alone = Alone()
    assert alone.wait_s(take("a"), now=100.0, in_flight=0) == 0
    assert alone.wait_s(take("b"), now=100.0, in_flight=1) == pytest.approx(1.0)  # a quarter of four a second
    assert alone.wait_s(take("c"), now=200.0, in_flight=2) is None
    alone.learn(members=50, pace=1000.0)
    assert alone.wait_s(take("d"), now=300.0, in_flight=0) == 0
    assert alone.wait_s(take("e"), now=300.0, in_flight=0) == pytest.approx(50 / 4)
    configured = Alone(sharers=10)
    assert configured.wait_s(take("f", rpm=600, concurrency=100), now=0.0, in_flight=9) == 0
    assert configured.wait_s(take("g", rpm=600, concurrency=100), now=0.0, in_flight=9) == pytest.approx(1.0)
    assert configured.wait_s(take("h", concurrency=1), now=9.0, in_flight=1) is None


@pytest.mark.parametrize(
    ("failure", "answered", "kind", "tokens"),
    [
        (None, 80, Kind.OK, 80),
        (None, None, Kind.UNKNOWN, None),  # cancelled: nobody knows
        (RateLimited("429", retry_after_s=3), None, Kind.LIMITED, 0),
        (ServerFault("500"), None, Kind.FAILED, None),
        (TimedOut("late"), None, Kind.FAILED, None),
        (ConnectionFailed("refused"), None, Kind.FAILED, 0),
        (CallRefused("400"), None, Kind.ALIVE, 0),
        (Unauthorized("401"), None, Kind.ALIVE, 0),
        (LedgerAway("database"), None, Kind.UNKNOWN, 0),  # nothing was asked, so it says nothing about the endpoint
        (BudgetSpent("cap"), None, Kind.UNKNOWN, 0),
        (Withdrawn("paused"), None, Kind.UNKNOWN, 0),
    ],
)
def test_what_an_attempt_says_about_its_endpoint(
    failure: ModelError | None, answered: int | None, kind: Kind, tokens: int | None
):
    told = ended(take("a"), failure, answered=answered)
    assert (told.kind, told.tokens) == (kind, tokens)
    assert told.retry_after_s == (3 if kind is Kind.LIMITED else None)


def test_an_endpoint_is_known_by_address_and_model_and_not_by_its_key():
    here = Address(base_url="https://models.example/v1", api_key="one")
    assert identity_of(here, "m") == identity_of(Address(base_url=here.base_url, api_key="two"), "m")
    assert identity_of(here, "m") != identity_of(here, "n")
    assert identity_of(here, "m") != identity_of(Address(base_url="https://other.example/v1"), "m")


def test_an_endpoint_without_an_address_is_said_to_have_none():
    async def story() -> None:
        limiter = RedisLimiter("redis://:hunter2@127.0.0.1:1/0", {})
        with pytest.raises(ServiceError, match="endpoint 'judge' has no address"):
            await limiter.acquire(take("a"))
        await limiter.close()

    run(story)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:hunter2@cache.example:7000/3", {"host": "cache.example", "port": 7000, "db": 3}),
        ("redis+socket:///run/valkey.sock?virtual_host=2", {"path": "/run/valkey.sock", "db": 2}),
        ("rediss://bob:hunter2@cache.example/0", {"host": "cache.example", "port": 6379, "username": "bob"}),
    ],
)
def test_the_brokers_address_serves_in_all_its_forms_and_shows_no_password(url: str, expected: dict[str, object]):
    client = connect(url)
    kwargs = client.connection_pool.connection_kwargs
    assert {name: kwargs[name] for name in expected} == expected
    assert "hunter2" not in repr(client)


def test_a_wrong_address_of_the_broker_is_a_matter_of_configuration():
    with pytest.raises(ConfigError):
        connect("amqp://cache.example")
