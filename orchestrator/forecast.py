"""What a whole run will come to, told from a small one of the same kind. Pure.

Of trees the seed is the unit: what the sampled ones cost each, times the seeds. Of a pool it is the round: what a kept
text cost, times the texts that are wanted. Intervals resample the units (`orchestrator.compare.bootstrap`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from db.records import Caps
from db.tree_costs import TreeCost
from orchestrator.compare.bootstrap import Estimate, estimate
from orchestrator.compare.pools.figures import Standing
from orchestrator.generation.stages import Stage
from workers.config import NUSD_PER_USD

_CALLING = (Stage.GENERATE, Stage.INSTANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Calls, tokens, billionths of a dollar (None: a price is not known), rows; `call_s`: seconds of all calls."""

    calls: Estimate
    tokens: Estimate
    nusd: Estimate | None
    call_s: Estimate
    rows: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run has to work with.

    slots: of all workers. concurrency: of all its endpoints. per_minute: requests, None without a limit. busy: calls
    under way in the small run on average, None where most were replayed.
    """

    slots: int
    concurrency: int
    per_minute: float | None
    busy: float | None


def of_trees(costs: Sequence[TreeCost], seeds: int, most_rows: int) -> Forecast | None:
    """For so many seeds and a harvest of at most so many rows; None without a tree."""
    calls, tokens = estimate([one.calls for one in costs]), estimate([one.tokens for one in costs])
    call_s, rows = estimate([one.seconds for one in costs]), estimate([one.rows for one in costs])
    if calls is None or tokens is None or call_s is None or rows is None:
        return None
    priced = [one.nusd for one in costs if one.nusd is not None]
    nusd = estimate(priced) if len(priced) == len(costs) else None
    return Forecast(
        calls=times(calls, seeds),
        tokens=times(tokens, seeds),
        nusd=nusd and times(nusd, seeds),
        call_s=times(call_s, seeds),
        rows=_at_most(times(rows, seeds), most_rows),
    )


def of_pool(standing: Standing, target: int) -> Forecast | None:
    """For so many kept texts; None where none was kept."""
    costs = standing.costs["gate"]
    calls, tokens, nusd = costs["calls"].each, costs["tokens"].each, costs["nusd"].each
    share = standing.shares["with_instance"]
    kept = standing.counts.after_gate
    if calls is None or tokens is None or share is None or not kept:
        return None
    waited_s = sum(row.spend.seconds for row in standing.stages if row.stage in _CALLING) / kept
    return Forecast(
        calls=times(calls, target),
        tokens=times(tokens, target),
        nusd=nusd and times(nusd, target),
        call_s=times(calls, target * waited_s / calls.mean),
        rows=_at_most(times(share, target * standing.counts.generated / kept), target),
    )


def hours_of(found: Forecast, means: Means) -> tuple[float | None, float | None]:
    """From all slots busy all the time to no more calls under way than in the small run. None: that is not known."""
    at_most = max(min(means.slots, means.concurrency), means.busy or 0.0)
    low_s = _ends(found.call_s)[0] / at_most if at_most else None
    if low_s is not None and means.per_minute:
        low_s = max(low_s, 60 * _ends(found.calls)[0] / means.per_minute)
    high_s = _ends(found.call_s)[1] / means.busy if means.busy else None
    return _hours(low_s), _hours(high_s)


def reached(found: Forecast, hours: tuple[float | None, float | None], caps: Caps) -> list[str]:
    """A line for each cap that the whole run may not stay below, and the share of it that would be done."""
    nusd = None if caps.nusd is None else caps.nusd / NUSD_PER_USD
    dollars = found.nusd and times(found.nusd, 1 / NUSD_PER_USD)
    ends: dict[str, tuple[float | None, tuple[float, float | None] | None]] = {
        f"--max-calls {caps.calls}": (caps.calls, _ends(found.calls)),
        f"--max-tokens {caps.tokens}": (caps.tokens, _ends(found.tokens)),
        f"--max-usd {nusd}": (nusd, _ends(dollars) if dollars else None),
        "--max-hours": (None if caps.seconds is None else caps.seconds / 3600, (hours[0] or 0.0, hours[1])),
    }
    return [
        f"{option} {_cut(cap, *span)}"
        for option, (cap, span) in ends.items()
        if cap is not None and span is not None and max(span[0], span[1] or 0.0) > cap
    ]


def _cut(cap: float, low: float, high: float | None) -> str:
    """What a cap does to a run that comes to so much, `high` being None where nothing is known of the worst."""
    if high is None:
        return f"ends it early, at best after {cap / low:.0%} of it"
    return f"{'ends' if low > cap else 'may end'} it early, at the worst after {cap / high:.0%} of it"


def times(one: Estimate, factor: float) -> Estimate:
    """So many of them."""
    ends = one.interval and (one.interval[0] * factor, one.interval[1] * factor)
    return replace(one, mean=one.mean * factor, interval=ends)


def _at_most(one: Estimate, most: float) -> Estimate:
    ends = one.interval and (min(one.interval[0], most), min(one.interval[1], most))
    return replace(one, mean=min(one.mean, most), interval=ends)


def _ends(one: Estimate) -> tuple[float, float]:
    return one.interval or (one.mean, one.mean)


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600
