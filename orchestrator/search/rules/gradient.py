"""The paced front with a price on use, and the knowledge gradient for the harvest at its end.

Two changes to the paced front, found on the landscapes of policies.md and kept because they won on others as well. How
wide a level is grown follows from how far its nodes lie apart: every child of a node costs it a part of its value. And
the last part of the budget goes, at any depth, where a child is expected to add most to the harvest.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heappush, heapreplace

from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree

# Evolutions it takes to trust the mean gain at a depth as much as that of the whole tree.
GAINS = 2
# More than rounding makes of equal scores, less than any difference that a judge can mean.
LEAST = 1e-9

_ROOT_TWO = math.sqrt(2.0)
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


@dataclass(slots=True, kw_only=True)
class Parent:
    """What a scored node has come to as a parent: `issued` children, `count` of them scored, `total` their scores."""

    key: str
    depth: int
    score: float
    issued: int
    count: int = 0
    total: float = 0.0


@dataclass(slots=True, kw_only=True)
class Group:
    """Nodes of one depth with as many children, issued and scored. Their order depends on nothing else, so it stays.

    The value of a node is its own score, corrected by what its children turned out to be once the usual gain is taken
    off: that with the weight `trust`. `ranks` has the values without it, negative, so that the best is the first.
    """

    issued: int
    trust: float
    ranks: list[tuple[float, str]]


class Prospects(Memo):
    """Scored nodes in groups, gains by depth, the spread within families and the least score of the harvest so far."""

    __slots__ = (
        "births",
        "every",
        "freedom",
        "gains",
        "groups",
        "harvest",
        "kappa",
        "keep",
        "parents",
        "reach",
        "squares",
    )

    def __init__(self, kappa: float, keep: int) -> None:
        super().__init__()
        self.kappa, self.keep = kappa, keep
        self.births: dict[str, int] = {}
        self.parents: dict[str, Parent] = {}
        self.groups: dict[int, dict[tuple[int, int], Group]] = {}
        self.gains: dict[int, tuple[float, int]] = {}
        self.every = (0.0, 0)
        self.squares, self.freedom = 0.0, 0
        self.reach = (math.inf, -math.inf)
        self.harvest: list[float] = []

    def on_issue(self, tree: Tree, node: Node) -> None:
        key = node.parent or tree.root
        if not self.births and tree.nodes[tree.root].reward is not None:
            self._meet(tree.nodes[tree.root])
        self.births[key] = self.births.get(key, 0) + 1
        if parent := self.parents.get(key):
            self._take(parent)
            parent.issued += 1
            self._put(parent)

    def on_commit(self, tree: Tree, node: Node) -> None:
        if node.reward is None:
            return
        self._meet(node)
        if len(self.harvest) < self.keep:
            heappush(self.harvest, node.reward)
        elif node.reward > self.harvest[0]:
            heapreplace(self.harvest, node.reward)
        if parent := self.parents.get(node.parent or tree.root):
            self._credit(parent, node.reward)

    def _meet(self, node: Node) -> None:
        """Takes in a scored node as a parent to be."""
        assert node.reward is not None
        one = Parent(key=node.key, depth=node.depth, score=node.reward, issued=self.births.get(node.key, 0))
        self.parents[node.key] = one
        self.reach = (min(self.reach[0], one.score), max(self.reach[1], one.score))
        self._put(one)

    def _credit(self, parent: Parent, reward: float) -> None:
        gain = reward - parent.score
        total, count = self.gains.get(parent.depth, (0.0, 0))
        self.gains[parent.depth] = (total + gain, count + 1)
        self.every = (self.every[0] + gain, self.every[1] + 1)
        self._take(parent)
        before = parent.total / parent.count if parent.count else reward
        self.freedom += parent.count > 0
        parent.count += 1
        parent.total += reward
        self.squares += max(0.0, (reward - before) * (reward - parent.total / parent.count))
        self._put(parent)

    def _rank(self, one: Parent) -> tuple[float, str]:
        trust = one.count / (one.count + self.kappa)
        return -((1 - trust) * one.score + trust * (one.total / one.count)) if one.count else -one.score, one.key

    def _take(self, one: Parent) -> None:
        level, place = self.groups[one.depth], (one.issued, one.count)
        ranks = level[place].ranks
        del ranks[bisect_left(ranks, self._rank(one))]
        if not ranks:
            del level[place]

    def _put(self, one: Parent) -> None:
        level, place = self.groups.setdefault(one.depth, {}), (one.issued, one.count)
        if (group := level.get(place)) is None:
            trust = one.count / (one.count + self.kappa)
            group = level[place] = Group(issued=one.issued, trust=trust, ranks=[])
        insort(group.ranks, self._rank(one))

    def at(self, depths: Iterable[int]) -> Iterator[Group]:
        """The groups at these depths."""
        for depth in depths:
            yield from self.groups.get(depth, {}).values()

    @property
    def spread(self) -> float:
        """Standard deviation of scores within families; where no parent has two children, the range of all scores.

        Never quite 0, so that of equal nodes the least used comes first.
        """
        if self.freedom:
            return max(LEAST, math.sqrt(self.squares / self.freedom))
        return max(LEAST, self.reach[1] - self.reach[0])

    def gain(self, depth: int) -> float:
        """The mean of what scored children have over parents of this depth; 0 if there are none."""
        total, count = self.gains.get(depth, (0.0, 0))
        return total / count if count else 0.0

    def usual_gain(self, depth: int) -> float:
        """The same, leaning on the whole tree where there are few."""
        total, count = self.gains.get(depth, (0.0, 0))
        overall = self.every[0] / self.every[1] if self.every[1] else 0.0
        return (total + GAINS * overall) / (count + GAINS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientFront:
    """The paced front, wide where its best nodes lie close together; then whatever adds most to the harvest.

    below: depths below the front whose nodes stay eligible.
    kappa: children it takes to trust their mean as much as the parent's own score.
    price: what each child costs its parent's value, in standard deviations of scores within families.
    tail: the last part of the budget, which goes where a child is expected to exceed the least of the harvest by most.
    keep: size of the harvest; half or a quarter of the true one does as well.
    fade: factor on that expectation for each child that a node has: each further one is likelier to repeat another.

    Raises:
        ValueError: a parameter makes no sense.
    """

    below: int = 1
    kappa: float = 3.0
    price: float = 0.3
    tail: float = 0.4
    keep: int = 20
    fade: float = 0.9

    def __post_init__(self) -> None:
        if self.below < 0 or not self.kappa > 0 or not self.price >= 0 or self.keep < 1:
            raise ValueError("the gradient front needs below >= 0, kappa > 0, price >= 0 and keep >= 1")
        if not 0 <= self.tail <= 1 or not 0 < self.fade <= 1:
            raise ValueError("the gradient front needs tail between 0 and 1 and fade above 0, at most 1")

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        memo = remembered(tree, self, lambda: Prospects(self.kappa, self.keep))
        issued = len(tree.issued)
        if issued >= (1 - self.tail) * plan.budget and memo.harvest:
            return tree.nodes[self._most_for_the_harvest(memo, plan.max_depth) or tree.root]
        level = min(plan.max_depth - 1, issued * plan.max_depth // plan.budget)
        while level > 0:
            groups = list(memo.at(range(max(1, level - self.below), level + 1)))
            if groups:
                return tree.nodes[self._dearest(memo, groups, memo.gain(level))]
            level -= 1
        return tree.nodes[tree.root]

    def _dearest(self, memo: Prospects, groups: list[Group], gain: float) -> str:
        price = self.price * memo.spread

        def rank(group: Group) -> tuple[float, int, str]:
            value, key = group.ranks[0]
            return value + group.trust * gain + price * group.issued, group.issued, key

        return min(map(rank, groups))[2]

    def _most_for_the_harvest(self, memo: Prospects, max_depth: int) -> str | None:
        heads: dict[int, tuple[float, str]] = {}
        for depth in range(max_depth):
            gain = memo.usual_gain(depth)
            for group in memo.groups.get(depth, {}).values():
                # Of nodes with as many children, who may expect the best child may also expect the largest excess.
                value, key = group.ranks[0]
                head = (value + group.trust * gain - gain, key)
                if (known := heads.get(group.issued)) is None or head < known:
                    heads[group.issued] = head
        excess = _excess(memo.harvest[0], memo.spread)
        ranks = ((-excess(-mean) * self.fade**issued, mean, issued, key) for issued, (mean, key) in heads.items())
        return min(ranks)[3] if heads else None


def _excess(threshold: float, spread: float) -> Callable[[float], float]:
    """By how much a normal number of this spread exceeds the threshold in the mean, as a function of its own mean."""

    def expected(mean: float) -> float:
        z = (mean - threshold) / spread
        above = 0.5 * math.erfc(-z / _ROOT_TWO)
        return spread * (z * above + math.exp(-0.5 * z * z) / _ROOT_TWO_PI)

    return expected
