"""k-means over directions, the same labels for the same arguments on any number of cores."""

from collections.abc import Sequence

import numpy as np

from db.errors import ServiceError
from orchestrator.generation.vectors import Rows
from orchestrator.search.ids import draw

_STARTS = 4
# Vectors that agree to so many decimals are one point: k-means cannot tell them apart either.
_DECIMALS = 6


def clusters(rows: Rows, count: int, seed: int, *place: object) -> list[int]:
    """The label of the cluster of each row (of length 1); fewer than `count` clusters where fewer rows differ.

    Raises:
        ServiceError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ServiceError(
            "diverse batches need scikit-learn, which is not installed here: pip install 'instructree[train]'"
        ) from None
    rounded = rows.round(_DECIMALS) + 0.0
    wanted = min(count, len(np.unique(rounded, axis=0)))
    if wanted < 2:
        return [0] * len(rows)
    means = KMeans(wanted, n_init=_STARTS, random_state=int(draw(seed, "clusters", *place) * 2**32) % 2**32)
    # With several threads the order of additions, and so the last bits of the centres, would be chance.
    with threadpool_limits(limits=1):
        labels: Sequence[int] = means.fit_predict(rounded).tolist()
    return list(labels)
