"""Any parent with the same chance. A baseline: what growing alone brings, without a direction."""

from dataclasses import dataclass

from orchestrator.search.ids import draw
from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree


class Parents(Memo):
    """The scored nodes above the depth limit, as they were committed."""

    __slots__ = ("keys", "max_depth")

    def __init__(self, max_depth: int) -> None:
        super().__init__()
        self.max_depth = max_depth
        self.keys: list[str] = []

    def on_commit(self, tree: Tree, node: Node) -> None:
        if node.reward is not None and node.depth < self.max_depth:
            self.keys.append(node.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomParent:
    """The seed or any scored node that may have children, whatever its score."""

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        keys = remembered(tree, (self, plan.max_depth), lambda: Parents(plan.max_depth)).keys
        place = int(draw(tree.seed, tree.root, "parent", len(tree.issued)) * (len(keys) + 1))
        return tree.nodes[keys[place] if place < len(keys) else tree.root]
