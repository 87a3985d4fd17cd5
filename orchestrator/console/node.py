"""One node as it is told: its text against its parent's, its scores, the way to it, what it cost. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.browse import CallLine
from db.records import NodeRow, TreeRow
from orchestrator.report.model import DIMENSIONS
from orchestrator.report.numbers import difference
from orchestrator.report.panels import Marked, ScoreLine, beside, score_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node of the way from the seed. `gain` is in reward, over its parent."""

    row: NodeRow
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The node's share of its calls; `nusd` is None as soon as one price is unknown."""

    calls: int
    tokens_in: float
    tokens_out: float
    nusd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`tree` is the number of its tree, `before` the parent's text with what went."""

    tree: int
    row: NodeRow
    text: Marked | None
    before: Marked | None
    seed_input: str
    scores: tuple[ScoreLine, ...]
    mean_value: float | None
    way: tuple[Step, ...]
    calls: tuple[CallLine, ...]
    cost: Cost


def tell(path: Sequence[NodeRow], calls: Sequence[CallLine], tree: TreeRow) -> Told:
    """The last node of a path from the seed."""
    row = path[-1]
    parent = path[-2] if len(path) > 1 else None
    text, before = beside(row, parent)
    return Told(
        tree=tree.ordinal,
        row=row,
        text=text,
        before=before,
        seed_input=str(tree.seed.get("input") or "") if parent is None else "",
        scores=tuple(score_line(row, parent, name) for name in DIMENSIONS),
        mean_value=row.value_sum / row.visits if row.visits else None,
        way=tuple(
            Step(row=one, gain=difference(one.reward, above.reward) if above else None)
            for above, one in zip((None, *path), path, strict=False)
        ),
        calls=tuple(calls),
        cost=cost_of(calls),
    )


def cost_of(calls: Sequence[CallLine]) -> Cost:
    unknown = any(call.nusd is None for call in calls)
    return Cost(
        calls=len(calls),
        tokens_in=sum(call.tokens_in / call.sharers for call in calls),
        tokens_out=sum(call.tokens_out / call.sharers for call in calls),
        nusd=None if unknown else sum((call.nusd or 0) / call.sharers for call in calls),
    )
