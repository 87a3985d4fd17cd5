"""The rows of trees worth a look before the data set is used: the best, and the strangest, each with what is strange.

Beside what makes any text strange (`oddities`): how little a row has of its seed, and how far its scores lie apart.
"""

import re
from dataclasses import dataclass

from db.records import ExampleRow, NodeRow
from orchestrator.report.forest import Forest, reward
from orchestrator.report.numbers import finite
from orchestrator.report.oddities import MOST, OF_TEXTS, Figures, Measure, farthest, figures_of_texts

_WORD = re.compile(r"\w+")
_SCORES = ("quality", "diversity", "complexity")
_MEASURES = (
    *OF_TEXTS,
    Measure(above=None, below="only {:.0%} of its seed's words are left"),
    Measure(above="its scores lie {:.1f} points apart", below=None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """An accepted row with its tree's ordinal and its operators from the seed on. `why`: what is strange about it."""

    ordinal: int
    path: tuple[str, ...]
    node: NodeRow
    example: ExampleRow
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    node: NodeRow
    example: ExampleRow
    ordinal: int
    seed: str
    path: tuple[str, ...]


def best(forest: Forest) -> tuple[Highlight, ...]:
    """The accepted rows of the highest reward."""
    ranked = sorted(_accepted(forest), key=lambda row: (-(reward(row.node) or 0.0), *_place(row)))
    return tuple(_shown(row) for row in ranked if reward(row.node) is not None)[:MOST]


def strangest(forest: Forest) -> tuple[Highlight, ...]:
    """The accepted rows farthest from what is usual here, the farthest first; none where nothing is far."""
    rows = sorted(_accepted(forest), key=_place)
    return tuple(_shown(rows[at], why) for at, why in farthest(_MEASURES, [_figures(row) for row in rows]))


def _place(row: _Row) -> tuple[int, str]:
    return row.node.tree_id, row.node.key


def _figures(row: _Row) -> Figures:
    return (*figures_of_texts(row.example.instruction, row.example.output), _shared(row), _apart(row.node))


def _accepted(forest: Forest) -> list[_Row]:
    trees = {tree.row.id: tree.row for tree in forest.trees}
    return [
        _Row(
            node=(node := forest.nodes[place]),
            example=example,
            ordinal=trees[place[0]].ordinal,
            seed=str(trees[place[0]].seed.get("instruction", "")),
            path=tuple(above.operator for above in forest.path(node) if above.operator is not None),
        )
        for place, example in forest.examples.items()
        if example.status == "accepted" and place in forest.nodes
    ]


def _shared(row: _Row) -> float | None:
    """The share of the seed's words that the row still has. What comes of a brand-new instruction need have none."""
    words = set(_WORD.findall(row.seed.casefold()))
    if not words or "brand-new" in row.path:
        return None
    return len(words & set(_WORD.findall(row.example.instruction.casefold()))) / len(words)


def _apart(node: NodeRow) -> float | None:
    scores = finite(getattr(node, name) for name in _SCORES)
    return max(scores) - min(scores) if len(scores) == len(_SCORES) else None


def _shown(row: _Row, why: str = "") -> Highlight:
    return Highlight(ordinal=row.ordinal, path=row.path, node=row.node, example=row.example, why=why)
