"""What each operator gained over the parents it was given."""

from collections import Counter
from collections.abc import Sequence

from db.records import NodeRow
from orchestrator.report.distributions import score
from orchestrator.report.forest import Forest
from orchestrator.report.model import DIMENSIONS, OperatorGain
from orchestrator.report.numbers import describe, difference


def operator_gains(forest: Forest) -> tuple[OperatorGain, ...]:
    """One for each operator that was tried, the largest mean gain in reward first, those without any last."""
    made: dict[str, list[NodeRow]] = {}
    for node in forest.nodes.values():
        if node.operator is not None:
            made.setdefault(node.operator, []).append(node)
    return tuple(sorted((_gain(forest, name, nodes) for name, nodes in made.items()), key=_rank))


def _rank(gain: OperatorGain) -> tuple[bool, float, str]:
    mean = gain.gains["reward"].mean
    return (mean is None, -(mean or 0.0), gain.operator)


def _gain(forest: Forest, operator: str, nodes: Sequence[NodeRow]) -> OperatorGain:
    status = Counter(node.status for node in nodes)
    scored = [node for node in nodes if node.status == "scored"]
    chosen = sum(1 for node in nodes if forest.example(node) is not None)
    return OperatorGain(
        operator=operator,
        tried=len(nodes),
        rejected=status["rejected"],
        failed=status["failed"],
        unscored=status["unscored"],
        open=status["proposed"] + status["generated"],
        scored=len(scored),
        gains={
            dimension: describe(_over_parent(forest, node, dimension) for node in scored) for dimension in DIMENSIONS
        },
        chosen=chosen,
        chosen_share=chosen / len(scored) if scored else None,
    )


def _over_parent(forest: Forest, node: NodeRow, dimension: str) -> float | None:
    parent = forest.parent(node)
    return None if parent is None else difference(score(node, dimension), score(parent, dimension))
