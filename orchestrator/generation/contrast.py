"""How much more diverse batches are inside than random batches of the same instructions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.generation.draws import some
from orchestrator.generation.vectors import Rows, units, within_units


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Mean cosine distances inside batches, each batch counted once.

    random: the mean of the random arrangements; `interval` holds 95 % of them (percentiles 2.5 and 97.5 of the
        permutations, no bootstrap: the question is what chance alone would have made of these very instructions).
    gain: `arranged` less `random`, `gain_interval` less each end of that interval.
    beaten: the share of random arrangements that are less diverse.
    """

    arranged: float
    random: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    beaten: float


def contrast(
    vectors: Rows, batches: Sequence[Sequence[int]], *, arrangements: int = 200, seed: int, round: int
) -> Contrast | None:
    """`batches` of rows of `vectors` against random ones of the same rows and sizes; None without a batch of two."""
    rows = units(vectors)
    pairs = [list(batch) for batch in batches if len(batch) > 1]
    if not pairs:
        return None
    members = [place for batch in pairs for place in batch]
    ends = np.cumsum([len(batch) for batch in pairs])[:-1]
    ours = _mean(rows, pairs)
    shuffles = (some(members, len(members), seed, "contrast", round, one) for one in range(arrangements))
    chance = np.array([_mean(rows, [part.tolist() for part in np.split(order, ends)]) for order in shuffles])
    low, high = (float(end) for end in np.percentile(chance, [2.5, 97.5]))
    mean = float(chance.mean())
    return Contrast(
        arranged=ours,
        random=mean,
        interval=(low, high),
        gain=ours - mean,
        gain_interval=(ours - high, ours - low),
        beaten=float((chance < ours).mean()),
    )


def _mean(rows: Rows, batches: Sequence[Sequence[int]]) -> float:
    return float(np.mean([within_units(rows[list(batch)]) for batch in batches]))
