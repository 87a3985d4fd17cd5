"""What the shared limiter knows, for humans and metrics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis

from workers.llm.limits.fleet import connect
from workers.llm.limits.shared import INDEX, PREFIX

Breaker = Literal["closed", "open", "probing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """The shared state of one endpoint. `name` is what a configuration calls it, with its model.

    `pace` is requests a second (0: nobody asked yet), `learned` says whether 429s have set it; counts are since its
    first use: attempts allowed, retries among them, 429s, and the seconds that all of them waited for leave. `paused_s`
    and `away_s`: how long nobody may ask, because a Retry-After said so or the breaker is open.
    """

    name: str
    breaker: Breaker
    pace: float
    learned: bool
    in_flight: int
    allowed: int
    retried: int
    limited: int
    waited_s: float
    paused_s: float
    away_s: float


async def states_at(url: str) -> list[EndpointState]:
    """The same, asked once of the broker at this address."""
    redis = connect(url)
    try:
        return await endpoint_states(redis)
    finally:
        await redis.aclose()


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
        waited_s=float(fields["waited"]),
        paused_s=max(float(fields["pause"]) - now, 0.0),
        away_s=max(away_s, 0.0),
    )


def _breaker(fields: Mapping[str, str], away_s: float) -> Breaker:
    if not float(fields["opens"]):
        return "closed"
    return "open" if away_s > 0 else "probing"
