"""Policies that choose one parent after another: all but `idea-mcts`, whose iterations have phases of their own.

A *step* sends out one litter. What steps share is here: the budget, what may be under way, when a result is committed.
A `Rule` decides where the next litter is born, a `Choice` by which operators.
"""

from dataclasses import dataclass
from typing import Protocol

from orchestrator.search.tree import (
    NO_LIMIT,
    Expand,
    Node,
    Proposal,
    Rollout,
    Status,
    Step,
    Tree,
    back_up,
    evaluations,
    propose,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all stepwise policies obey.

    budget: evolutions of the tree, those under way included.
    max_depth: no node lies deeper; the seed is at 0.
    siblings: size of a litter.
    in_flight: at most so many evolutions that are not committed, in order of arrival.
    window: commit in the order of issue: step i is chosen knowing exactly the results of steps 0 .. i - window
        (search.md, 4.3). None: commit in the order of arrival.
    """

    operators: tuple[str, ...]
    budget: int
    max_depth: int
    siblings: int = 1
    in_flight: int = 1
    window: int | None = None


class Rule(Protocol):
    """Selection."""

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        """The parent of the next litter, of depth below `plan.max_depth`; None while it must wait for results."""
        ...


class Choice(Protocol):
    """Operator choice."""

    def choose(self, tree: Tree, plan: Plan, parent: Node, count: int) -> tuple[str, ...]:
        """The operators of a litter, one a child."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepwise:
    """One policy: a plan, a rule and a choice."""

    plan: Plan
    rule: Rule
    choice: Choice

    def ask(self, tree: Tree, most: int = NO_LIMIT) -> Step:
        """Everything that can be decided now, at most so many evolutions. An empty step means: wait, or it is spent."""
        rollouts: list[Rollout] = []
        proposals: list[Proposal] = list(evaluations(tree))
        if tree.root not in tree.open:
            while most > 0 and (expand := self._step(tree, most, rollouts)):
                proposals.append(expand)
                most -= len(expand.children)
            self._commit(tree, rollouts)
        return Step(proposals=tuple(proposals), rollouts=tuple(rollouts))

    def is_spent(self, tree: Tree) -> bool:
        """All evolutions that there may be are committed, or no node can have another."""
        if tree.open or len(tree.committed) < len(tree.issued):
            return False
        return len(tree.issued) >= self.plan.budget or self.rule.select(tree, self.plan) is None

    def _step(self, tree: Tree, most: int, rollouts: list[Rollout]) -> Expand | None:
        """Sends out the next litter, if it may go out now."""
        self._commit(tree, rollouts)
        count = min(self._room(tree), most)
        parent = self.rule.select(tree, self.plan) if count > 0 else None
        if parent is None:
            return None
        operators = self.choice.choose(tree, self.plan, parent, count)
        return propose(tree, parent, operators, iteration=next_step(tree))

    def _room(self, tree: Tree) -> int:
        """How many children the next litter may have: it goes out whole or, at the end of the budget, as its rest."""
        plan = self.plan
        count = min(plan.siblings, plan.budget - len(tree.issued))
        if plan.window is None:
            under_way = len(tree.issued) - len(tree.committed)
            return count if under_way == 0 or under_way + count <= plan.in_flight else 0
        return count if self._ready(tree, next_step(tree)) else 0

    def _ready(self, tree: Tree, step: int) -> bool:
        """Whether everything is committed that this step must know."""
        assert self.plan.window is not None
        at = len(tree.committed)
        return at == len(tree.issued) or tree.nodes[tree.issued[at]].iteration > step - self.plan.window

    def _commit(self, tree: Tree, rollouts: list[Rollout]) -> None:
        """Commits what has arrived: all of it, or in order of issue what the next step may know and no more."""
        if self.plan.window is None:
            for key in tree.arrived:
                _commit_one(tree, key, self.plan, rollouts)
            tree.arrived.clear()
            return
        last = next_step(tree) - self.plan.window if len(tree.issued) < self.plan.budget else NO_LIMIT
        while (at := len(tree.committed)) < len(tree.issued):
            node = tree.nodes[tree.issued[at]]
            if node.iteration > last or not node.is_settled:
                return
            _commit_one(tree, node.key, self.plan, rollouts)


def next_step(tree: Tree) -> int:
    """The number of the step to come."""
    return tree.nodes[tree.issued[-1]].iteration + 1 if tree.issued else 0


def _commit_one(tree: Tree, key: str, plan: Plan, rollouts: list[Rollout]) -> None:
    tree.commit(key)
    node = tree.nodes[key]
    if node.status is Status.SCORED:
        rollouts.append(back_up(tree, key, terminal=node.depth >= plan.max_depth))
