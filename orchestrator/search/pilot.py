"""The depth limit, learnt from a few trees that were grown with room.

It is the one parameter that matters much (policies.md, 0): too shallow and the best texts are never reached, too deep
and the budget is spent on levels that bring nothing.
"""

from collections.abc import Sequence

from orchestrator.search.harvest import best
from orchestrator.search.tree import Tree

# Compared on the landscapes of policies.md: anything from 1.2 to 1.4 times the median of the best 5 to 10 does as well.
BEST = 10
ROOM = 1.3


def depth_limit(trees: Sequence[Tree]) -> int:
    """The limit for the trees to come: a little below where the best nodes of these trees lie.

    Half of the best nodes lie above the depth that it took to get them, hence the room; where depth does not pay, they
    lie near the seed however deep the trees were let grow. No deeper than any of these trees, and at least 1.
    """
    deepest = max((node.depth for tree in trees for node in tree.nodes.values()), default=1)
    depths = sorted(node.depth for tree in trees for node in best(tree, BEST))
    if not depths:
        return max(1, deepest)
    # Half up: round() would take 4.5 to 4.
    return max(1, min(deepest, int(ROOM * depths[(len(depths) - 1) // 2] + 0.5)))
