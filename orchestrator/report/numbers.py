"""Small statistics over scores that may be absent."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log10

import numpy as np

from orchestrator.report.model import Interval, Stats

_RESAMPLES = 1000
_FEWEST_TREES = 5


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are there and are numbers."""
    return [value for value in values if value is not None and isfinite(value)]


def describe(values: Iterable[float | None]) -> Stats:
    """Mean, spread and median of what is there; absent and non-finite values are counted as missing."""
    given = list(values)
    sample = finite(given)
    missing = len(given) - len(sample)
    if not sample:
        return Stats(n=0, missing=missing, mean=None, sd=None, median=None)
    array = np.asarray(sample, dtype=np.float64)
    return Stats(
        n=len(sample),
        missing=missing,
        mean=float(array.mean()),
        sd=float(array.std(ddof=1)) if len(sample) > 1 else None,
        median=float(np.median(array)),
    )


def difference(after: float | None, before: float | None) -> float | None:
    """`after - before`, absent if either is."""
    return None if after is None or before is None else after - before


def nice_step(span: float, most: int) -> float:
    """The smallest 1, 2 or 5 times a power of ten that cuts `span` into at most `most` parts."""
    raw = span / most
    power = 10.0 ** floor(log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw * (1 - 1e-9))


def edges(values: Sequence[float], *, most: int) -> tuple[float, ...]:
    """Bin edges at round numbers around all values; for whole numbers in a small range, one bin for each."""
    if not values:
        return ()
    low, high = min(values), max(values)
    if all(value == round(value) for value in values) and high - low < most:
        return tuple(low - 0.5 + i for i in range(int(high - low) + 2))
    if high - low <= 1e-9 * max(1.0, abs(low)):
        return (low - 0.5, low + 0.5)
    step = nice_step(high - low, most)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return tuple(round(i * step, 12) for i in range(first, max(last, first + 1) + 1))


def count_in(values: Sequence[float], bins: Sequence[float]) -> list[int]:
    """How many values fall between each two neighbouring edges; the last bin is closed."""
    if len(bins) < 2:
        return []
    inside = np.clip(np.asarray(values, dtype=np.float64), bins[0], bins[-1])
    return [int(count) for count in np.histogram(inside, bins=np.asarray(bins))[0]]


def interval_of_difference(trees: Sequence[tuple[float | None, Sequence[float]]]) -> Interval | None:
    """A 95 % bootstrap interval of (mean of all harvested rewards - mean of all seed rewards), trees resampled whole.

    Nodes of one tree resemble each other, so the tree is the unit. `trees` holds each seed's reward and the rewards
    harvested from it. None below five trees that have both.
    """
    if sum(1 for seed, harvest in trees if seed is not None and harvest) < _FEWEST_TREES:
        return None
    table = np.asarray([(seed or 0.0, float(seed is not None), sum(harvest), len(harvest)) for seed, harvest in trees])
    rng = np.random.default_rng(0)
    found: list[float] = []
    for _ in range(_RESAMPLES):
        seed_sum, seeds, harvest_sum, harvested = table[rng.integers(len(table), size=len(table))].sum(axis=0)
        if seeds and harvested:
            found.append(float(harvest_sum / harvested - seed_sum / seeds))
    low, high = np.percentile(found, (2.5, 97.5))
    return Interval(low=float(low), high=float(high))
