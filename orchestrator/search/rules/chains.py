"""Chains: one evolution after another from the seed, as in Evol-Instruct (papers.md, 3.3)."""

from dataclasses import dataclass

from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree


@dataclass(slots=True, kw_only=True)
class Round:
    """One litter: how many of it are not committed, and the best that survived."""

    under_way: int = 0
    best: tuple[float, str] | None = None


class Chains(Memo):
    """Which nodes wait for the next round of their chain.

    `spent` counts the rounds of the chain up to a node, and `tried` those that were made of it. All of it follows from
    which litters are complete, so it does not matter how issues and commits interleave.
    """

    __slots__ = ("eliminate", "last", "max_depth", "rounds", "rounds_of", "spent", "tried", "waiting")

    def __init__(self, rounds: int, max_depth: int, eliminate: bool) -> None:
        super().__init__()
        self.rounds, self.max_depth, self.eliminate = rounds, max_depth, eliminate
        self.rounds_of: dict[int, Round] = {}
        self.spent: dict[str, int] = {}
        self.tried: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.waiting: dict[str, int] = {}

    def on_issue(self, tree: Tree, node: Node) -> None:
        parent = tree.nodes[node.parent or tree.root]
        self.waiting.pop(parent.key, None)
        self.rounds_of.setdefault(node.iteration, Round()).under_way += 1
        if parent.parent is not None and self.last.get(parent.key) != node.iteration:
            self.tried[parent.key] = self.tried.get(parent.key, 0) + 1
        self.last[parent.key] = node.iteration
        self.spent[node.key] = self._spent(parent.key) + (parent.parent is None)

    def on_commit(self, tree: Tree, node: Node) -> None:
        parent = tree.nodes[node.parent or tree.root]
        mine = self.rounds_of[node.iteration]
        mine.under_way -= 1
        if self._survives(node, parent):
            rank = (-(node.reward or 0.0), node.key)
            mine.best = rank if mine.best is None else min(mine.best, rank)
        if mine.under_way:
            return
        del self.rounds_of[node.iteration]
        if mine.best is not None:
            self._wait(tree.nodes[mine.best[1]])
        elif parent.parent is not None and self.last[parent.key] == node.iteration:
            self._wait(parent)

    def _survives(self, node: Node, parent: Node) -> bool:
        if node.reward is None:
            return False
        return not self.eliminate or parent.reward is None or node.reward > parent.reward

    def _spent(self, key: str) -> int:
        return self.spent.get(key, 0) + self.tried.get(key, 0)

    def _wait(self, node: Node) -> None:
        """It waits for its chain's next round, unless there is none or it has begun."""
        has_begun = (latest := self.last.get(node.key)) is not None and latest in self.rounds_of
        if not has_begun and node.depth < self.max_depth and self._spent(node.key) < self.rounds:
            self.waiting[node.key] = node.iteration


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolChains:
    """Chains of `rounds` litters, by default as many as the plan's depth allows; then a new chain from the seed.

    Of a litter the best goes on. If none survives (refused, failed, unscored), the round is lost and the chain tries
    the same node again in its next one. A first round that is lost is a chain of its own. The oldest chain goes first;
    while all wait for results a new one is begun beside them.

    eliminate: a child that is judged no better than its parent does not survive.

    Raises:
        ValueError: there is no round.
    """

    rounds: int | None = None
    eliminate: bool = False

    def __post_init__(self) -> None:
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"a chain needs a round, not {self.rounds}")

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        rounds = self.rounds or plan.max_depth
        memo = remembered(tree, (self, plan.max_depth), lambda: Chains(rounds, plan.max_depth, self.eliminate))
        if not memo.waiting:
            return tree.nodes[tree.root]
        return tree.nodes[min(memo.waiting, key=lambda key: (memo.waiting[key], key))]
