"""Best of n: everything is made of the seed, nothing of what was made. A baseline."""

from dataclasses import dataclass

from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN:
    """The seed, always."""

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        return tree.nodes[tree.root]
