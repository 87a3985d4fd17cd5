"""What goes wrong on purpose, decided per request by a seeded plan."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol, TypeVar

from workers.llm.scripted.answers import chance_of
from workers.llm.scripted.hostile import ENVELOPES, USAGES
from workers.llm.scripted.injections import INJECTIONS

Delivery = Literal["dropped", "dropped_paid", "half", "drip"]
Saying = Literal["cut", "filtered", "refused", "declined", "empty"]
T = TypeVar("T")
# The normal distribution's 99th percentile, in standard deviations.
_Z99 = 2.3263478740408408


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request; by default nothing. Times are seconds.

    The answer comes after `delay_s` and `token_s` for each of its tokens. `status` is answered instead of an answer;
    `hang` never answers at all.

    `malformed`: `envelope` sends half of the response's JSON as if it were whole, `text` spoils the JSON that the model
    writes (other text is left alone).

    `delivery`: `dropped` aborts the connection before the work is done, `dropped_paid` after it and before the first
    byte, `half` in the middle of the body; `drip` sends the body in small pieces over `drip_s`.

    `hostile` and `usage` name one of `hostile.ENVELOPES` and `hostile.USAGES`, `injection` one of
    `injections.INJECTIONS`, added to what the model writes. `saying` is a whole answer that is none: `cut` off at half
    of its room (whole when the same is asked again with more room), `filtered`, `refused` (in the field for that),
    `declined` (in words) or `empty`.
    """

    delay_s: float = 0.0
    token_s: float = 0.0
    status: int | None = None
    hang: bool = False
    malformed: Literal["envelope", "text"] | None = None
    delivery: Delivery | None = None
    drip_s: float = 0.0
    hostile: str | None = None
    usage: str | None = None
    saying: Saying | None = None
    injection: str | None = None


class FaultPlan(Protocol):
    """Decides the fate of a request from what it asks and how often that was asked before (0 = first time)."""

    def fate(self, body_hash: str, occurrence: int) -> Fault: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededPlan:
    """Faults by shares of all requests (0..1). Times are seconds.

    One request has at most one fault of those in `together()`; wrong usage numbers and injections come on top of any.
    The delay is drawn between half and one and a half of `latency_s`; with `latency_p99_s` it is lognormal around the
    median `latency_s`; with `fixed` it is always `latency_s`.
    """

    seed: int = 0
    latency_s: float = 0.0
    latency_p99_s: float | None = None
    fixed: bool = False
    token_s: float = 0.0
    fail_share: float = 0.0
    hang_share: float = 0.0
    malformed_share: float = 0.0
    status_shares: Mapping[int, float] = field(default_factory=dict)
    drop_share: float = 0.0
    drop_paid_share: float = 0.0
    half_share: float = 0.0
    drip_share: float = 0.0
    drip_s: float = 5.0
    hostile_share: float = 0.0
    cut_share: float = 0.0
    filter_share: float = 0.0
    refusal_share: float = 0.0
    empty_share: float = 0.0
    wrong_usage_share: float = 0.0
    injection_share: float = 0.0

    def together(self) -> float:
        """The sum of the shares that exclude each other; more than 1 makes no sense."""
        return sum(share for share, _ in self._exclusive())

    def fate(self, body_hash: str, occurrence: int) -> Fault:
        chance = chance_of(self.seed, "fate", body_hash, occurrence)
        delay_s = self._delay_s(chance)
        lot = chance.random()
        changes: dict[str, object] = {}
        for share, change in self._exclusive():
            if lot < share:
                changes = {name: _drawn(value, chance) for name, value in change.items()}
                break
            lot -= share
        usage = self._by_itself("usage", self.wrong_usage_share, tuple(USAGES), body_hash, occurrence)
        injection = self._by_itself("injection", self.injection_share, INJECTIONS, body_hash, occurrence)
        return Fault(
            delay_s=delay_s,
            token_s=self.token_s,
            usage=usage,
            injection=injection,
            **changes,  # type: ignore[arg-type]
        )

    def _exclusive(self) -> list[tuple[float, Mapping[str, object]]]:
        """Shares and what they do to a fault. A tuple stands for one of its values."""
        listed: list[tuple[float, Mapping[str, object]]] = [
            (self.fail_share, {"status": 500}),
            (self.hang_share, {"hang": True}),
            (self.malformed_share, {"malformed": ("text", "envelope")}),
            *((share, {"status": status}) for status, share in self.status_shares.items()),
            (self.drop_share, {"delivery": "dropped"}),
            (self.drop_paid_share, {"delivery": "dropped_paid"}),
            (self.half_share, {"delivery": "half"}),
            (self.drip_share, {"delivery": "drip", "drip_s": self.drip_s}),
            (self.hostile_share, {"hostile": tuple(ENVELOPES)}),
            (self.cut_share, {"saying": "cut"}),
            (self.filter_share, {"saying": "filtered"}),
            (self.refusal_share, {"saying": ("refused", "declined")}),
            (self.empty_share, {"saying": "empty"}),
        ]
        return [(share, change) for share, change in listed if share]

    def _delay_s(self, chance: Random) -> float:
        uniform = chance.random()
        if self.fixed:
            return self.latency_s
        if self.latency_p99_s is None:
            return self.latency_s * (0.5 + uniform)
        sigma = math.log(self.latency_p99_s / self.latency_s) / _Z99
        return self.latency_s * math.exp(chance.gauss(0, sigma))

    def _by_itself(self, kind: str, share: float, items: tuple[T, ...], *place: object) -> T | None:
        """A lot of its own, so that changing one share leaves all other fates as they were."""
        if not share:
            return None
        chance = chance_of(self.seed, kind, *place)
        return chance.choice(items) if chance.random() < share else None


def _drawn(value: object, chance: Random) -> object:
    return chance.choice(value) if isinstance(value, tuple) else value
