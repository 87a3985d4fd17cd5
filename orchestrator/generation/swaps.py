"""Batches whose members lie far apart, by swapping two of different batches as long as that helps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.generation.vectors import Rows

# So many are arranged together: time and memory grow with the square. 4,000 at once came to 1.058 instead of 1.053.
_TOGETHER = 1024
_SWEEPS = 20
_LEAST_GAIN = 1e-9
# The last bits of a product depend on the number of cores; without them a swap does not.
_DECIMALS = 9

Places = NDArray[np.int64]


def swapped(rows: Rows, order: Sequence[int], size: int) -> list[int]:
    """The places of `order`, batch after batch, such that no swap of two raises the mean distance inside batches.

    Rows have length 1. At most twenty sweeps over the items, each taking the best swap there is for it; three to eight
    were enough on instructions. 1,000 of them take about 0.4 s.
    """
    most = max(1, _TOGETHER // size) * size
    return [place for start in range(0, len(order), most) for place in _spread(rows, order[start : start + most], size)]


def _spread(rows: Rows, order: Sequence[int], size: int) -> list[int]:
    points = rows[list(order)]
    cosines: Rows = (points @ points.T).round(_DECIMALS)
    batch: Places = np.arange(len(order)) // size
    # For each item and batch, the sum of its cosines with the members: all that a swap has to look at.
    towards: Rows = cosines.reshape(len(order), -1, size).sum(axis=2)
    for _ in range(_SWEEPS):
        if not sum([_swap(one, cosines, towards, batch) for one in range(len(order))]):
            break
    return [order[at] for at in np.argsort(batch, kind="stable").tolist()]


def _swap(one: int, cosines: Rows, towards: Rows, batch: Places) -> bool:
    """Changes the places of `one` and the other that lowers the sum of cosines inside batches most, if one does."""
    home = batch[one]
    own = towards[np.arange(len(batch)), batch] - cosines.diagonal()
    change = towards[:, home] + towards[one, batch] - 2 * cosines[one] - own[one] - own
    change[batch == home] = 0
    other = int(change.argmin())
    if change[other] > -_LEAST_GAIN:
        return False
    away, moved = batch[other], cosines[:, other] - cosines[:, one]
    towards[:, home] += moved
    towards[:, away] -= moved
    batch[one], batch[other] = away, home
    return True
