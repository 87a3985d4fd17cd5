"""Harvest: which nodes of a tree may become examples."""

from orchestrator.search.tree import Node, Tree


def candidates(tree: Tree) -> list[Node]:
    """All scored nodes on paths from the root to a rolled-out leaf, root left out, simulation nodes included.

    A tree that was cut short also offers the path to its best node (papers.md, 1.5, and our pick for the cut).
    """
    leaves = [rollout.leaf for rollout in tree.rollouts] + [node.key for node in best(tree, 1)]
    found = {node.key: node for leaf in leaves for node in tree.path(leaf)}
    return sorted(
        (node for node in found.values() if node.reward is not None and node.parent is not None),
        key=lambda node: (node.depth, node.key),
    )


def best(tree: Tree, count: int) -> list[Node]:
    """The evolved nodes with the largest rewards; ties go to the smaller key."""
    evolved = [node for node in tree.nodes.values() if node.reward is not None and node.parent is not None]
    return sorted(evolved, key=lambda node: (-(node.reward or 0.0), node.key))[:count]
