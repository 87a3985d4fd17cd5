"""What goes wrong on purpose, decided per request by a seeded plan."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from workers.llm.scripted.answers import chance_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request. `status` is answered instead of an answer; `hang` never answers at all.

    `malformed`: `envelope` sends half of the response's JSON as if it were whole, `text` spoils the JSON that the model
    writes (or else the envelope).
    """

    delay_s: float = 0.0
    status: int | None = None
    hang: bool = False
    malformed: Literal["envelope", "text"] | None = None


class FaultPlan(Protocol):
    """Decides the fate of a request from what it asks and how often that was asked before (0 = first time)."""

    def fate(self, body_hash: str, occurrence: int) -> Fault: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededPlan:
    """Faults by shares of all requests (0..1). The delay is drawn between half and one and a half of `latency_s`."""

    seed: int = 0
    latency_s: float = 0.0
    fail_share: float = 0.0
    hang_share: float = 0.0
    malformed_share: float = 0.0

    def fate(self, body_hash: str, occurrence: int) -> Fault:
        chance = chance_of(self.seed, "fate", body_hash, occurrence)
        delay_s = self.latency_s * (0.5 + chance.random())
        lot = chance.random()
        if lot < self.fail_share:
            return Fault(delay_s=delay_s, status=500)
        if (lot := lot - self.fail_share) < self.hang_share:
            return Fault(delay_s=delay_s, hang=True)
        if lot - self.hang_share < self.malformed_share:
            return Fault(delay_s=delay_s, malformed="envelope" if chance.random() < 0.5 else "text")
        return Fault(delay_s=delay_s)


class Bucket:
    """A token bucket: `rate` requests a second on the long run, `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._held = burst
        self._seen = clock()

    def take(self) -> float:
        """0 when one was taken, else the seconds until there will be one."""
        now = self._clock()
        self._held = min(self._burst, self._held + (now - self._seen) * self._rate)
        self._seen = now
        if self._held >= 1:
            self._held -= 1
            return 0.0
        return (1 - self._held) / self._rate
