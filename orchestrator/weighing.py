"""Priors of operators from what a student's signal says of the examples that they made.

With n examples of an operator of mean m, the mean M and the standard deviation s of all examples, its prior is

    points * n / (n + 10) * (m - M) / s

where n / (n + 10) shrinks the mean to what it were with ten more examples at M. The scale is how far single examples
lie apart, not how far operators do: operators that differ by luck alone get small priors, not priors of full size.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from orchestrator.recipes import MOST_PRIOR

FEWEST = 3
_TRUST = 10
_RESAMPLES = 10_000
_LEVEL = 0.95
_SEED = 0
_DECIMALS = 4


class Signal(StrEnum):
    """What is measured of an example, in nats per token of its answer; the larger, the more it is worth having.

    brings: the answer's loss behind an empty instruction less that behind its own. loss: the latter alone.
    """

    BRINGS = "brings"
    LOSS = "loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One operator: its examples, their mean signal with a 95 % interval (bootstrap over them), and its prior.

    prior: in points of reward, None with fewer than three examples.
    """

    operator: str
    examples: int
    mean: float
    low: float
    high: float
    prior: float | None

    def row(self) -> dict[str, object]:
        return asdict(self)


def weigh(found: Iterable[tuple[str, float]], *, points: float) -> tuple[Weight, ...]:
    """Operators with the largest mean first, from pairs of an example's operator and its (finite) signal.

    points: of reward, for one standard deviation of an example.
    """
    by_operator: defaultdict[str, list[float]] = defaultdict(list)
    for operator, value in found:
        by_operator[operator].append(value)
    every = np.array([value for values in by_operator.values() for value in values], dtype=np.float64)
    chance = np.random.default_rng(_SEED)
    weights = [
        _weight(operator, np.array(by_operator[operator]), every, points, chance) for operator in sorted(by_operator)
    ]
    return tuple(sorted(weights, key=lambda one: (-one.mean, one.operator)))


def _weight(
    operator: str, values: NDArray[np.float64], every: NDArray[np.float64], points: float, chance: np.random.Generator
) -> Weight:
    count = len(values)
    means = values[chance.integers(count, size=(_RESAMPLES, count))].mean(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    prior = points * count / (count + _TRUST) * _standardised(values, every)
    return Weight(
        operator=operator,
        examples=count,
        mean=float(values.mean()),
        low=float(low),
        high=float(high),
        prior=round(min(MOST_PRIOR, max(-MOST_PRIOR, prior)), _DECIMALS) if count >= FEWEST else None,
    )


def _standardised(values: NDArray[np.float64], every: NDArray[np.float64]) -> float:
    # The deviation of equal numbers may come out as a few of their last bits.
    alike = np.allclose(every, every[0], rtol=1e-9, atol=1e-12)
    return 0.0 if alike else float((values.mean() - every.mean()) / every.std())


def priors_of(weights: Iterable[Weight]) -> dict[str, float]:
    """Of the operators that have one."""
    return {one.operator: one.prior for one in weights if one.prior is not None}


def to_layer(priors: dict[str, float], *remarks: str) -> str:
    """A configuration file with these priors; remarks become comments, one line each."""
    lines = [*(f"# {remark}" for remark in remarks), "[search.operator_priors]"]
    return "\n".join([*lines, *(f"{operator} = {prior}" for operator, prior in priors.items())]) + "\n"
