"""Selection: which leaf to grow, by UCT."""

import math
from dataclasses import dataclass

from orchestrator.search.tree import Node, Origin, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Uct:
    """The choices in UCT(z) = V(z) + C * sqrt(ln N(p) / N(z)), p the parent of z (papers.md, 1.1)."""

    exploration: float
    square_root: bool
    count_own_score: bool
    backup: str
    normalise: bool


def visits(tree: Tree, node: Node, uct: Uct) -> int:
    """N: the rollouts through a node, plus one for its own evaluation where that counts as a visit."""
    return tree.tally(node.key).visits + (uct.count_own_score and node.reward is not None)


def value(tree: Tree, node: Node, uct: Uct) -> float:
    """V: the mean (or maximum) of what was backed up through the node and, where it counts, its own reward."""
    own = node.reward if uct.count_own_score else None
    if uct.backup == "max":
        through = [r.reward for r in tree.rollouts if r.reward is not None and _passes(tree, r.leaf, node.key)]
        return max([*through, *([] if own is None else [own])], default=0.0)
    count = visits(tree, node, uct)
    return (tree.tally(node.key).value_sum + (own or 0.0)) / count if count else 0.0


def _passes(tree: Tree, leaf: str, key: str) -> bool:
    return any(node.key == key for node in tree.path(leaf))


def uct_score(tree: Tree, node: Node, uct: Uct) -> float:
    """The upper confidence bound of a child; infinite while it has no visit."""
    count = visits(tree, node, uct)
    if count == 0:
        return math.inf
    parent = visits(tree, tree.node(node.parent or tree.root), uct)
    ratio = math.log(max(parent, 1)) / count
    bonus = math.sqrt(ratio) if uct.square_root else ratio
    return _scaled(tree, value(tree, node, uct), uct) + uct.exploration * bonus


def _scaled(tree: Tree, raw: float, uct: Uct) -> float:
    """`raw` on 0..1 between the least and the largest reward of this tree, if rewards are to be normalised."""
    if not uct.normalise:
        return raw
    rewards = [node.reward for node in tree.nodes.values() if node.reward is not None]
    low, high = min(rewards, default=0.0), max(rewards, default=0.0)
    return (raw - low) / (high - low) if high > low else 0.5


def select_leaf(tree: Tree, uct: Uct) -> Node:
    """Follows the largest UCT from the root to a node that has no scored child of an expansion; ties: smaller key.

    Simulation nodes are kept but not selected: the expanded tree grows one level an iteration (papers.md, 1.2).
    """
    node = tree.node(tree.root)
    while children := [c for c in tree.scored_children(node.key) if c.origin is Origin.EXPANSION]:
        node = min(children, key=lambda child: (-uct_score(tree, child, uct), child.key))
    return node
