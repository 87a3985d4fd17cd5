"""The figures of a comparison of pools. Pure: the same outcomes give the same figures, to the last digit.

A round is the unit: shares and costs are ratios of sums over rounds, and the intervals resample rounds. Batches are the
unit of diversity.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean
from typing import Literal

import numpy as np

from db.records import BatchRow
from orchestrator.compare.bootstrap import Estimate, Table, estimate, middle, resampled
from orchestrator.compare.pools.outcome import PoolOutcome, RoundOutcome
from orchestrator.generation.stages import Basis, Counts, Row, Spend, Stage, table, together

PREFERRED_BASELINE = "self-instruct"
Passed = Literal["after_heuristics", "after_gate", "with_instance"]
Unit = Literal["calls", "tokens", "nusd"]
PASSED: tuple[Passed, ...] = ("after_heuristics", "after_gate", "with_instance")
UNITS: tuple[Unit, ...] = ("calls", "tokens", "nusd")
BASES: Mapping[Basis, Passed] = {"instance": "with_instance", "gate": "after_gate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one kept instruction took. `over`: by what part that is more than the baseline's, which has none."""

    each: Estimate | None
    over: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Mean cosine distance inside batches, and inside random ones of the same texts; `gain` batch by batch."""

    batches: Estimate
    random: Estimate | None
    gain: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Steps taken; of them those that training marked. Losses are means over the first and last quarter of the rest."""

    steps: int
    marked: int
    first_loss: float | None
    last_loss: float | None
    norm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One arm. A share or a cost is absent where it would be a ratio to nothing, a price where one is not known."""

    arm: str
    run: str
    reason: str | None
    rounds: int
    prompts: int
    lost: int
    guessed: int
    counts: Counts
    shares: Mapping[Passed, Estimate | None]
    costs: Mapping[Basis, Mapping[Unit, Cost]]
    stages: tuple[Row, ...]
    calls: int
    inside: Inside | None
    training: Training | None
    seeds: int
    entered: int
    left: int
    paid: int
    replayed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All arms in the order they were named."""

    standings: tuple[Standing, ...]
    baseline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """What an arm's rounds add up to, by name, and the same over resamples of its rounds."""

    totals: Mapping[str, float | None]
    drawn: Mapping[str, Table] | None
    n: int


def compare(outcomes: Sequence[PoolOutcome]) -> Comparison:
    """The figures of two or more arms."""
    base = baseline_of([outcome.arm for outcome in outcomes])
    # Arms are independent of each other: each has draws of its own.
    sums = {outcome.arm: _sums(outcome.rounds, stream) for stream, outcome in enumerate(outcomes)}
    return Comparison(
        standings=tuple(
            _standing(outcome, sums[outcome.arm], None if outcome.arm == base else sums[base]) for outcome in outcomes
        ),
        baseline=base,
    )


def baseline_of(arms: Sequence[str]) -> str:
    return PREFERRED_BASELINE if PREFERRED_BASELINE in arms else arms[0]


def _sums(rounds: Sequence[RoundOutcome], stream: int) -> _Sums:
    spent = [together(list(one.spent.values())) for one in rounds]
    columns: dict[str, list[float | None]] = {
        "generated": [one.counts.generated for one in rounds],
        **{name: [getattr(one.counts, name) for one in rounds] for name in PASSED},
        **{unit: [getattr(one, unit) for one in spent] for unit in UNITS},
    }
    known = {name: [value for value in column if value is not None] for name, column in columns.items()}
    whole = {name: len(column) == len(rounds) for name, column in known.items()}
    names = [name for name in columns if whole[name]]
    drawn = resampled(np.array([known[name] for name in names], dtype=np.float64).T, stream) if rounds else None
    return _Sums(
        totals={name: float(sum(known[name])) if whole[name] else None for name in columns},
        drawn=None if drawn is None else {name: drawn[:, place] for place, name in enumerate(names)},
        n=len(rounds),
    )


def _standing(outcome: PoolOutcome, mine: _Sums, base: _Sums | None) -> Standing:
    rounds = outcome.rounds
    counts = replace(_counts(rounds), trained=outcome.trained)
    return Standing(
        arm=outcome.arm,
        run=outcome.run,
        reason=outcome.reason,
        rounds=len(rounds),
        prompts=sum(one.prompts for one in rounds),
        lost=sum(one.lost for one in rounds),
        guessed=outcome.guessed,
        counts=counts,
        shares={name: _ratio(mine, name, "generated") for name in PASSED},
        costs={basis: {unit: _cost(mine, base, unit, kept) for unit in UNITS} for basis, kept in BASES.items()},
        stages=table(counts, _spent(rounds)),
        calls=sum(one.calls for one in rounds),
        inside=_inside(outcome.batches),
        training=_training(outcome.batches),
        seeds=outcome.seeds,
        entered=outcome.entered,
        left=outcome.left,
        paid=outcome.paid,
        replayed=outcome.replayed,
        seconds=outcome.seconds,
    )


def _counts(rounds: Sequence[RoundOutcome]) -> Counts:
    return Counts(
        generated=sum(one.counts.generated for one in rounds),
        after_heuristics=sum(one.counts.after_heuristics for one in rounds),
        after_gate=sum(one.counts.after_gate for one in rounds),
        with_instance=sum(one.counts.with_instance for one in rounds),
    )


def _spent(rounds: Sequence[RoundOutcome]) -> Mapping[Stage, Spend]:
    return {stage: together([one.spent[stage] for one in rounds if stage in one.spent]) for stage in Stage}


def _cost(mine: _Sums, base: _Sums | None, unit: Unit, kept: Passed) -> Cost:
    each = _ratio(mine, unit, kept)
    over = None
    if base is not None and each is not None and (theirs := _ratio(base, unit, kept)) and theirs.mean > 0:
        drawn = _both(lambda sums: _drawn(sums, unit, kept), mine, base)
        interval = middle(_over(*drawn) - 1) if drawn else None
        over = Estimate(mean=each.mean / theirs.mean - 1, interval=interval, n=min(mine.n, base.n))
    return Cost(each=each, over=over)


def _both(of: Callable[[_Sums], Table | None], mine: _Sums, base: _Sums) -> tuple[Table, Table] | None:
    one, other = of(mine), of(base)
    return None if one is None or other is None else (one, other)


def _ratio(sums: _Sums, top: str, bottom: str) -> Estimate | None:
    above, below = sums.totals[top], sums.totals[bottom]
    if above is None or not below:
        return None
    drawn = _drawn(sums, top, bottom)
    return Estimate(mean=above / below, interval=None if drawn is None else middle(drawn), n=sums.n)


def _drawn(sums: _Sums, top: str, bottom: str) -> Table | None:
    if sums.drawn is None or top not in sums.drawn or bottom not in sums.drawn:
        return None
    return _over(sums.drawn[top], sums.drawn[bottom])


def _over(above: Table, below: Table) -> Table:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Table = above / below
    return ratio


def _inside(batches: Sequence[BatchRow]) -> Inside | None:
    ours = estimate([one.diversity for one in batches])
    if ours is None:
        return None
    pairs = [(one.diversity, one.diversity_random) for one in batches]
    gains = [None if mine is None or chance is None else mine - chance for mine, chance in pairs]
    return Inside(batches=ours, random=estimate([chance for _, chance in pairs]), gain=estimate(gains))


def _training(batches: Sequence[BatchRow]) -> Training | None:
    steps = [one for one in batches if one.seconds is not None]
    if not steps:
        return None
    good = [one for one in steps if one.reason is None]
    losses, norms = _numbers([one.loss for one in good]), _numbers([one.gradient_norm for one in good])
    quarter = max(1, len(losses) // 4)
    return Training(
        steps=len(steps),
        marked=len(steps) - len(good),
        first_loss=fmean(losses[:quarter]) if losses else None,
        last_loss=fmean(losses[-quarter:]) if losses else None,
        norm=fmean(norms) if norms else None,
    )


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and isfinite(value)]
