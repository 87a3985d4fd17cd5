"""Trouble that comes at times, not by requests: bursts of 5xx, spells of one status, and outages."""

import time
from collections import Counter
from dataclasses import dataclass

from workers.llm.scripted.answers import chance_of
from workers.llm.scripted.limits import Clock

_BURST = (500, 502, 503, 529)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """In every stretch of `every_s` seconds a window of `for_s`, at a seeded place, in which a share fails with 5xx."""

    every_s: float
    for_s: float
    share: float = 1.0
    seed: int = 0

    def window(self, index: int) -> tuple[float, float]:
        """Beginning and end of the window of one stretch, in seconds from the start of the server."""
        begin = index * self.every_s + chance_of(self.seed, "burst", index).random() * max(self.every_s - self.for_s, 0)
        return begin, begin + self.for_s

    def status(self, elapsed_s: float, body_hash: str, occurrence: int) -> int | None:
        index = int(elapsed_s // self.every_s)
        begin, end = self.window(index)
        chance = chance_of(self.seed, "in burst", index, body_hash, occurrence)
        return chance.choice(_BURST) if begin <= elapsed_s < end and chance.random() < self.share else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """Everything is answered `status` from `from_s` seconds after the start, for `for_s` seconds."""

    status: int
    from_s: float
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Nobody listens and every open connection is aborted, from `from_s` seconds after the start, for `for_s`."""

    from_s: float
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a server is in for. Times count from its start."""

    bursts: Bursts | None = None
    spells: tuple[Spell, ...] = ()
    outages: tuple[Outage, ...] = ()


class Weather:
    """The forecast as it comes true, from the moment this is made."""

    def __init__(self, forecast: Forecast, clock: Clock = time.monotonic) -> None:
        self._forecast = forecast
        self._clock = clock
        self._begun = clock()
        self._tries: Counter[str] = Counter()

    def status(self, body_hash: str) -> int | None:
        """The status with which this request is turned away now, None when it is let through."""
        elapsed_s = self._clock() - self._begun
        for spell in self._forecast.spells:
            if spell.from_s <= elapsed_s < spell.from_s + spell.for_s:
                return spell.status
        if self._forecast.bursts is None:
            return None
        self._tries[body_hash] += 1
        return self._forecast.bursts.status(elapsed_s, body_hash, self._tries[body_hash])
