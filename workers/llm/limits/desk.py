"""One process's desk for one endpoint: its takes stand in line here, and one clerk asks Redis for all of them.

Whatever gathered while the last exchange was on its way goes with the next one, so an idle process asks at once and a
busy one carries many takes at a time; nobody polls but the clerk, and he is told when it is worth while.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from workers.llm.errors import EndpointAway, LimitReached, NoLeave, RetriesSpent
from workers.llm.limits.alone import Alone
from workers.llm.limits.clock import ServerClock
from workers.llm.limits.rules import Rules
from workers.llm.limits.shared import Asked, Ended, Kind, Reply, Verdict
from workers.llm.limits.take import Take

log = structlog.get_logger()

_MOST_ASKED = 32
# Where all slots were taken: as many as came free, and a few that others may have left.
_A_FEW = 4
_MOST_ENDED = 1000
# What is kept to be told when Redis is back. More says nothing new.
_MOST_UNTOLD = 10_000
# A limit is waited for as long as the gateway waits for anything. Leaving the slot after 2 s took as long, but of 128
# calls at a time behind 20 a second, 652 rounds by the queue came on 400 answers (benchmarks/limiter.py), and each is a
# claim, a give-back and a hint. Who waits here holds nothing but a slot of the worker.
LONGEST_WAIT_S = 30.0
# A slot comes free when somebody's answer does: a slow model with few slots has long lines, and is no reason to go.
LONGEST_FULL_S = 300.0
# An endpoint that does not answer has nothing to wait for: its tasks make room for others.
LONGEST_AWAY_S = 2.0
_LOOK_S = 1.0
_SLOTS_LOOK_S = (0.01, 0.25)
_CLOSING_S = 3.0
_FINE_S = 0.0015


class Exchange(Protocol):
    """`SharedState.exchange`."""

    async def __call__(
        self, asks: Sequence[Asked], ends: Sequence[Ended], mine: Collection[str], *, held: Collection[str] = ()
    ) -> Reply: ...


@dataclass(slots=True, eq=False)
class _Waiter:
    take: Take
    since: float
    go_at: "asyncio.Future[float]"
    blocked_since: float | None = None


@dataclass(slots=True)
class _Held:
    take: Take
    since: float


@dataclass(slots=True)
class _Times:
    """When what is due, by the clock of this process. `ask`: the next moment when asking may help.

    `call_s`: how long calls take. `paced`, `full`: whether the last answer was to wait for the pace, or for a slot.
    """

    ask: float = 0.0
    renew: float = float("inf")
    back: float = float("inf")
    call_s: float = 1.0
    paced: bool = False
    full: bool = False


@dataclass(slots=True, kw_only=True)
class Desk:
    """Belongs to one event loop. `name` is the endpoint's, for messages."""

    name: str
    exchange: Exchange
    rules: Rules
    longest_wait_s: float = LONGEST_WAIT_S
    longest_full_s: float = LONGEST_FULL_S
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    _line: deque[_Waiter] = field(init=False, default_factory=deque)
    _ends: deque[Ended] = field(init=False, default_factory=deque)
    _held: dict[str, _Held] = field(init=False, default_factory=dict)
    _used: dict[str, int] = field(init=False, default_factory=dict)
    _wake: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _times: _Times = field(init=False, default_factory=_Times)
    _server: ServerClock = field(init=False, default_factory=ServerClock)
    _alone: Alone | None = field(init=False, default=None)
    _known: Alone = field(init=False, default_factory=Alone)
    _clerk: "asyncio.Task[None] | None" = field(init=False, default=None)
    _closing: bool = field(init=False, default=False)

    async def acquire(self, take: Take) -> None:
        """Raises NoLeave."""
        waiter = _Waiter(take, self.clock(), asyncio.get_running_loop().create_future())
        # Whoever has been asked for already is finished first.
        (self._line.appendleft if take.retry else self._line.append)(waiter)
        self._call_clerk()
        try:
            go_at = await waiter.go_at
            await self._until(go_at)
        except BaseException:
            self._leave(waiter)
            raise

    async def _until(self, go_at: float) -> None:
        """Event loops wake up to a millisecond late, which an endpoint without any burst answers with 429; so the last
        moment is spent looking at the clock, between whatever else there is to do."""
        while (left_s := go_at - self.clock()) > 0:
            await asyncio.sleep(left_s - _FINE_S if left_s > _FINE_S else 0)

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._line:
            self._line.remove(waiter)
        if waiter.take.id in self._held:
            self.end(Ended(take=waiter.take, kind=Kind.UNKNOWN, tokens=0))

    def settle(self, take: Take, tokens: int) -> None:
        self._used[take.id] = tokens

    def answered(self, take: Take) -> int | None:
        """The tokens that it was settled with; None without an answer."""
        return self._used.get(take.id)

    def end(self, ended: Ended) -> None:
        """Takes note; the clerk tells it. Ending twice is ending once."""
        held = self._held.pop(ended.take.id, None)
        self._used.pop(ended.take.id, None)
        if held is None:
            return
        self._times.call_s += 0.1 * (self.clock() - held.since - self._times.call_s)
        self._ends.append(replace(ended, take=held.take))  # its refund is by the limits it was granted under
        if len(self._ends) > _MOST_UNTOLD:
            self._ends.popleft()
        if not self._times.paced:
            self._times.ask = 0.0  # there is a slot again, or the endpoint lives
        self._call_clerk()

    def _call_clerk(self) -> None:
        self._wake.set()
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._work(), name=f"limits of {self.name}")

    async def _work(self) -> None:
        while not self._closing or self._ends:
            await self._until_due()
            try:
                await self._serve()
            except (RedisError, OSError, TimeoutError) as error:
                if self._closing:
                    return
                self._go_alone(error)
            except Exception as error:  # the clerk's edge: a bug here must not leave waiters for ever
                log.exception("limiter_crashed", endpoint=self.name)
                self._go_alone(error)

    async def _until_due(self) -> None:
        """Waits for news, or for the moment that somebody waits for."""
        due = min(self._times.renew, self._times.back)
        if self._line:
            due = min(due, self._times.ask)
        patience = None if due == float("inf") else max(due - self.clock(), 0)
        try:
            async with asyncio.timeout(patience):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _serve(self) -> None:
        if self._alone is None or self.clock() >= self._times.back:
            await self._ask_all()
        if self._alone is not None:
            self._serve_alone(self._alone)
        self._send_away_the_late()

    async def _ask_all(self) -> None:
        """One exchange. What it carried is struck off when the answer is here, so it can be told again."""
        now = self.clock()
        ends = list(islice(self._ends, _MOST_ENDED))
        renewing = now >= self._times.renew or self._alone is not None
        asking = now >= self._times.ask or self._alone is not None
        most = min(len(ends) + _A_FEW, _MOST_ASKED) if self._times.full else _MOST_ASKED
        line = list(islice(self._line, most)) if asking else []
        if not (ends or renewing or line):
            return
        for waiter in line:
            waiter.take = waiter.take.as_of_now()
        asks = [Asked(take=waiter.take, waited_s=now - waiter.since) for waiter in line]
        mine = list(self._held) if renewing else []
        reply, sent = await self._told_twice(asks, ends, mine)
        then = self._server.ours(reply.now, sent=sent, received=self.clock())
        for _ in ends:
            self._ends.popleft()
        self._back(reply)
        if not (self._held or line):
            self._times.renew = float("inf")
        elif renewing or self._times.renew == float("inf"):  # asking often must not put the renewal off
            self._times.renew = self.clock() + self.rules.lease_s / 3
        self._hear(line, reply.verdicts, then)

    async def _told_twice(
        self, asks: Sequence[Asked], ends: Sequence[Ended], mine: Collection[str]
    ) -> tuple[Reply, float]:
        """The reply, and when it was asked for.

        A connection that a restart has closed is noticed by using it, so the first failure says little.
        """
        sent = self.clock()
        try:
            return await self.exchange(asks, ends, mine, held=self._held.keys()), sent
        except (RedisError, OSError, TimeoutError):
            if self._alone is not None:
                raise
        sent = self.clock()
        return await self.exchange(asks, ends, mine, held=self._held.keys()), sent

    def _hear(self, line: Sequence[_Waiter], verdicts: Sequence[Verdict], then: float) -> None:
        """Verdicts count from the moment they were given."""
        self._times.ask, self._times.paced = 0.0, False
        if line:
            self._times.full = False
        for waiter, verdict in zip(line, verdicts, strict=False):
            if verdict.answer == "go":
                self._let_go(waiter, then + verdict.seconds)
            elif verdict.answer == "spent":
                self._send_away(waiter, RetriesSpent(self.name, self.uniform(0.5, 1.5) * verdict.seconds))
            else:
                self._block(verdict)
        if len(line) < len(self._line) and len(verdicts) == len(line):
            self._wake.set()  # more stood in line than one exchange carries

    def _let_go(self, waiter: _Waiter, go_at: float) -> None:
        if waiter in self._line:
            self._line.remove(waiter)
        self._held[waiter.take.id] = _Held(waiter.take, go_at)
        if waiter.go_at.done():  # it was cancelled while we asked
            self.end(Ended(take=waiter.take, kind=Kind.UNKNOWN, tokens=0))
        else:
            waiter.go_at.set_result(go_at)

    def _block(self, verdict: Verdict) -> None:
        """Nobody in line may go now. Says when to look again, and sends away who would wait too long."""
        now = self.clock()
        if verdict.answer == "full":
            least, most = _SLOTS_LOOK_S
            look_s = min(max(self._times.call_s * 0.1, least), most) * self.uniform(0.5, 1)
        else:
            look_s = min(verdict.seconds, _LOOK_S) + self.uniform(0, self.rules.horizon_s / 2)
        self._times.ask, self._times.paced = now + look_s, verdict.answer == "pace"
        self._times.full = verdict.answer == "full"
        for waiter in list(self._line):
            if verdict.answer != "away":
                waiter.blocked_since = None
                longest_s = self.longest_full_s if verdict.answer == "full" else self.longest_wait_s
                patience_s = longest_s - (now - waiter.since)
            else:
                waiter.blocked_since = waiter.blocked_since or now
                patience_s = LONGEST_AWAY_S - (now - waiter.blocked_since)
            if verdict.seconds > patience_s or patience_s <= 0:
                self._send_away(waiter, self._refusal(verdict))

    def _refusal(self, verdict: Verdict) -> NoLeave:
        if verdict.answer == "away":
            return EndpointAway(self.name, verdict.seconds + self.uniform(0, LONGEST_AWAY_S))
        return LimitReached(self.name, verdict.seconds + self.uniform(0, LONGEST_AWAY_S))

    def _send_away(self, waiter: _Waiter, refusal: NoLeave) -> None:
        if waiter in self._line:
            self._line.remove(waiter)
        if not waiter.go_at.done():
            waiter.go_at.set_exception(refusal)

    def _send_away_the_late(self) -> None:
        since = self.clock() - self.longest_full_s
        for waiter in [waiter for waiter in self._line if waiter.since < since]:
            self._send_away(waiter, LimitReached(self.name, self.uniform(0, LONGEST_AWAY_S)))

    def _go_alone(self, error: BaseException) -> None:
        if self._alone is None:
            # Neither the address nor what the client says of it: either may hold the password.
            log.warning("limiter_alone", endpoint=self.name, cause=type(error).__name__)
            self._alone, self._times.renew = self._known, float("inf")
        self._times.back = self.clock() + self.uniform(0.5, 1.5)
        self._wake.set()

    def _back(self, reply: Reply) -> None:
        self._known.learn(members=reply.members, pace=reply.pace)
        if self._alone is not None:
            log.info("limiter_shared_again", endpoint=self.name)
            self._alone, self._times.back = None, float("inf")

    def _serve_alone(self, alone: Alone) -> None:
        for waiter in self._waiting():
            now = self.clock()
            waiter.take = waiter.take.as_of_now()
            wait_s = alone.wait_s(waiter.take, now=now, in_flight=len(self._held))
            if wait_s != 0:
                self._times.ask = now + min(wait_s or _LOOK_S, _LOOK_S)
                return
            self._let_go(waiter, now)

    def _waiting(self) -> Iterator[_Waiter]:
        while self._line:
            yield self._line[0]

    async def close(self) -> None:
        """Tells what is left to tell, if anybody listens."""
        self._closing = True
        self._wake.set()
        if self._clerk is not None:
            await asyncio.wait([self._clerk], timeout=_CLOSING_S)
            self._clerk.cancel()
