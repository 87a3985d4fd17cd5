"""Throughput by minute as stacked columns, the axis from zero. Geometry only, in SVG user units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.minutes import Minute
from orchestrator.report.charts import Scale, linear
from orchestrator.report.numbers import nice_step
from orchestrator.report.plots import Level
from orchestrator.report.wording import axis

WIDTH, HEIGHT = 1224.0, 190.0
LEFT, RIGHT, TOP, BASE = 44.0, 1220.0, 8.0, 166.0
# A young run leaves room for what is to come: its columns are no wider than those of an hour's half.
FEWEST_COLUMNS, MOST_COLUMNS = 30, 90
_MOST_LEVELS, _TICK_EVERY = 4, 110.0
_ONE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of a column: what one queue did."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`each`: tasks done a minute, by queue."""

    start: datetime
    x: float
    width: float
    each: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return sum(pace for _, pace in self.each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    x: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`step` is how many minutes a column stands for; `top` the highest pace."""

    kinds: tuple[str, ...]
    boxes: tuple[Box, ...]
    columns: tuple[Column, ...]
    levels: tuple[Level, ...]
    marks: tuple[Mark, ...]
    step: int
    top: float
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    base: float = BASE


def throughput(rows: Sequence[Minute], start: datetime, end: datetime) -> Chart | None:
    """Tasks done a minute between two times, by queue. None where none was."""
    first, last = _minute(start), _minute(end)
    kinds = tuple(sorted({row.kind for row in rows if row.done}))
    if not kinds:
        return None
    count = max(int((last - first) / _ONE) + 1, FEWEST_COLUMNS)
    step = -(-count // MOST_COLUMNS)
    columns = _columns(rows, kinds, first, -(-count // step), step, end)
    top = max(column.total for column in columns)
    high = nice_step(top, _MOST_LEVELS) * -(-top // nice_step(top, _MOST_LEVELS))
    up = linear(0.0, high, BASE, TOP)
    step_up = nice_step(high, _MOST_LEVELS)
    return Chart(
        kinds=kinds,
        boxes=tuple(box for column in columns for box in _boxes(column, up)),
        columns=tuple(columns),
        levels=tuple(Level(y=up(i * step_up), label=axis(i * step_up)) for i in range(round(high / step_up) + 1)),
        marks=tuple(Mark(x=column.x, at=column.start) for column in columns[:: _every(columns)]),
        step=step,
        top=top,
    )


def _minute(when: datetime) -> datetime:
    return when.replace(second=0, microsecond=0)


def _columns(
    rows: Sequence[Minute], kinds: Sequence[str], first: datetime, count: int, step: int, end: datetime
) -> list[Column]:
    done = [dict.fromkeys(kinds, 0) for _ in range(count)]
    for row in rows:
        at = int((row.minute - first) / _ONE) // step
        if 0 <= at < count and row.done:
            done[at][row.kind] += row.done
    across, width = linear(0, count, LEFT + 2, RIGHT), (RIGHT - LEFT - 2) / count
    found = []
    for at, each in enumerate(done):
        start = first + at * step * _ONE
        # The last column is not over yet: what it has is of fewer minutes.
        minutes = min(max((end - start).total_seconds() / 60, 1 / 3), float(step))
        paces = tuple((kind, number / minutes) for kind, number in each.items())
        found.append(Column(start=start, x=across(at), width=round(max(width - 1.5, 0.75), 2), each=paces))
    return found


def _boxes(column: Column, up: Scale) -> list[Box]:
    """One upon the other, in the order of the queues."""
    found, below = list[Box](), 0.0
    for kind, pace in column.each:
        if pace:
            y, foot = up(below + pace), up(below)
            found.append(Box(kind=kind, x=column.x, y=y, width=column.width, height=round(foot - y, 2)))
        below += pace
    return found


def _every(columns: Sequence[Column]) -> int:
    """How many columns lie between two labels of the time axis, so that these do not touch."""
    width = (RIGHT - LEFT) / len(columns)
    return max(1, -(-int(_TICK_EVERY) // max(int(width), 1)))
