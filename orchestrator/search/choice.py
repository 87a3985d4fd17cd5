"""Operator choice: by which operators a litter is made."""

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import NormalDist

from orchestrator.search.ids import draw
from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Status, Tree

# policies.md, section 1, on a scale of 0 to 1.
LEAST_GAIN, MOST_GAIN = -0.3, 0.4
LOST = -0.1
PRIOR = 2
SPREAD = 0.12
PER_USE = 0.04

_NORMAL = NormalDist()


@dataclass(slots=True)
class Pulls:
    """What is known of one operator in one tree. `gain` sums what its children gained, the lost ones not included."""

    gain: float = 0.0
    gained: int = 0
    lost: int = 0
    in_flight: int = 0


class Uses(Memo):
    """How often each operator was used at each parent."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[tuple[str, str], int] = {}

    def on_issue(self, tree: Tree, node: Node) -> None:
        place = (node.parent or "", node.operator or "")
        self.at[place] = self.at.get(place, 0) + 1


class Gains(Uses):
    """What each operator gained in this tree; rewards are divided by `unit` before they are clipped."""

    __slots__ = ("pulls", "unit")

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.pulls: defaultdict[str, Pulls] = defaultdict(Pulls)

    def on_issue(self, tree: Tree, node: Node) -> None:
        super().on_issue(tree, node)
        self.pulls[node.operator or ""].in_flight += 1

    def on_commit(self, tree: Tree, node: Node) -> None:
        pulls = self.pulls[node.operator or ""]
        pulls.in_flight -= 1
        parent = tree.nodes[node.parent or tree.root]
        if node.reward is not None and parent.reward is not None:
            pulls.gain += min(MOST_GAIN, max(LEAST_GAIN, (node.reward - parent.reward) / self.unit))
            pulls.gained += 1
        elif node.status in (Status.REJECTED, Status.FAILED):
            pulls.lost += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thompson:
    """A Gaussian draw around the mean gain of each operator in this tree; the largest wins.

    A child that a guard refused, or that has no text, counts as a small loss; one that the judge could not score counts
    for nothing. Evolutions under way count as if they had come back with the mean.

    unit: points of reward per 1.0 of the rule's scale, on which scores lie between 0 and 1.
    priors: of operators, in points of reward: what each is expected to gain beyond the mean of all before anything is
        known of it. It fades as that mean does: it counts as much as PRIOR of the operator's own children.

    Raises:
        ValueError: unit is not positive.
    """

    unit: float = 1.0
    priors: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.unit > 0:
            raise ValueError(f"unit must be positive, not {self.unit}")

    def choose(self, tree: Tree, plan: Plan, parent: Node, count: int) -> tuple[str, ...]:
        if len(plan.operators) == 1:
            return plan.operators * count
        memo = remembered(tree, self, lambda: Gains(self.unit))
        chosen: list[str] = []
        for number in range(len(tree.issued), len(tree.issued) + count):
            chosen.append(self._best(tree, plan, parent, memo, chosen, number))
        return tuple(chosen)

    def _best(self, tree: Tree, plan: Plan, parent: Node, memo: Gains, chosen: list[str], number: int) -> str:
        pulls = [memo.pulls[operator] for operator in plan.operators]
        known = sum(one.gained + one.lost for one in pulls)
        overall = (sum(one.gain for one in pulls) + LOST * sum(one.lost for one in pulls)) / known if known else 0.0
        shifts = dict(self.priors)

        def drawn(operator: str, one: Pulls) -> float:
            here = chosen.count(operator)
            count = one.gained + one.lost + PRIOR
            expected = overall + shifts.get(operator, 0.0) / self.unit
            mean = (one.gain + LOST * one.lost + PRIOR * expected) / count
            uses = memo.at.get((parent.key, operator), 0) + here
            z = _normal(tree.seed, parent.key, "operator", number, operator)
            return mean + SPREAD * z / math.sqrt(count + one.in_flight + here) - PER_USE * uses

        values = [drawn(operator, one) for operator, one in zip(plan.operators, pulls, strict=True)]
        return plan.operators[values.index(max(values))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """The operators least used at this parent, which has an order of its own for them."""

    def choose(self, tree: Tree, plan: Plan, parent: Node, count: int) -> tuple[str, ...]:
        if len(plan.operators) == 1:
            return plan.operators * count
        memo = remembered(tree, Rotate(), Uses)
        order = sorted(plan.operators, key=lambda operator: (draw(tree.seed, parent.key, "turn", operator), operator))
        chosen: list[str] = []
        for _ in range(count):
            chosen.append(min(order, key=lambda one: memo.at.get((parent.key, one), 0) + chosen.count(one)))
        return tuple(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Any operator with the same chance, whatever it did so far."""

    def choose(self, tree: Tree, plan: Plan, parent: Node, count: int) -> tuple[str, ...]:
        start = len(tree.issued)
        chances = (draw(tree.seed, parent.key, "uniform", start + i) for i in range(count))
        return tuple(plan.operators[int(chance * len(plan.operators))] for chance in chances)


def _normal(seed: int, *place: object) -> float:
    """A standard normal number, always the same for one place."""
    # The draw may round to 0 or 1, where the quantile is infinite.
    return _NORMAL.inv_cdf(2.0**-52 + draw(seed, *place) * (1 - 2.0**-50))
