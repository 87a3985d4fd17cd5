"""Rebuilding a tree from what was stored of it."""

from collections import deque
from collections.abc import Iterable

from orchestrator.search.tree import Node, Rollout, Status, Tree, credit


def replay(*, seed: int, nodes: Iterable[Node], rollouts: Iterable[Rollout], in_flight: Iterable[str]) -> Tree:
    """The tree with these nodes, its statistics recounted from the rollouts.

    What a rollout tells of is committed; what else is settled has arrived, and is committed when its policy is asked.

    Raises:
        ValueError: there is not exactly one root, or a node stands before its parent.
    """
    ordered = sorted(nodes, key=lambda node: (node.depth > 0, node.iteration, node.depth, node.parent, node.ordinal))
    roots = [node.key for node in ordered if node.parent is None]
    if len(roots) != 1:
        raise ValueError(f"a tree needs one root, not {len(roots)}")
    tree = Tree(seed=seed, root=roots[0], in_flight=set(in_flight))
    for node in ordered:
        if node.parent is not None and node.parent not in tree.nodes:
            raise ValueError(f"node {node.key} has no parent {node.parent}")
        tree.add(node)
    for node in sorted(ordered, key=lambda node: node.status is not Status.PROPOSED):
        tree.place(node)
    for rollout in sorted(rollouts, key=lambda rollout: rollout.ordinal):
        tree.rollouts.append(rollout)
        credit(tree, rollout)
    _commit_again(tree)
    return tree


def _commit_again(tree: Tree) -> None:
    """Commits the leaves of rollouts in their order and, before each, what came to nothing and was issued earlier."""
    place = {key: number for number, key in enumerate(tree.issued)}
    arrived = set(tree.arrived)
    to_nothing = deque(key for key in tree.issued if key in arrived and tree.nodes[key].reward is None)
    for rollout in tree.rollouts:
        if rollout.leaf in arrived:
            while to_nothing and place[to_nothing[0]] < place[rollout.leaf]:
                tree.commit(to_nothing.popleft())
            tree.commit(rollout.leaf)
            arrived.discard(rollout.leaf)
    arrived -= set(tree.committed)
    tree.arrived = [key for key in tree.issued if key in arrived]
