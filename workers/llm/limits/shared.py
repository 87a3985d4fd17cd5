"""One endpoint's state in Redis, and the exchanges of this process with it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import Redis

from db.broker import KEY_PREFIX
from workers.llm.address import Address
from workers.llm.limits.rules import Rules
from workers.llm.limits.take import Take

_SCRIPT = (Path(__file__).parent / "shared.lua").read_text(encoding="utf-8")
_PARTS = ("", ":slots", ":takes", ":done", ":queue", ":members")
PREFIX = f"{KEY_PREFIX}limit:"
INDEX = f"{KEY_PREFIX}limits"


class Kind(StrEnum):
    """What became of an attempt: an answer, a 429, no answer, an answer that says no, or nobody knows."""

    OK = "ok"
    LIMITED = "limited"
    FAILED = "failed"
    ALIVE = "alive"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A take that waits, and for how many seconds it has."""

    take: Take
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A take that is over. `tokens` is what it used, None if nobody knows; `retry_after_s` what the endpoint asked."""

    take: Take
    kind: Kind
    tokens: int | None = None
    retry_after_s: float | None = None


Answer = Literal["go", "full", "pace", "away", "spent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`go`: may start in so many seconds. Otherwise why not, and when it is worth asking again (`full`: unknown)."""

    answer: Answer
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Verdicts for the first takes asked for, in their order: those behind one that has to wait have none.

    `now` is the time there, in seconds of its clock; `pace` the requests a second that all share (0 when nobody asked
    yet), `members` how many processes do.
    """

    now: float
    pace: float
    members: int
    verdicts: Sequence[Verdict]


def identity_of(address: Address, model: str) -> str:
    """Equal for all who ask the same model at the same address, whatever they call it; the key plays no part."""
    return sha256(f"{address.base_url}\n{model}".encode()).hexdigest()[:24]


class SharedState:
    """One process's view of one endpoint's state. Raises redis's errors as they come."""

    def __init__(self, redis: Redis, identity: str, name: str, *, instance: str, rules: Rules) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._keys = [*(f"{PREFIX}{identity}{part}" for part in _PARTS), INDEX]
        self._name = name
        self._instance = instance
        self._rules = rules
        self._born: str | None = None

    async def exchange(
        self,
        asks: Sequence[Asked],
        ends: Sequence[Ended],
        mine: Collection[str],
        *,
        held: Collection[str] = (),
        now: float | None = None,
    ) -> Reply:
        """Tells what ended, renews the slots of `mine`, asks for more. May be repeated with the same takes.

        `held` are all takes in flight: after the state was wiped they are shown again. `now` is for tests.
        """
        raw = await self._tell(asks, ends, mine, now)
        if raw[1] == "reborn":
            self._born = raw[0]
            raw = await self._tell(asks, ends, held, now)
        self._born = raw[0]
        return _reply(raw)

    async def _tell(
        self, asks: Sequence[Asked], ends: Sequence[Ended], mine: Collection[str], now: float | None
    ) -> list[str]:
        told: dict[str, Any] = {
            "instance": self._instance,
            "endpoint": json.dumps([self._keys[0].removeprefix(PREFIX), self._name]),
            "asks": [_asked(ask) for ask in asks],
            "ends": [_ended(end) for end in ends],
            "mine": list(mine),
        }
        if self._born is not None:
            told["born"] = self._born
        if now is not None:
            told["now"] = now
        raw: list[str] = await self._script(keys=self._keys, args=[self._rules.as_json, json.dumps(told)])
        return raw


def _asked(ask: Asked) -> list[object]:
    take = ask.take
    per_s = (take.requests_per_minute or 0) / 60
    tokens_per_s = (take.tokens_per_minute or 0) / 60
    return [take.id, _tokens_s(take, take.tokens), take.retry, take.concurrency, per_s, ask.waited_s, tokens_per_s]


def _ended(end: Ended) -> list[object]:
    refund_s = 0.0 if end.tokens is None else _tokens_s(end.take, end.take.tokens - end.tokens)
    return [end.take.id, end.kind, -1 if end.retry_after_s is None else end.retry_after_s, refund_s]


def _tokens_s(take: Take, tokens: int) -> float:
    """How long these tokens take at the limit of this take's endpoint."""
    return tokens * 60 / take.tokens_per_minute if take.tokens_per_minute else 0.0


def _reply(raw: Sequence[str]) -> Reply:
    pairs = zip(raw[5::2], raw[6::2], strict=True)
    verdicts = tuple(Verdict(answer=answer, seconds=float(seconds)) for answer, seconds in pairs)  # type: ignore[arg-type]  # the script's words
    return Reply(now=float(raw[2]), pace=float(raw[3]), members=int(raw[4]), verdicts=verdicts)
