"""Geometry of the charts over rounds and steps, in SVG user units (one is a CSS pixel)."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.report.charts import Bar, Scale, Tick, linear, ticks
from orchestrator.report.numbers import finite
from orchestrator.report.wording import axis

WIDTH, HEIGHT = 480.0, 190.0
LEFT, RIGHT, TOP, BASE = 44.0, 472.0, 10.0, 166.0
_MOST_X, _MOST_Y = 8, 5
_WIDEST = 28.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A line across the chart and the figure beside it."""

    y: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`path` joins neighbours that both have a value; every value has its dot."""

    name: str
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars, lines, or both over one axis. `crosses` stand where there is something, but no value."""

    levels: tuple[Level, ...]
    ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    crosses: tuple[float, ...] = ()
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    base: float = BASE


Span = tuple[int, int]


def share_bars(spans: Sequence[Span], shares: Sequence[float | None]) -> Plot | None:
    """A bar from nothing to its share, at most 1, for each span of whole numbers. None without any share."""
    if not finite(shares):
        return None
    first, last = spans[0][0], spans[-1][1]
    across, up = linear(first - 0.5, last + 0.5, LEFT, RIGHT), linear(0.0, 1.0, BASE, TOP)
    return Plot(
        levels=tuple(Level(y=up(part), label=f"{part:.0%}") for part in (0.0, 0.25, 0.5, 0.75, 1.0)),
        ticks=_whole_ticks(first, last, across),
        bars=tuple(
            _bar(low, high, share, across, up)
            for (low, high), share in zip(spans, shares, strict=True)
            if share is not None
        ),
    )


def _bar(low: int, high: int, share: float, across: Scale, up: Scale) -> Bar:
    """In the middle of its span, with a gap to its neighbours where there is room for one."""
    full = across(high + 0.5) - across(low - 0.5)
    width = round(max(0.75, min(full - 1 if full > 4 else full, _WIDEST)), 2)
    x = round(across((low + high) / 2) - width / 2, 2)
    return Bar(x=x, y=up(share), width=width, height=round(BASE - up(share), 2))


def lines(
    spans: Sequence[Span], series: Sequence[tuple[str, Sequence[float | None]]], *, marked: Sequence[bool] = ()
) -> Plot | None:
    """One line for each series, on a scale that holds all their values. None where nothing is to be drawn."""
    values = finite(value for _, row in series for value in row)
    if not values and not any(marked):
        return None
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    low, high = low - room * (3 if any(marked) else 1), high + room  # crosses stand under the lines
    first, last = spans[0][0], spans[-1][1]
    across, up = linear(first, max(last, first + 1), LEFT + 8, RIGHT - 4), linear(low, high, BASE, TOP)
    middles = [across((one + other) / 2) for one, other in spans]
    return Plot(
        levels=tuple(Level(y=tick.x, label=tick.label) for tick in ticks(low, high, _MOST_Y, up)),
        ticks=_whole_ticks(first, last, across),
        lines=tuple(_line(name, middles, row, up) for name, row in series),
        crosses=tuple(x for x, is_marked in zip(middles, marked, strict=False) if is_marked),
    )


def _line(name: str, middles: Sequence[float], row: Sequence[float | None], up: Scale) -> Line:
    dots: list[tuple[float, float]] = []
    path, joined = "", False
    for x, value in zip(middles, row, strict=True):
        there = finite([value])
        if there:
            dots.append((x, up(there[0])))
            # A stretch of no length, with round ends, is a dot: a value between two gaps is seen.
            path += f"L{x},{up(there[0])}" if joined else f"M{x},{up(there[0])}h0"
        joined = bool(there)
    return Line(name=name, path=path, dots=tuple(dots))


def _whole_ticks(first: int, last: int, across: Scale) -> tuple[Tick, ...]:
    found = ticks(first, last, _MOST_X, across)
    if last - first < _MOST_X:
        return tuple(Tick(x=across(value), label=axis(value)) for value in range(first, last + 1))
    return found
