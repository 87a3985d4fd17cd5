"""How fast a run goes, and what of its end follows from that alone: its caps, and the range of an estimate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.minutes import Lately
from db.progress import Taken
from db.records import Run

Span = tuple[float | None, float | None]
UNKNOWN: Span = None, None
OVER: Span = 0.0, 0.0
# The ends of the range are estimates themselves.
_SLACK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Of some span of time, a second: nodes or kept texts (`made`), calls, tokens, nano-dollars. `busy`:
    seconds of calls, which is how many were under way on average.
    """

    made: float
    calls: float
    tokens: float
    nusd: float
    busy: float


def pace_of(taken: Taken, made: float, span_s: float) -> Pace:
    """Of calls and things made within so many seconds."""
    return Pace(
        made=made / span_s,
        calls=taken.calls / span_s,
        tokens=taken.tokens / span_s,
        nusd=taken.nusd / span_s,
        busy=taken.seconds / span_s,
    )


def taken_lately(lately: Lately) -> Taken:
    return Taken(calls=lately.calls, seconds=lately.call_s, tokens=lately.tokens, nusd=lately.nusd)


def ranged(ends: Sequence[float | None]) -> Span:
    """From the soonest of these seconds to the latest. None while one of them is not known."""
    known = sorted(seconds for seconds in ends if seconds is not None)
    if len(known) < len(ends):
        return UNKNOWN
    return round((1 - _SLACK) * known[0], 1), round((1 + _SLACK) * known[-1], 1)


def left_of(run: Run) -> dict[str, float]:
    """What the run's caps leave of each unit that has one."""
    caps, spent = run.caps, run.spent
    pairs = {
        "calls": (caps.calls, spent.calls),
        "tokens": (caps.tokens, spent.tokens),
        "nusd": (caps.nusd, spent.nusd),
        "seconds": (caps.seconds, run.driven_s),
    }
    return {unit: cap - used for unit, (cap, used) in pairs.items() if cap is not None}


def caps_s(left: Mapping[str, float], pace: Pace) -> Iterator[float]:
    """Seconds until each cap is reached."""
    speeds = {"calls": pace.calls, "tokens": pace.tokens, "nusd": pace.nusd, "seconds": 1.0}
    for unit, amount in left.items():
        if speeds[unit] > 0:
            yield max(amount, 0.0) / speeds[unit]


def calls_s(work_s: float, each_s: float, pace: Pace, slots: int) -> float | None:
    """Seconds until calls have ended that would take `work_s` one after the other, and `each_s` each. None where none
    are under way.
    """
    at_once = min(pace.busy, slots)
    if not work_s:
        return 0.0
    # Few calls do not keep everybody busy: the last one takes its time.
    return max(work_s / at_once, min(work_s, each_s)) if at_once > 0 else None
