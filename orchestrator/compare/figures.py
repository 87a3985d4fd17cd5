"""The figures of a comparison. Pure: the same outcomes give the same figures, to the last digit.

The seed is the unit: a recipe's figure is a mean over seeds, and the intervals are a bootstrap over seeds. They say how
far another sample of seeds might move a figure, not how far another run on these seeds might.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.compare.bootstrap import Estimate, estimate
from orchestrator.compare.outcome import BENCHES, Marks, Outcome, TreeOutcome
from workers.config import Bench

PREFERRED_BASELINE = "random"
_USED = (5, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """How far a recipe is above the baseline, seed by seed; `share` is the same as a part of the range in use."""

    over: Estimate
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFigures:
    """One recipe on one seed: the mean rewards of its harvest, or of the seed itself where there is none."""

    values: Mapping[Bench, float | None]
    harvested: int
    unjudged: int
    calls: int
    scored: int
    rejected: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One recipe. Without a value on any seed it has no mean. The baseline has no lead."""

    recipe: str
    run: str
    reason: str | None
    seeds: tuple[SeedFigures, ...]
    means: Mapping[Bench, Estimate | None]
    leads: Mapping[Bench, Lead | None]
    calls: int
    scored: int
    rejected: int
    lost: int
    paid: int
    replayed: int
    seconds: float
    calls_per_s: float | None

    def shorter(self, top: int) -> int:
        """How many seeds gave some nodes, but fewer than asked for."""
        return sum(0 < seed.harvested < top for seed in self.seeds)

    @property
    def bare(self) -> int:
        """How many seeds gave nothing, so that the seed itself counts."""
        return sum(not seed.harvested for seed in self.seeds)

    @property
    def unjudged(self) -> int:
        """How many harvested nodes the held-out judge could not score."""
        return sum(seed.unjudged for seed in self.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All recipes in the order they were named; the seeds' own mean rewards; each judge's range in use."""

    standings: tuple[Standing, ...]
    baseline: str
    roots: Mapping[Bench, Estimate | None]
    used: Mapping[Bench, tuple[float, float] | None]

    def ranked(self) -> list[Standing]:
        """Best first, by the judge that no search saw; what it did not judge comes last."""
        return sorted(self.standings, key=lambda one: (-_mean(one, "held_out"), -_mean(one, "search")))


def _mean(standing: Standing, bench: Bench) -> float:
    found = standing.means[bench]
    return found.mean if found else float("-inf")


def compare(outcomes: Sequence[Outcome]) -> Comparison:
    """The figures of two or more recipes, grown from the same seeds in the same order."""
    roots = _roots(outcomes)
    seeds = [_of_seeds(outcome, roots) for outcome in outcomes]
    names = [outcome.recipe for outcome in outcomes]
    baseline = names.index(PREFERRED_BASELINE) if PREFERRED_BASELINE in names else len(names) - 1
    used = {bench: used_range([value for outcome in outcomes for value in outcome.rewards[bench]]) for bench in BENCHES}
    return Comparison(
        standings=tuple(
            _standing(outcome, mine, None if i == baseline else seeds[baseline], used)
            for i, (outcome, mine) in enumerate(zip(outcomes, seeds, strict=True))
        ),
        baseline=names[baseline],
        roots={bench: estimate([root.by(bench) for root in roots]) for bench in BENCHES},
        used=used,
    )


def _roots(outcomes: Sequence[Outcome]) -> list[Marks]:
    """The seeds' own rewards, from the first recipe that has them: they are the same seeds before the same judges."""
    return [
        Marks(
            search=_first(tree.root.search for tree in trees),
            held_out=_first(tree.root.held_out for tree in trees),
        )
        for trees in zip(*(outcome.trees for outcome in outcomes), strict=True)
    ]


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _of_seeds(outcome: Outcome, roots: Sequence[Marks]) -> tuple[SeedFigures, ...]:
    return tuple(_of_seed(tree, root) for tree, root in zip(outcome.trees, roots, strict=True))


def _of_seed(tree: TreeOutcome, root: Marks) -> SeedFigures:
    counted = tree.harvest or (root,)
    given = {bench: [value for marks in counted if (value := marks.by(bench)) is not None] for bench in BENCHES}
    return SeedFigures(
        values={bench: float(np.mean(values)) if values else None for bench, values in given.items()},
        harvested=len(tree.harvest),
        unjudged=sum(marks.held_out is None for marks in tree.harvest),
        calls=tree.calls,
        scored=tree.scored,
        rejected=tree.rejected,
        lost=tree.lost,
    )


def _standing(
    outcome: Outcome,
    seeds: tuple[SeedFigures, ...],
    baseline: tuple[SeedFigures, ...] | None,
    used: Mapping[Bench, tuple[float, float] | None],
) -> Standing:
    return Standing(
        recipe=outcome.recipe,
        run=outcome.run,
        reason=outcome.reason,
        seeds=seeds,
        means={bench: estimate([seed.values[bench] for seed in seeds]) for bench in BENCHES},
        leads={bench: _lead(seeds, baseline, bench, used[bench]) if baseline else None for bench in BENCHES},
        calls=sum(seed.calls for seed in seeds),
        scored=sum(seed.scored for seed in seeds),
        rejected=sum(seed.rejected for seed in seeds),
        lost=sum(seed.lost for seed in seeds),
        paid=outcome.paid,
        replayed=outcome.replayed,
        seconds=outcome.seconds,
        calls_per_s=outcome.paid / outcome.seconds if outcome.seconds > 0 else None,
    )


def _lead(
    seeds: Sequence[SeedFigures], baseline: Sequence[SeedFigures], bench: Bench, used: tuple[float, float] | None
) -> Lead | None:
    pairs = [(mine.values[bench], other.values[bench]) for mine, other in zip(seeds, baseline, strict=True)]
    over = estimate([None if mine is None or other is None else mine - other for mine, other in pairs])
    if over is None:
        return None
    span = used[1] - used[0] if used else 0.0
    return Lead(over=over, share=over.mean / span if span > 0 else None)


def used_range(rewards: Sequence[float]) -> tuple[float, float] | None:
    """The 5th and the 95th percentile: the part of its scale that a judge really uses. None without a reward."""
    if not rewards:
        return None
    low, high = np.percentile(np.asarray(rewards, dtype=np.float64), _USED)
    return float(low), float(high)
