"""Scores before and after, per dimension."""

from collections.abc import Iterable, Sequence

from db.records import NodeRow
from orchestrator.report.model import DIMENSIONS, Bin, Distribution
from orchestrator.report.numbers import count_in, describe, difference, edges, finite

_MOST_BINS = 16
# Fewer nodes than these may be alike by chance.
_ENOUGH = 10


def score(node: NodeRow, dimension: str) -> float | None:
    """One of `DIMENSIONS` of a node."""
    value: float | None = getattr(node, dimension)
    return value


def distributions(seeds: Sequence[NodeRow], harvest: Sequence[NodeRow]) -> tuple[Distribution, ...]:
    """One for each dimension, in the order of `DIMENSIONS`; without any value it has no bins."""
    return tuple(_distribution(dimension, seeds, harvest) for dimension in DIMENSIONS)


def _distribution(dimension: str, seeds: Sequence[NodeRow], harvest: Sequence[NodeRow]) -> Distribution:
    before = [score(node, dimension) for node in seeds]
    after = [score(node, dimension) for node in harvest]
    stats_before, stats_after = describe(before), describe(after)
    return Distribution(
        dimension=dimension,
        seeds=stats_before,
        harvest=stats_after,
        difference=difference(stats_after.mean, stats_before.mean),
        bins=_bins(finite(before), finite(after)),
    )


def _bins(before: Sequence[float], after: Sequence[float]) -> tuple[Bin, ...]:
    bounds = edges([*before, *after], most=_MOST_BINS)
    counts = zip(count_in(before, bounds), count_in(after, bounds), strict=True)
    return tuple(
        Bin(low=low, high=high, seeds=seeds, harvest=harvest)
        for low, high, (seeds, harvest) in zip(bounds, bounds[1:], counts, strict=False)
    )


def flat(nodes: Iterable[NodeRow]) -> tuple[tuple[str, float], ...]:
    """Dimensions in which all nodes have one and the same score, with that score: whoever gave it has not judged."""
    scored = [node for node in nodes if node.reward is not None]
    found = ((name, finite({score(node, name) for node in scored})) for name in DIMENSIONS)
    return tuple((name, values[0]) for name, values in found if len(scored) >= _ENOUGH and len(values) == 1)
