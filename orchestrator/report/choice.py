"""Which trees and pairs are shown: the extremes by gain, and a fair row across all gains."""

from collections.abc import Sequence

from db.records import NodeRow
from orchestrator.report.forest import Forest, gather, reward, root_of
from orchestrator.report.model import Choice, Pair, RunStory, TreeGain, TreeStory
from orchestrator.report.numbers import difference

TREES_AT_EACH_END = 5
TREES_WITHOUT_GAIN = 2
PAIRS = 10


def ranking(forest: Forest) -> list[TreeGain]:
    """All trees, the largest gain first, those without a gain last."""
    gains = [tree_gain(forest, tree) for tree in forest.trees]
    return sorted(gains, key=lambda found: (found.gain is None, -(found.gain or 0.0), found.tree.row.ordinal))


def tree_gain(forest: Forest, tree: TreeStory) -> TreeGain:
    """The best node is the best accepted example's or, without one, the best evolved node."""
    root, best = root_of(tree), _best(forest, tree)
    return TreeGain(tree=tree, root=root, best=best, gain=difference(reward(best), reward(root)))


def _best(forest: Forest, tree: TreeStory) -> NodeRow | None:
    evolved = [node for node in tree.nodes if node.parent_key is not None and reward(node) is not None]
    accepted = [node for node in evolved if _is_accepted(forest, node)]
    return min(accepted or evolved, key=lambda node: (-(reward(node) or 0.0), node.depth, node.key), default=None)


def _is_accepted(forest: Forest, node: NodeRow) -> bool:
    example = forest.example(node)
    return example is not None and example.status == "accepted"


def choose(ranked: Sequence[TreeGain]) -> Choice:
    """Five from each end of `ranking`, never one twice, and two of those that gave nothing to rank."""
    known = [found for found in ranked if found.gain is not None]
    unknown = [found for found in ranked if found.gain is None]
    best = known[: min(TREES_AT_EACH_END, (len(known) + 1) // 2)]
    worst = known[len(best) :][::-1][:TREES_AT_EACH_END]
    return Choice(
        best=tuple(best),
        worst=tuple(worst),
        without_gain=tuple(unknown[:TREES_WITHOUT_GAIN]),
        ranked=len(known),
        unranked=len(unknown),
    )


def shown(story: RunStory) -> tuple[int, ...]:
    """The ids of the trees of which the page shows more than figures: those it draws, and those of the pairs."""
    forest = gather(story)
    ranked = ranking(forest)
    choice = choose(ranked)
    drawn = [found.tree.row.id for found in (*choice.best, *choice.worst, *choice.without_gain)]
    return tuple(dict.fromkeys([*drawn, *(pair.node.tree_id for pair in pairs(forest, ranked))]))


def pairs(forest: Forest, ranked: Sequence[TreeGain]) -> tuple[Pair, ...]:
    """Up to ten trees at even steps through the ranking, from the best gain to the worst: not the ten best."""
    known = [found for found in ranked if found.gain is not None]
    count = min(PAIRS, len(known))
    ranks = [round(i * (len(known) - 1) / max(1, count - 1)) for i in range(count)]
    found = (_pair(forest, known[rank], rank + 1) for rank in ranks)
    return tuple(pair for pair in found if pair is not None)


def _pair(forest: Forest, found: TreeGain, rank: int) -> Pair | None:
    if found.root is None or found.best is None or found.gain is None:
        return None
    seed = found.tree.row.seed
    return Pair(
        rank=rank,
        ordinal=found.tree.row.ordinal,
        seed_instruction=str(seed.get("instruction", found.root.text or "")),
        seed_input=str(seed.get("input") or ""),
        root=found.root,
        node=found.best,
        path=tuple(node.operator for node in forest.path(found.best) if node.operator is not None),
        gain=found.gain,
        example=forest.example(found.best),
    )
