"""The numbers that the shared limiter goes by. Times are seconds, paces are requests a second."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All constants of `shared.lua`. They were chosen with `benchmarks/limiter.py`."""

    # Requests at once within a configured limit: in any window there are never more than the limit's and so many. One,
    # because endpoints differ in what they let through at once, and evenly spaced requests are admitted by all. (One
    # more is sent only in place of one that was answered 429.)
    burst: int = 1
    # Share of a configured limit that is used: two machines' clocks and a busy event loop make spacing uneven.
    headroom: float = 0.98
    # How far ahead places are given. Long enough to ask the server rarely, short enough that a 429 stops nearly all.
    horizon_s: float = 0.025

    # Where nothing is configured: the pace to begin with, and how fast it doubles until so many 429s. The first few may
    # come of connections that are just being made.
    first: float = 8.0
    doubling_s: float = 0.25
    proof: int = 5
    fastest: float = 100_000.0
    slowest: float = 1 / 60
    # A 429 takes the pace down by a step such that `tolerated` of all requests are answered 429 in the long run. Where
    # it was more than `excused_share` lately, the pace goes down to what was admitted, by no more than half at once;
    # but up to `excused` 429s are too few to tell, unless they are `excused_few` of all that there was.
    tolerated: float = 0.025
    tolerated_unknown: float = 0.04
    step_least: float = 0.001
    step_most: float = 0.2
    excused: float = 5.0
    excused_share: float = 0.1
    excused_few: float = 0.35
    doubt: float = 3.0
    lately_s: float = 2.0
    lately_sent: float = 20.0
    cut_first: float = 0.75
    cut_most: float = 0.5
    # Growth a second: this share of the pace that was too fast, ever more once there was no 429 for longer than
    # expected, and this share of the way back to just below it.
    probing: float = 0.01
    expected_s: float = 10.0
    calm_s: float = 1.0
    calm_sent: float = 5.0
    recovering: float = 0.5
    # Nobody asks before a Retry-After is over; but after an hour one look is cheap, and the header may be nonsense.
    longest_pause_s: float = 3600.0

    # Slots of a killed worker come back after this time. The living renew theirs three times as often.
    lease_s: float = 15.0
    # A process that got no slot for so long is kept one; after `gone_s` without a word it is forgotten.
    starving_s: float = 0.3
    gone_s: float = 2.0
    member_s: float = 30.0
    # How long an ended take is known: longer than any command can be on its way twice.
    remember_s: float = 15.0
    keep_s: int = 86_400

    # Consecutive failures that open the breaker, and the times it stays open: 1, 2, 4, 8, 10, 10, ... Ten, because
    # tasks find their way back from the queue in another few seconds, and fifteen is the promise.
    failures: int = 5
    away_first_s: float = 1.0
    away_longest_s: float = 10.0
    # A probe that hangs keeps the next one back for so long.
    probe_s: float = 10.0
    probe_look_s: float = 0.25

    # Retries as a share of calls, both fading with this time constant, and a few that are always allowed.
    retry_share: float = 0.15
    retry_floor: float = 5.0
    budget_s: float = 60.0

    @cached_property
    def as_json(self) -> str:
        return json.dumps(asdict(self))
