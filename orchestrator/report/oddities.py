"""Which rows of a data set are unlike the others, and in what.

Strange is what lies far from the middle of this very data set, by figures that a reader can check. Distances are
counted in units of the median absolute deviation, which the strange ones themselves hardly move.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from orchestrator.report.numbers import finite

# So many rows of a kind are shown.
MOST = 20
# Of fewer rows nobody can say what is usual.
FEWEST = 10
# 1.4826 median absolute deviations are a standard deviation where values are normal; 3.5 of these are an outlier
# (Iglewicz and Hoaglin 1993).
_TO_SD, _FAR = 1.4826, 3.5

Figures = tuple[float | None, ...]
"""What was measured of one row, in the order of the measures."""
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What it means to be far above the middle in a figure, or far below it; None where that is nothing."""

    above: str | None
    below: str | None


# Of every row that has an instruction and an output, whatever made it.
OF_TEXTS = (
    Measure(above="an instruction of {:,.0f} characters", below=None),
    Measure(above="an output of {:,.0f} characters", below="an output of only {:,.0f} characters"),
    Measure(above="{:.0%} of it is no letter", below=None),
)


def figures_of_texts(instruction: str, output: str | None) -> Figures:
    """One for each of `OF_TEXTS`."""
    return float(len(instruction)), float(len(output)) if output else None, _unlettered(instruction)


def strangest_texts(rows: Iterable[tuple[K, str, str | None]]) -> list[tuple[K, str]]:
    """Of (key, instruction, output) those farthest from what is usual, as `farthest`, and what is strange about each.

    A row is read once and only its figures are kept: there may be many.
    """
    keys: list[K] = []
    table: list[Figures] = []
    for key, instruction, output in rows:
        keys.append(key)
        table.append(figures_of_texts(instruction, output))
    return [(keys[place], why) for place, why in farthest(OF_TEXTS, table)]


def farthest(measures: Sequence[Measure], table: Sequence[Figures]) -> list[tuple[int, str]]:
    """The places of the rows farthest from what is usual here, the farthest first, and what is strange about each.

    At most `MOST`, of rows that are as far an earlier one first; none where nothing is far.
    """
    if len(table) < FEWEST:
        return []
    found: list[tuple[float, int, str]] = []
    distances = [_distances(measure, [row[at] for row in table]) for at, measure in enumerate(measures)]
    for place, marks in enumerate(zip(*distances, strict=True)):
        (far, said), value = max(zip(marks, table[place], strict=True), key=lambda mark: mark[0][0])
        if far > _FAR:
            found.append((-far, place, said.format(value)))
    found.sort()
    return [(place, why) for _, place, why in found[:MOST]]


def _distances(measure: Measure, values: Sequence[float | None]) -> list[tuple[float, str]]:
    """For each row how far it is from the middle, towards a side that means something, and what that is."""
    known = finite(values)
    middle = median(known) if known else 0.0
    # Where most rows are alike in this, a twentieth of the middle is taken for their spread.
    spread = max(_TO_SD * median([abs(value - middle) for value in known]), abs(middle) / 20, 1e-9) if known else 1.0
    return [_distance(measure, value, middle, spread) for value in values]


def _distance(measure: Measure, value: float | None, middle: float, spread: float) -> tuple[float, str]:
    if value is None:
        return 0.0, ""
    said = measure.above if value > middle else measure.below
    return (abs(value - middle) / spread, said) if said else (0.0, "")


def _unlettered(text: str) -> float:
    """The share of what is neither letter nor space."""
    return sum(not (sign.isalpha() or sign.isspace()) for sign in text) / len(text) if text else 0.0
