"""Means, sums and ratios with their 95 % bootstrap intervals. Pure: the same sample gives the same interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
# With fewer units an interval would promise more than anybody can know.
FEWEST = 5
# So many draws are in memory at once, however large a sample is.
_DRAWS = 1_000_000

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure from `n` units (seeds, rounds or batches) with its 95 % interval; no interval below `FEWEST`."""

    mean: float
    interval: tuple[float, float] | None
    n: int


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """The mean of the values there are, with its interval; None if there are none."""
    sample = [value for value in values if value is not None]
    if not sample:
        return None
    return Estimate(mean=float(np.mean(sample)), interval=interval(sample), n=len(sample))


def interval(sample: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of a mean; the same draws for every sample of the same size."""
    if len(sample) < FEWEST:
        return None
    data, rng = np.asarray(sample, dtype=np.float64), np.random.default_rng(0)
    means = [data[rng.integers(len(data), size=(size, len(data)))].mean(axis=1) for size in _sizes(len(data))]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)


def resampled(table: Table, stream: int) -> Table | None:
    """The sum of each column over `RESAMPLES` samples of the rows; other draws for every `stream`."""
    count = len(table)
    if count < FEWEST:
        return None
    rng, alike = np.random.default_rng(stream), np.full(count, 1 / count)
    return np.concatenate([rng.multinomial(count, alike, size=size) @ table for size in _sizes(count)])


def _sizes(count: int) -> list[int]:
    at_once = max(1, _DRAWS // count)
    return [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]


def middle(drawn: Table) -> tuple[float, float] | None:
    """The 2.5th and the 97.5th percentile; None where one of them is no number, as of a ratio to nothing."""
    known = np.where(np.isnan(drawn), np.inf, drawn)
    low, high = np.percentile(known, (2.5, 97.5), method="inverted_cdf")
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else None
