"""Rebuilding a tree from what was stored of it."""

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.search.tree import Node, Rollout, Tree, credit


def replay(*, seed: int, nodes: Iterable[Node], rollouts: Iterable[Rollout], in_flight: Iterable[str]) -> Tree:
    """The tree with these nodes, its statistics recounted from the rollouts whatever the nodes say.

    Raises:
        ValueError: there is not exactly one root, or a node stands before its parent.
    """
    ordered = sorted(nodes, key=lambda node: (node.depth, node.parent or "", node.ordinal))
    roots = [node.key for node in ordered if node.parent is None]
    if len(roots) != 1:
        raise ValueError(f"a tree needs one root, not {len(roots)}")
    tree = Tree(seed=seed, root=roots[0], nodes={}, in_flight=set(in_flight))
    for node in ordered:
        if node.parent is not None and node.parent not in tree.nodes:
            raise ValueError(f"node {node.key} has no parent {node.parent}")
        tree.add(replace(node, visits=0, value_sum=0.0))
    for rollout in sorted(rollouts, key=lambda rollout: rollout.ordinal):
        tree.rollouts.append(rollout)
        credit(tree, rollout)
    return tree
