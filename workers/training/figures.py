"""Intervals of what training changed."""

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 10_000
_LEVEL = 0.95
_SEED = 0


def interval(gaps: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the sum of gaps over the sum of weights, by bootstrap: items are drawn with replacement, as often as
    there are some.
    """
    chance = np.random.default_rng(_SEED)
    drawn = chance.multinomial(len(gaps), np.full(len(gaps), 1 / len(gaps)), size=_RESAMPLES)
    found = (drawn @ gaps) / (drawn @ weights)
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
