"""Landscapes with a known optimum: what a search can be measured on without a language model.

A world is one tree's hidden truth. A point is a text that does not exist: it has a true value, which no policy sees,
and a judged one, which is all it sees. Child `ordinal` of a parent under an operator is a pure function of (landscape,
seed, parent, operator, ordinal), so two policies that ask the same thing get the same answer and are compared in pairs.

E easy, D deceptive (better regions start slower), N deceptive and noisy; O1, O2 five operators, duplicates, a judge
with a taste that can be hacked; S the same where depth does not pay; H a heavy-tailed walk and a coarse judge; G held
out; X finite and solved exactly, so that what the best possible policy gets is known.
"""

import math
import random
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1
HARVEST = 20


class Point(NamedTuple):
    """`true` and `judged` in 0..1. A duplicate has its parent's values; nothing may be made of it."""

    key: int
    depth: int
    true: float
    judged: float
    duplicate: bool
    hidden: tuple[float, ...]


class World(Protocol):
    """One tree of a landscape. `optimum` is the true value that nothing exceeds, operators are 0 to `operators` - 1."""

    name: str
    depth_limit: int
    operators: int
    optimum: float
    root: Point

    def child(self, parent: Point, operator: int, ordinal: int) -> Point:
        """What the `ordinal`-th use, from 0, of the operator on this parent gives."""


def mixed(*numbers: int) -> int:
    """One number of 64 bits from several: splitmix64's finaliser over each."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state


def clip(value: float) -> float:
    return 0.0 if value < 0.0 else 1.0 if value > 1.0 else value


class Draws(random.Random):
    """Seeded anew for every point. Beta with small whole parameters as an order statistic of uniforms: cheap."""

    def at(self, key: int) -> None:
        self.seed(key)

    def beta22(self) -> float:
        return sorted((self.random(), self.random(), self.random()))[1]

    def beta23(self) -> float:
        return sorted((self.random(), self.random(), self.random(), self.random()))[1]

    def exponential(self, mean: float) -> float:
        return -mean * math.log(1.0 - self.random())

    def student4(self) -> float:
        chi_square = -2.0 * math.log((1.0 - self.random()) * (1.0 - self.random()))
        return self.gauss(0.0, 1.0) / math.sqrt(chi_square / 4.0)


class Regions:
    """E, D, N. The first generation falls into one of eight regions, each with a ceiling; the best is .97."""

    depth_limit = 6
    operators = 1
    optimum = 0.97

    def __init__(self, name: str, seed: int, *, noise: float, deceptive: bool) -> None:
        self.name, self.noise, self.draws = name, noise, Draws()
        key = mixed(*name.encode(), seed)
        self.draws.at(key)
        self.ceilings = [0.97, *(self.draws.uniform(0.35, 0.95) for _ in range(7))]
        self.rates = [0.25 + 0.6 * (1 - one / 0.97) if deceptive else 0.55 for one in self.ceilings]
        self.root = Point(key, 0, 0.30, 0.30, False, ())

    def child(self, parent: Point, operator: int, ordinal: int) -> Point:
        key, draws = mixed(parent.key, operator, ordinal), self.draws
        draws.at(key)
        hidden = parent.hidden or (float(int(draws.random() * 8)),)
        region = int(hidden[0])
        if draws.random() < 0.30:
            true = clip(parent.true - 0.15 * draws.random())
        else:
            room = max(0.0, self.ceilings[region] - parent.true)
            true = clip(parent.true + room * self.rates[region] * 2 * draws.beta23())
        return Point(key, parent.depth + 1, true, clip(true + draws.gauss(0.0, self.noise)), False, hidden)


class Operators:
    """O1, O2, S. hidden: ceiling, bias of style, whether the judge is hacked."""

    depth_limit = 6
    operators = 5
    optimum = 1.0
    GAINS = (0.25, 0.3, 0.35, 0.45, 0.15)

    def __init__(self, name: str, seed: int, *, hack: float, noise: float, shallow: bool) -> None:
        self.name, self.hack, self.noise, self.draws = name, hack, noise, Draws()
        self.decay, self.fall = (0.4, 0.15) if shallow else (0.9, 0.0)
        key = mixed(*name.encode(), seed)
        self.draws.at(key)
        true, ceiling = self.draws.uniform(0.2, 0.45), self.draws.uniform(0.6, 0.95)
        self.factors = [self.draws.uniform(0.5, 1.2) for _ in self.GAINS]
        self.root = Point(key, 0, true, self.judged(true, 0.0, 0.0), False, (ceiling, 0.0, 0.0))

    def success(self, operator: int, true: float, depth: int) -> float:
        plain = (0.8 - 0.5 * depth / 6, 0.4 + 0.4 * true, 0.8 if true < 0.5 else 0.35, 0.5, 0.6)[operator]
        return min(0.95, max(0.03, (plain - self.fall * depth) * self.factors[operator]))

    def child(self, parent: Point, operator: int, ordinal: int) -> Point:
        key, draws, depth = mixed(parent.key, operator, ordinal), self.draws, parent.depth
        draws.at(key)
        if draws.random() >= 0.85**ordinal:
            return parent._replace(key=key, depth=depth + 1, duplicate=True)
        true, (ceiling, bias, hacked) = parent.true, parent.hidden
        success = draws.random() < self.success(operator, true, depth)
        if operator == 4:
            ceiling = 0.5 * ceiling + 0.5 * draws.uniform(0.4, 1.0)
            true -= 0.1 * draws.random()
        else:
            ceiling = min(1.0, max(0.1, ceiling + draws.gauss(0.0, 0.04)))
        if success:
            true += max(0.0, ceiling - true) * self.GAINS[operator] * 2 * draws.beta22() * self.decay**depth
        else:
            true -= draws.exponential(0.08)
        bias = 0.8 * bias + draws.gauss(0.0, 0.03)
        hacked = 1.0 if hacked and draws.random() < 0.7 else 0.0
        if not hacked and draws.random() < self.hack:
            hacked, true = 1.0, true - draws.uniform(0.05, 0.25)
        true = clip(true)
        return Point(key, depth + 1, true, self.judged(true, bias, hacked), False, (ceiling, bias, hacked))

    def judged(self, true: float, bias: float, hacked: float) -> float:
        seen = true + bias + 0.2 * hacked + self.noise * self.draws.student4()
        return round(20 * clip(seen if seen <= 0.75 else 0.75 + 0.5 * (seen - 0.75))) / 20


class Walk:
    """H. A walk on the logit with a pull back; a judge of ten marks, worse on bad texts. hidden: the logit."""

    name = "H"
    depth_limit = 6
    operators = 3
    optimum = 1.0

    def __init__(self, seed: int) -> None:
        self.draws = Draws()
        key = mixed(*self.name.encode(), seed)
        self.draws.at(key)
        self.pull = self.draws.uniform(0.10, 0.25)
        logit = -1 + 0.56 * self.draws.gauss(0.0, 1.0)
        true = 1 / (1 + math.exp(-logit))
        self.root = Point(key, 0, true, self.judged(true), False, (logit,))

    def step(self) -> float:
        kind = self.draws.random()
        if kind < 0.55:
            return -0.15 + self.draws.gauss(0.0, 0.2)
        if kind < 0.90:
            return 0.15 + abs(self.draws.gauss(0.0, 0.25))
        return self.draws.exponential(0.6)

    def child(self, parent: Point, operator: int, ordinal: int) -> Point:
        key, draws = mixed(parent.key, operator, ordinal), self.draws
        draws.at(key)
        if draws.random() >= 0.92**ordinal:
            return parent._replace(key=key, depth=parent.depth + 1, duplicate=True)
        step, logit = self.step(), parent.hidden[0]
        step = (step, 0.6 * step, 1.5 * step - 0.12)[operator]
        logit += step - 0.5 * self.pull * max(0.0, logit)
        if draws.random() < 0.06:
            logit = -2.5
        true = 1 / (1 + math.exp(-logit))
        return Point(key, parent.depth + 1, true, self.judged(true), False, (logit,))

    def judged(self, true: float) -> float:
        seen = true + (0.04 + 0.10 * (1 - true)) * self.draws.gauss(0.0, 1.0)
        if self.draws.random() < 0.03:
            seen = self.draws.random()
        return round(10 * min(1.0, max(0.1, seen))) / 10


class Slopes:
    """G. What a text gains depends on a slope that it hands down. hidden: slope, bias of the judge."""

    name = "G"
    depth_limit = 8
    operators = 3
    optimum = 1.0

    def __init__(self, seed: int) -> None:
        self.draws = Draws()
        self.root = Point(mixed(*self.name.encode(), seed), 0, 0.25, 0.25, False, (0.5, 0.0))

    def child(self, parent: Point, operator: int, ordinal: int) -> Point:
        key, draws = mixed(parent.key, operator, ordinal), self.draws
        draws.at(key)
        if draws.random() >= 0.9**ordinal:
            return parent._replace(key=key, depth=parent.depth + 1, duplicate=True)
        slope = clip(parent.hidden[0] + draws.gauss(0.0, 0.30 if operator == 1 else 0.15))
        if draws.random() < (0.8 if operator == 2 else 0.65):
            gain = 0.25 * slope * 2 * draws.beta22() * (0.6 if operator == 2 else 1.0)
            true = parent.true + (1 - parent.true) * gain
        else:
            true = clip(parent.true - 0.12 * draws.random())
        bias = 0.7 * parent.hidden[1] + draws.gauss(0.0, 0.04)
        return Point(key, parent.depth + 1, true, clip(true + bias + draws.gauss(0.0, 0.10)), False, (slope, bias))


class Finite:
    """X. Each parent has three children (later ones are duplicates), four levels: 120 points, judged exactly."""

    name = "X"
    depth_limit = 4
    operators = 1
    optimum = 1.0
    BRANCHES: ClassVar[int] = 3

    def __init__(self, seed: int) -> None:
        self.draws = Draws()
        self.root = Point(mixed(*self.name.encode(), seed), 0, 0.30, 0.30, False, ())

    def child(self, parent: Point, operator: int, ordinal: int) -> Point:
        key, draws = mixed(parent.key, operator, ordinal), self.draws
        draws.at(key)
        if ordinal >= self.BRANCHES:
            return parent._replace(key=key, depth=parent.depth + 1, duplicate=True)
        if draws.random() < 0.5:
            true = parent.true * (1 - 0.3 * draws.random())
        else:
            true = parent.true + (1 - parent.true) * 0.6 * draws.beta22()
        return Point(key, parent.depth + 1, true, true, False, ())

    def children(self, parent: Point) -> Iterator[Point]:
        if parent.depth < self.depth_limit:
            yield from (self.child(parent, 0, ordinal) for ordinal in range(self.BRANCHES))

    def best_possible(self, calls: int) -> float:
        """The highest mean true value of a harvest that `calls` calls can reach, by who knows the whole tree.

        Exact: a knapsack over the tree, whose table holds the best sum for each (harvested, calls) of a subtree.
        Below 20 calls everything made is harvested.
        """
        table = self._table(self.root, inside=False)
        wanted = min(HARVEST, calls)
        return float(table[wanted, : calls + 1].max()) / wanted

    def _table(self, point: Point, *, inside: bool = True) -> NDArray[np.float64]:
        """[harvested, calls] -> best sum in the subtree, its top included in the calls if `inside`."""
        table = np.full((HARVEST + 1, 2 if inside else 1), -np.inf)
        table[0, -1] = 0.0
        if inside:
            table[1, -1] = point.true
        for child in self.children(point):
            below = self._table(child)
            below = np.hstack([np.full((HARVEST + 1, 1), -np.inf), below[:, 1:]])
            below[0, 0] = 0.0
            table = joined(table, below)
        return table


def joined(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best split of harvest and calls between two subtrees: a convolution of maxima of sums."""
    best = np.full((HARVEST + 1, one.shape[1] + other.shape[1] - 1), -np.inf)
    for taken, calls in zip(*np.nonzero(other > -np.inf), strict=True):
        room = best[taken:, calls : calls + one.shape[1]]
        np.maximum(room, one[: HARVEST + 1 - taken] + other[taken, calls], out=room)
    return best


NAMES = ("E", "D", "N", "O1", "O2", "S", "H", "G")


def world(name: str, seed: int) -> World:
    """The tree of this seed on a landscape of NAMES, or X. KeyError for another name."""
    match name:
        case "E" | "D" | "N":
            return Regions(name, seed, noise=0.15 if name == "N" else 0.05, deceptive=name != "E")
        case "O1" | "O2" | "S":
            rough = name == "O2"
            return Operators(
                name, seed, hack=0.10 if rough else 0.04, noise=0.10 if rough else 0.05, shallow=name == "S"
            )
        case "H":
            return Walk(seed)
        case "G":
            return Slopes(seed)
        case "X":
            return Finite(seed)
    raise KeyError(name)
