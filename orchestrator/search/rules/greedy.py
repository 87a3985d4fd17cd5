"""Greedy: always the best judged node. A baseline, and the one that shows what judge noise does."""

from dataclasses import dataclass

from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree


class Leader(Memo):
    """The best judged node above the depth limit; ties go to the smaller key."""

    __slots__ = ("best", "max_depth")

    def __init__(self, max_depth: int) -> None:
        super().__init__()
        self.max_depth = max_depth
        self.best: tuple[float, str] | None = None

    def on_commit(self, tree: Tree, node: Node) -> None:
        if node.reward is not None and node.depth < self.max_depth:
            rank = (-node.reward, node.key)
            self.best = rank if self.best is None else min(self.best, rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """The best judged node that may have children, the seed among them."""

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        best = remembered(tree, (self, plan.max_depth), lambda: Leader(plan.max_depth)).best
        root = tree.nodes[tree.root]
        if best is None or (root.reward is not None and (-root.reward, root.key) < best):
            return root
        return tree.nodes[best[1]]
