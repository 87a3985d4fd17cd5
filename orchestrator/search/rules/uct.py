"""Rule `uct`: upper confidence bounds, progressive widening, and what is under way counted (search.md, 4)."""

import math
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.search.memo import Memo, remembered
from orchestrator.search.ranking import Ranking, Rate
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tally, Tree


class Correction(StrEnum):
    """What evolutions under way count for.

    WU: a child for widening, a visit for exploration, nothing for the mean. WIDENING: a child only. VIRTUAL_LOSS: a
    child, and `loss` visits that brought the least reward. NONE: nothing.
    """

    WU = "wu"
    WIDENING = "widening"
    VIRTUAL_LOSS = "virtual-loss"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedUct:
    """Descends by UCB on the mean reward; a node with fewer children than `widening` * N ** `exponent` gets another.

    exploration: C, on a scale where the rewards of this tree go from 0 to 1.
    normalise: put them on that scale; otherwise they are taken for being on it.
    variance: UCB1-tuned, the exploration term scaled by the variance of the rewards below a child.
    loss: of VIRTUAL_LOSS.

    N counts the seed's own score as one visit. A node that no child can be descended into is widened whatever its N. So
    that a poisonous parent cannot hold the search, a child without a reward keeps its place in the count of children,
    and a node that can only be widened is passed over once more of its evolutions were lost than it has visits.

    Raises:
        ValueError: a parameter makes no sense.
    """

    exploration: float = 0.1
    widening: float = 1.0
    exponent: float = 0.5
    normalise: bool = True
    variance: bool = False
    correction: Correction = Correction.WU
    loss: float = 1.0

    def __post_init__(self) -> None:
        if not self.exploration >= 0 or not self.widening > 0 or not 0 < self.exponent <= 1 or not self.loss >= 0:
            raise ValueError("uct needs exploration >= 0, widening > 0, exponent in (0, 1] and loss >= 0")

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        families, key = self.families(tree, plan), tree.root
        while (child := families.descend(tree, key)) is not None:
            key = child
        return tree.nodes[key]

    def families(self, tree: Tree, plan: Plan) -> "Families":
        return remembered(tree, (self, plan.max_depth), lambda: Families(tree, plan, self))


class Family:
    """The children of one node: how many are committed, how many lost, and those one can descend into, ranked.

    The bounds of the ranking hold while N of the node is at most `until` and the range of the rewards is the one of
    number `range`. `own` is what the node itself adds to N.
    """

    __slots__ = ("committed", "lost", "own", "range", "ranking", "until")

    def __init__(self, own: int = 0) -> None:
        self.committed = 0
        self.lost = 0
        self.own = own
        self.ranking = Ranking()
        self.until = 0.0
        self.range = 0


class Families(Memo):
    """The families of a tree, and the range of its rewards."""

    __slots__ = ("_families", "_high", "_losses", "_low", "_max_depth", "_options", "_range", "_seen", "_widens")

    def __init__(self, tree: Tree, plan: Plan, options: TunedUct) -> None:
        super().__init__()
        self._options, self._max_depth = options, plan.max_depth
        correction = options.correction
        # What one evolution under way counts for: visits in the exploration term, losses in the mean, N in widening.
        self._losses = options.loss if correction is Correction.VIRTUAL_LOSS else 0.0
        self._seen = 1.0 if correction is Correction.WU else self._losses
        self._widens = correction is Correction.WU
        own = tree.nodes[tree.root].reward
        self._families = {tree.root: Family(own is not None)}
        self._range = 1
        self._low, self._high = (math.inf, -math.inf) if own is None else (own, own)

    def on_commit(self, tree: Tree, node: Node) -> None:
        family = self._families[node.parent or tree.root]
        family.committed += 1
        if node.reward is None:
            family.lost += 1
        else:
            self._stretch(node.reward)
            if node.depth < self._max_depth:
                self._families[node.key] = Family()
        # All the way up one evolution fewer is under way, so that each bound on the path may have risen.
        while node.parent is not None:
            self._rank(tree, node.key, self._families[node.parent].ranking)
            node = tree.nodes[node.parent]

    def _rank(self, tree: Tree, key: str, siblings: Ranking) -> None:
        family = self._families.get(key)
        if family is None:
            return
        if family.ranking or family.lost <= tree.tallies[key].visits:
            siblings.touch(key)
        else:
            siblings.drop(key)

    def _stretch(self, reward: float) -> None:
        if self._options.normalise and not self._low <= reward <= self._high:
            self._low, self._high = min(self._low, reward), max(self._high, reward)
            self._range += 1

    def descend(self, tree: Tree, key: str) -> str | None:
        """The child with the largest upper confidence bound; None if the node itself is to have another child."""
        family, tally, options = self._families[key], tree.tallies[key], self._options
        if not family.ranking:
            return None
        wide = family.committed if options.correction is Correction.NONE else len(tree.children[key])
        visits = tally.visits + family.own + (tally.pending if self._widens else 0)
        if wide < options.widening * visits**options.exponent:
            return None
        return family.ranking.largest(self.rate(tree, key))

    def rate(self, tree: Tree, key: str) -> Rate:
        """How the children of this node are rated: by their upper confidence bounds, for its N and for `until`.

        Bounds of its ranking that no longer hold are renewed.
        """
        family, tally, tallies = self._families[key], tree.tallies[key], tree.tallies
        visits = tally.visits + family.own + self._seen * tally.pending
        stale = visits > family.until or family.range != self._range
        if stale:
            # Every ~sqrt(N) visits a pass over ~sqrt(N) children: a step costs the same however large the family.
            family.until, family.range = visits + math.sqrt(visits), self._range
        low, span = (self._low, (self._high - self._low) or 1.0) if self._options.normalise else (0.0, 1.0)
        exploration, variance = self._options.exploration, self._options.variance
        seen, losses, sqrt = self._seen, self._losses, math.sqrt
        log_n, log_until = math.log(visits), math.log(family.until)

        def rated(child: str) -> tuple[float, float]:
            one = tallies[child]
            mean = (one.value_sum - low * one.visits) / (span * (one.visits + losses * one.pending))
            count = one.visits + seen * one.pending
            now, then = log_n / count, log_until / count
            if variance:
                spread = _variance(one) / (span * span)
                now *= min(0.25, spread + sqrt(2 * now))
                then *= min(0.25, spread + sqrt(2 * then))
            return mean + exploration * sqrt(now), mean + exploration * sqrt(then)

        if stale:
            family.ranking.renew(rated)
        return rated


def _variance(tally: Tally) -> float:
    mean = tally.value_sum / tally.visits
    return max(0.0, tally.squares / tally.visits - mean * mean)
