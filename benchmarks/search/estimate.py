"""What a judged node is worth beside its family (policies.md, section 2), for any grown tree, whoever grew it."""

from collections import defaultdict
from collections.abc import Callable
from statistics import fmean

from benchmarks.search.arena import Growth
from benchmarks.search.landscapes import Point, World

KAPPA = 1.5
# What repeats of the judge would show: the standard deviation of its noise, half a step of rounding included.
NOISE = {"E": 0.05, "D": 0.05, "N": 0.15, "O1": 0.07, "O2": 0.14, "S": 0.07, "H": 0.12, "G": 0.10, "X": 0.0}


def estimated(world: World, growth: Growth) -> Callable[[Point], float]:
    """The worth of each node of this tree."""
    families, depths = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    parents: dict[int, int] = {}
    for parent, point, _ in growth.entries:
        if not point.duplicate:
            families[parent].append(point.judged)
            depths[point.depth].append(point.judged)
            parents[point.key] = parent
    spread = trust(list(families.values()), NOISE[world.name] ** 2)
    levels = {depth: fmean(scores) for depth, scores in depths.items()}
    sums = {parent: (sum(scores), len(scores)) for parent, scores in families.items()}

    def worth(point: Point) -> float:
        total, count = sums[parents[point.key]]
        family = (KAPPA * levels[point.depth] + total) / (KAPPA + count)
        return spread * point.judged + (1 - spread) * family

    return worth


def trust(families: list[list[float]], noise2: float) -> float:
    """The share of a score that is the node's own: variance within families, without the judge's."""
    squares = sum(sum((score - fmean(one)) ** 2 for score in one) for one in families)
    freedom = sum(len(one) - 1 for one in families)
    variance = squares / freedom if freedom else 0.0
    own = max(variance - noise2, 0.1 * variance)
    return own / (own + noise2) if own + noise2 else 1.0
