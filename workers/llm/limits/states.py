"""What the shared limiter knows, for humans and metrics."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from redis.asyncio import Redis

from workers.llm.limits.fleet import connect
from workers.llm.limits.shared import INDEX, PREFIX

Breaker = Literal["closed", "probing", "open"]
BREAKERS: tuple[Breaker, ...] = get_args(Breaker)  # from good to bad
# One that is wanted is probed far more often than this, however long it is away.
_UNASKED_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """The shared state of one endpoint. `name` is what a configuration calls it, with its model.

    `pace` is requests a second (0: nobody asked yet), `learned` says whether 429s have set it; counts are since its
    first use: attempts allowed, retries among them, 429s, those that failed (5xx, no connection, no whole answer), and
    the seconds that all of them waited for leave. `paused_s` and `away_s`: how long nobody may ask, because a
    Retry-After said so or the breaker is open. `unasked_s`: how long ago it was last asked.
    """

    name: str
    breaker: Breaker
    pace: float
    learned: bool
    in_flight: int
    allowed: int
    retried: int
    limited: int
    failed: int
    waited_s: float
    paused_s: float
    away_s: float
    unasked_s: float

    @property
    def place(self) -> tuple[str, str]:
        """Endpoint and model: its name is `default (model)`."""
        endpoint, _, model = self.name.partition(" (")
        return endpoint, model.removesuffix(")")

    @property
    def is_wanted(self) -> bool:
        return self.in_flight > 0 or self.paused_s > 0 or self.unasked_s < _UNASKED_S


async def states_at(url: str) -> Mapping[tuple[str, str], EndpointState]:
    """By endpoint and model, asked once of the broker at this address. Raises redis's errors as they come."""
    redis = connect(url)
    try:
        return by_place(await endpoint_states(redis))
    finally:
        await redis.aclose()


def by_place(found: Iterable[EndpointState]) -> Mapping[tuple[str, str], EndpointState]:
    """By endpoint and model. One that is asked at several addresses has a state at each, told as one: its sums, and the
    worst breaker of those that are still asked.
    """
    places = defaultdict[tuple[str, str], list[EndpointState]](list)
    for one in found:
        places[one.place].append(one)
    return {place: _as_one(states) for place, states in places.items()}


def _as_one(states: Sequence[EndpointState]) -> EndpointState:
    wanted = [one for one in states if one.is_wanted] or states
    worst = max(wanted, key=lambda one: BREAKERS.index(one.breaker))
    return replace(
        worst,
        pace=sum(one.pace for one in wanted),
        learned=any(one.learned for one in wanted),
        in_flight=sum(one.in_flight for one in states),
        allowed=sum(one.allowed for one in states),
        retried=sum(one.retried for one in states),
        limited=sum(one.limited for one in states),
        failed=sum(one.failed for one in states),
        waited_s=sum(one.waited_s for one in states),
        paused_s=max(one.paused_s for one in states),
        unasked_s=min(one.unasked_s for one in states),
    )


async def endpoint_states(redis: Redis, *, now: float | None = None) -> list[EndpointState]:
    """All endpoints used in the last day, by name. `now` is for tests. Raises redis's errors as they come."""
    if now is None:
        seconds, micros = await redis.time()
        now = float(seconds) + float(micros) / 1e6
    found = []
    for entry in await redis.smembers(INDEX):
        identity, name = json.loads(entry)
        read = await redis.hgetall(f"{PREFIX}{identity}")
        if not read:
            await redis.srem(INDEX, entry)
            continue
        in_flight = await redis.zcount(f"{PREFIX}{identity}:slots", now, "+inf")
        found.append(_state(name, {str(key): str(value) for key, value in read.items()}, in_flight, now))
    return sorted(found, key=lambda state: state.name)


def _state(name: str, fields: Mapping[str, str], in_flight: int, now: float) -> EndpointState:
    away_s = float(fields["away_until"]) - now if float(fields["opens"]) else 0.0
    gap = float(fields["gap"])
    return EndpointState(
        name=name,
        breaker=_breaker(fields, away_s),
        pace=1 / gap if gap else 0.0,
        learned="rate" in fields and float(fields["cut"]) > 0,
        in_flight=in_flight,
        allowed=int(float(fields["granted"])),
        retried=int(float(fields["retried"])),
        limited=int(float(fields["limited"])),
        failed=int(float(fields.get("failed", 0))),  # none in a state of an older version
        waited_s=float(fields["waited"]),
        paused_s=max(float(fields["pause"]) - now, 0.0),
        away_s=max(away_s, 0.0),
        unasked_s=max(now - float(fields["last"]), 0.0),
    )


def _breaker(fields: Mapping[str, str], away_s: float) -> Breaker:
    if not float(fields["opens"]):
        return "closed"
    return "open" if away_s > 0 else "probing"
