"""The rows worth a look before the data set is used: the best, and the strangest with what is strange about each.

Strange is what lies far from the middle of this very data set, by figures that a reader can check: how long a row is,
how much of it is no letter, how little it has of its seed, how far its scores lie apart. Distances are counted in units
of the median absolute deviation, which the strange ones themselves hardly move.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from db.records import ExampleRow, NodeRow
from orchestrator.report.forest import Forest, reward
from orchestrator.report.numbers import finite

MOST = 20
# Of fewer rows nobody can say what is usual.
FEWEST = 10
# 1.4826 median absolute deviations are a standard deviation where values are normal; 3.5 of these are an outlier
# (Iglewicz and Hoaglin 1993).
_TO_SD, _FAR = 1.4826, 3.5
_WORD = re.compile(r"\w+")
_SCORES = ("quality", "diversity", "complexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An accepted row with its tree's ordinal and its operators from the seed on. `why`: what is strange about it."""

    ordinal: int
    path: tuple[str, ...]
    node: NodeRow
    example: ExampleRow
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure of a row, and what it means to be far above the middle, or far below it; None where that is nothing."""

    of: Callable[["_Row"], float | None]
    above: str | None
    below: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    node: NodeRow
    example: ExampleRow
    ordinal: int
    seed: str
    path: tuple[str, ...]


_MEASURES = (
    Measure(
        of=lambda row: float(len(row.example.instruction)), above="an instruction of {:,.0f} characters", below=None
    ),
    Measure(
        of=lambda row: float(len(row.example.output)) if row.example.output else None,
        above="an output of {:,.0f} characters",
        below="an output of only {:,.0f} characters",
    ),
    Measure(of=lambda row: _unlettered(row.example.instruction), above="{:.0%} of it is no letter", below=None),
    Measure(of=lambda row: _shared(row), above=None, below="only {:.0%} of its seed's words are left"),
    Measure(of=lambda row: _apart(row.node), above="its scores lie {:.1f} points apart", below=None),
)


def best(forest: Forest) -> tuple[Shown, ...]:
    """The accepted rows of the highest reward."""
    ranked = sorted(_accepted(forest), key=lambda row: (-(reward(row.node) or 0.0), row.node.tree_id, row.node.key))
    return tuple(_shown(row) for row in ranked if reward(row.node) is not None)[:MOST]


def strangest(forest: Forest) -> tuple[Shown, ...]:
    """The accepted rows farthest from what is usual here, the farthest first; none where nothing is far."""
    rows = _accepted(forest)
    if len(rows) < FEWEST:
        return ()
    found: list[tuple[float, _Row, str]] = []
    for row, marks in zip(rows, zip(*(_distances(measure, rows) for measure in _MEASURES), strict=True), strict=True):
        far, why = max(marks)
        if far > _FAR:
            found.append((far, row, why))
    found.sort(key=lambda one: (-one[0], one[1].node.tree_id, one[1].node.key))
    return tuple(_shown(row, why) for _, row, why in found[:MOST])


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


def _distances(measure: Measure, rows: Sequence[_Row]) -> list[tuple[float, str]]:
    """For each row how far it is from the middle, towards a side that means something, and what that is."""
    values = [measure.of(row) for row in rows]
    known = finite(values)
    middle = median(known) if known else 0.0
    # Where most rows are alike in this, a twentieth of the middle is taken for their spread.
    spread = max(_TO_SD * median([abs(value - middle) for value in known]), abs(middle) / 20, 1e-9) if known else 1.0
    return [_distance(measure, value, middle, spread) for value in values]


def _distance(measure: Measure, value: float | None, middle: float, spread: float) -> tuple[float, str]:
    if value is None:
        return 0.0, ""
    said = measure.above if value > middle else measure.below
    return (abs(value - middle) / spread, said.format(value)) if said else (0.0, "")


def _unlettered(text: str) -> float:
    """The share of what is neither letter nor space."""
    return sum(not (sign.isalpha() or sign.isspace()) for sign in text) / len(text) if text else 0.0


def _shared(row: _Row) -> float | None:
    """The share of the seed's words that the row still has. What comes of a brand-new instruction need have none."""
    words = set(_WORD.findall(row.seed.casefold()))
    if not words or "brand-new" in row.path:
        return None
    return len(words & set(_WORD.findall(row.example.instruction.casefold()))) / len(words)


def _apart(node: NodeRow) -> float | None:
    scores = finite(getattr(node, name) for name in _SCORES)
    return max(scores) - min(scores) if len(scores) == len(_SCORES) else None


def _shown(row: _Row, why: str = "") -> Shown:
    return Shown(ordinal=row.ordinal, path=row.path, node=row.node, example=row.example, why=why)
