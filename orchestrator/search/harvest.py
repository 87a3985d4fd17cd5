"""Harvest: which nodes of a tree may become examples."""

from collections.abc import Iterable, Mapping

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


def evolved(tree: Tree) -> list[Node]:
    """All scored nodes but the root, on whatever path."""
    return [node for node in tree.nodes.values() if node.reward is not None and node.parent is not None]


def best(tree: Tree, count: int) -> list[Node]:
    """The evolved nodes with the largest rewards; ties go to the smaller key."""
    return top(tree, count, {node.key: node.reward for node in tree.nodes.values() if node.reward is not None})


def top(tree: Tree, count: int, estimates: Mapping[str, float]) -> list[Node]:
    """The evolved nodes with the largest estimates; ties go to the smaller key. What has no estimate is left out."""
    evolved = [key for key in estimates if tree.nodes[key].parent is not None]
    return [tree.nodes[key] for key in sorted(evolved, key=lambda key: (-estimates[key], key))[:count]]


def estimates(
    tree: Tree,
    noise: float,
    kappa: float = 1.5,
    judgements: Mapping[str, int] | None = None,
    scores: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """What each scored, evolved node is worth: its score, shrunken towards its family and its depth (policies.md, 2).

    A judge's luck is not handed down, so the best judged node is partly the luckiest; the noisier the judge is beside
    the spread within families, the more its siblings and the others of its depth count.

    noise: standard deviation of one judgement, in points of reward; `calibrate` measures it.
    kappa: siblings it takes to trust their mean as much as that of the depth.
    judgements: how often a node was judged, where that is not once.
    scores: means of repeated judgements, in place of the first one.

    Raises:
        ValueError: noise or kappa is negative, or a node was judged less than once.
    """
    judged = judgements or {}
    if not noise >= 0 or not kappa >= 0 or any(number < 1 for number in judged.values()):
        raise ValueError("estimates need noise >= 0, kappa >= 0 and at least one judgement a node")
    families = _families(tree, scores or {})
    levels: dict[int, list[float]] = {}
    for parent, family in families.items():
        levels.setdefault(tree.nodes[parent].depth + 1, []).extend(family.values())
    level_means = {depth: sum(level) / len(level) for depth, level in levels.items()}
    spread = _spread(families.values())
    real = max(spread - noise**2, 0.1 * spread)
    found: dict[str, float] = {}
    for parent, family in families.items():
        level = level_means[tree.nodes[parent].depth + 1]
        usual = (kappa * level + sum(family.values())) / (kappa + len(family))
        for key, score in family.items():
            error = noise**2 / judged.get(key, 1)
            trust = real / (real + error) if error else 1.0
            found[key] = trust * score + (1 - trust) * usual
    return found


def _families(tree: Tree, scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The scores of each parent's children, those that have none left out, in an order that no history changes."""
    families: dict[str, dict[str, float]] = {}
    for parent in sorted(tree.children):
        children = sorted(tree.scored_children(parent), key=lambda node: node.ordinal)
        if children:
            families[parent] = {node.key: scores.get(node.key, node.reward or 0.0) for node in children}
    return families


def _spread(families: Iterable[Mapping[str, float]]) -> float:
    """The pooled variance within families; 0 where no family has two."""
    squares, freedom = 0.0, 0
    for family in families:
        mean = sum(family.values()) / len(family)
        squares += sum((score - mean) ** 2 for score in family.values())
        freedom += len(family) - 1
    return squares / freedom if freedom else 0.0
