"""Policies that choose one parent after another: all but `idea-mcts`, whose iterations have phases of their own.

A *step* sends out one litter. What steps share is here: the budget, what may be under way, when a result is committed.
A `Rule` decides where the next litter is born, a `Choice` by which operators.
"""

from dataclasses import dataclass, replace
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

    def within(self, evolutions: int) -> "Stepwise":
        return replace(self, plan=replace(self.plan, budget=min(self.plan.budget, evolutions)))

    def ask(self, tree: Tree, most: int = NO_LIMIT) -> Step:
        """Everything that can be decided now, at most so many evolutions. An empty step means: wait, or it is spent.

        `most` is the rest of a budget that only the caller knows: the last litter is cut to it, and once it is nothing
        and nothing is under way, all is committed.
        """
        rollouts: list[Rollout] = []
        proposals: list[Proposal] = list(evaluations(tree))
        if tree.root not in tree.open:
            while most > 0 and (expand := self._step(tree, most, rollouts)):
                proposals.append(expand)
                most -= len(expand.children)
            if most <= 0:
                self._commit(tree, rollouts)
            while most <= 0 and not tree.open and self._commit_next(tree, rollouts):
                pass
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
        parent = self._select(tree, rollouts) if count > 0 else None
        if parent is None:
            return None
        operators = self.choice.choose(tree, self.plan, parent, count)
        return propose(tree, parent, operators, iteration=next_step(tree))

    def _select(self, tree: Tree, rollouts: list[Rollout]) -> Node | None:
        """The next parent. A rule that must wait gets, in order of issue, one step more to know after another."""
        parent = self.rule.select(tree, self.plan)
        while parent is None and self.plan.window is not None and self._commit_next(tree, rollouts):
            parent = self.rule.select(tree, self.plan)
        return parent

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
        node = _first_uncommitted(tree)
        return node is None or node.iteration > step - self.plan.window

    def _commit(self, tree: Tree, rollouts: list[Rollout]) -> None:
        """Commits what has arrived: all of it, or in order of issue what the next step may know and no more."""
        plan = self.plan
        if plan.window is None:
            # Between two asks the order of issue counts too: of those that came together nobody knows which was first.
            for node in sorted((tree.nodes[key] for key in tree.arrived), key=_by_issue):
                _commit_one(tree, node, plan, rollouts)
        else:
            last = next_step(tree) - plan.window if len(tree.issued) < plan.budget else NO_LIMIT
            while (first := _first_uncommitted(tree)) and first.iteration <= last and first.is_settled:
                _commit_one(tree, first, plan, rollouts)
        tree.arrived.clear()

    def _commit_next(self, tree: Tree, rollouts: list[Rollout]) -> bool:
        """Commits the first step that is not, if all of its litter is settled."""
        at = len(tree.committed)
        litter = [tree.nodes[key] for key in tree.issued[at : at + self.plan.siblings]]
        litter = [node for node in litter if node.iteration == litter[0].iteration]
        if not litter or not all(node.is_settled for node in litter):
            return False
        for node in litter:
            _commit_one(tree, node, self.plan, rollouts)
        return True


def _by_issue(node: Node) -> tuple[int, int]:
    return node.iteration, node.ordinal


def _first_uncommitted(tree: Tree) -> Node | None:
    at = len(tree.committed)
    return tree.nodes[tree.issued[at]] if at < len(tree.issued) else None


def next_step(tree: Tree) -> int:
    """The number of the step to come."""
    return tree.nodes[tree.issued[-1]].iteration + 1 if tree.issued else 0


def _commit_one(tree: Tree, node: Node, plan: Plan, rollouts: list[Rollout]) -> None:
    tree.commit(node.key)
    if node.status is Status.SCORED:
        rollouts.append(back_up(tree, node.key, terminal=node.depth >= plan.max_depth))
