"""The paced front: the budget is spread evenly over the depths, and each depth is grown from its best nodes.

policies.md, section 1, has the rule, its reasons and its figures.
"""

import math
from bisect import bisect_left, insort
from dataclasses import dataclass

from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree

# Room for rounding where two values that differ in their last bits are compared.
SLACK = 1e-9
# So many more than needed may be looked through before they are sorted anew.
MANY = 8

Rank = tuple[float, str]


@dataclass(slots=True, kw_only=True)
class Parent:
    """What a scored node has come to as a parent; `count` and `total` are of its scored children."""

    key: str
    depth: int
    score: float
    count: int = 0
    total: float = 0.0

    def value(self, gain: float, kappa: float) -> float:
        """Its own score, corrected by what its children turned out to be once the usual gain is taken off."""
        if not self.count:
            return self.score
        trust = self.count / (self.count + kappa)
        return (1 - trust) * self.score + trust * (self.total / self.count - gain)


class Levels(Memo):
    """Scored nodes by depth, and those of the window in order of their values.

    The order of nodes with children moves with the gain of the front. Sorting them anew at each change would cost too
    much, so they stand in the order of an older gain and `_best_used` looks a little further down: the answer is exact.
    """

    __slots__ = ("births", "fresh", "gains", "kappa", "levels", "parents", "sorted_at", "used", "window")

    def __init__(self, kappa: float) -> None:
        super().__init__()
        self.kappa = kappa
        self.births: dict[str, int] = {}
        self.parents: dict[str, Parent] = {}
        self.levels: dict[int, list[Parent]] = {}
        self.gains: dict[int, tuple[float, int]] = {}
        self.window = (0, -1)
        self.fresh: list[Rank] = []
        self.used: list[Rank] = []
        self.sorted_at = 0.0

    def on_issue(self, tree: Tree, node: Node) -> None:
        parent = node.parent or tree.root
        self.births[parent] = self.births.get(parent, 0) + 1

    def on_commit(self, tree: Tree, node: Node) -> None:
        if node.reward is None:
            return
        one = self.parents[node.key] = Parent(key=node.key, depth=node.depth, score=node.reward)
        self.levels.setdefault(node.depth, []).append(one)
        if self._in_window(one):
            insort(self.fresh, (-one.score, one.key))
        self._credit(tree, tree.nodes[node.parent or tree.root], node.reward)

    def _credit(self, tree: Tree, node: Node, reward: float) -> None:
        """Tells the parent of a scored child."""
        if node.reward is not None:
            total, count = self.gains.get(node.depth, (0.0, 0))
            self.gains[node.depth] = (total + (reward - node.reward), count + 1)
        parent = self.parents.get(node.key)
        if parent is None:
            return
        if self._in_window(parent):
            ranks = self.used if parent.count else self.fresh
            del ranks[bisect_left(ranks, self._rank(parent, self.sorted_at))]
        parent.count += 1
        parent.total += reward
        if self._in_window(parent):
            insort(self.used, self._rank(parent, self.sorted_at))

    def gain(self, level: int) -> float:
        """The mean of what scored children of this depth's nodes have over their parents; 0 if there are none."""
        total, count = self.gains.get(level, (0.0, 0))
        return total / count if count else 0.0

    def is_empty(self, low: int, level: int) -> bool:
        """Whether there is no scored node at these depths."""
        return not any(self.levels.get(depth) for depth in range(low, level + 1))

    def best(self, low: int, level: int, width: int) -> list[str]:
        """The best nodes by value at these depths, the best first; ties go to the smaller key."""
        gain = self.gain(level)
        if self.window != (low, level):
            self.window = (low, level)
            self._sort(gain)
        ranked = sorted(self.fresh[:width] + self._best_used(gain, width))
        return [key for _, key in ranked[:width]]

    def _best_used(self, gain: float, width: int) -> list[Rank]:
        """The best nodes with children.

        None of them has moved by more than the gain has since they were sorted, so whoever is now among the first
        `width` stands no further than that behind the `width`-th.
        """
        moved = abs(gain - self.sorted_at)
        last = self.used[width - 1][0] + moved + SLACK if len(self.used) > width else math.inf
        end = bisect_left(self.used, (last, ""))
        if end > 2 * width + MANY:
            self._sort(gain)
        if gain == self.sorted_at:
            return self.used[:width]
        return sorted(self._rank(self.parents[key], gain) for _, key in self.used[:end])[:width]

    def _sort(self, gain: float) -> None:
        low, level = self.window
        inside = [one for depth in range(low, level + 1) for one in self.levels.get(depth, ())]
        self.sorted_at = gain
        self.fresh = sorted((-one.score, one.key) for one in inside if not one.count)
        self.used = sorted(self._rank(one, gain) for one in inside if one.count)

    def _rank(self, one: Parent, gain: float) -> Rank:
        return (-one.value(gain, self.kappa), one.key)

    def _in_window(self, one: Parent) -> bool:
        low, level = self.window
        return low <= one.depth <= level


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedFront:
    """At each depth in turn, the least used of the best nodes.

    below: depths below the front whose nodes stay eligible; 0 is the strict front.
    wide: parents kept at a level, in units of the square root of the level's evolutions.
    narrowing: factor on that from one level to the next.
    kappa: children it takes to trust their mean as much as the parent's own score.
    wave: the budget is taken as unknown: this many evolutions first, then as many again, then twice that, and so on,
        each wave walking over all depths of the same tree; None spreads the plan's budget in one go.

    Raises:
        ValueError: a parameter makes no sense.
    """

    below: int = 1
    wide: float = 1.0
    narrowing: float = 0.85
    kappa: float = 1.5
    wave: int | None = None

    def __post_init__(self) -> None:
        if self.below < 0 or not self.wide > 0 or not 0 < self.narrowing <= 1:
            raise ValueError("the paced front needs below >= 0, wide > 0 and narrowing in (0, 1]")
        if not self.kappa > 0 or (self.wave is not None and self.wave < 1):
            raise ValueError("the paced front needs kappa > 0 and a wave of at least one evolution")

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        memo = remembered(tree, self, lambda: Levels(self.kappa))
        begun, total = self._wave(len(tree.issued), plan.budget)
        # Whole numbers: a level's share need not be one, and must not be rounded.
        level = min(plan.max_depth - 1, (len(tree.issued) - begun) * plan.max_depth // (total - begun))
        while level > 0 and memo.is_empty(low := max(1, level - self.below), level):
            level -= 1
        if level == 0:
            return tree.nodes[tree.root]
        width = max(1, round(self.wide * math.sqrt(total / plan.max_depth) * self.narrowing ** (level - 1)))
        return tree.nodes[min(memo.best(low, level, width), key=lambda key: memo.births.get(key, 0))]

    def _wave(self, issued: int, budget: int) -> tuple[int, int]:
        """What was issued before the present wave began, and what will be once it ends."""
        if self.wave is None:
            return 0, budget
        begun, total = 0, self.wave
        while issued >= total:
            begun, total = total, total * 2
        return begun, total
