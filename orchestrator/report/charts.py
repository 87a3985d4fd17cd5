"""Geometry of the small charts, in SVG user units (one is a CSS pixel)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from orchestrator.report.model import Bin, Distribution, OperatorGain, Stats
from orchestrator.report.numbers import finite, nice_step
from orchestrator.report.wording import axis

WIDTH, STRIP, GAP, AXIS, MARGIN = 260.0, 54.0, 18.0, 20.0, 6.0
WHISKER_WIDTH = 150.0

Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One histogram: bars are shares of its own group, so that 40 seeds and 400 examples can be compared."""

    name: str
    base: float
    bars: tuple[Bar, ...]
    mean_x: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Two strips over one axis."""

    width: float
    height: float
    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A mean with its spread (one sd each way) and, from five values on, the 95 % interval of the mean."""

    mean: float
    spread: tuple[float, float] | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whiskers:
    """What all rows share, and one mark a row (None without a mean)."""

    width: float
    zero: float
    ticks: tuple[Tick, ...]
    marks: tuple[Whisker | None, ...]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    span = high - low or 1.0
    return lambda value: round(start + (value - low) / span * (end - start), 2)


def ticks(low: float, high: float, most: int, scale: Scale) -> tuple[Tick, ...]:
    """Round numbers within the range; an empty range has the one."""
    if high <= low:
        return (Tick(x=scale(low), label=axis(low)),)
    step = nice_step(high - low, most)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return tuple(Tick(x=scale(i * step), label=axis(i * step)) for i in range(first, last + 1))


def histogram(found: Distribution) -> Histogram | None:
    """None if nothing has this score."""
    if not found.bins:
        return None
    low, high = found.bins[0].low, found.bins[-1].high
    scale = linear(low, high, MARGIN, WIDTH - MARGIN)
    shares = [[b.seeds / max(1, found.seeds.n) for b in found.bins]]
    shares.append([b.harvest / max(1, found.harvest.n) for b in found.bins])
    top = max(max(shares[0]), max(shares[1]))
    strips = (
        _strip("seeds", GAP + STRIP, found.bins, shares[0], top, found.seeds, scale),
        _strip("harvest", 2 * (GAP + STRIP), found.bins, shares[1], top, found.harvest, scale),
    )
    height = 2 * (GAP + STRIP) + AXIS
    return Histogram(width=WIDTH, height=height, strips=strips, ticks=ticks(low, high, 7, scale))


def _strip(
    name: str, base: float, bins: Sequence[Bin], shares: list[float], top: float, stats: Stats, scale: Scale
) -> Strip:
    bars = tuple(
        Bar(
            x=scale(b.low) + 0.5,
            y=round(base - share / top * STRIP, 2),
            width=max(1.0, round(scale(b.high) - scale(b.low) - 1, 2)),
            height=round(share / top * STRIP, 2),
        )
        for b, share in zip(bins, shares, strict=True)
        if share > 0
    )
    return Strip(name=name, base=base, bars=bars, mean_x=None if stats.mean is None else scale(stats.mean))


def whiskers(gains: Iterable[OperatorGain]) -> Whiskers | None:
    """Mean gain in reward of every operator on one scale that holds zero. None if there is no gain to draw."""
    stats = [gain.gains["reward"] for gain in gains]
    reach = finite(end for found in stats if found.mean is not None for end in _reach(found))
    if not reach:
        return None
    low, high = min(0.0, *reach), max(0.0, *reach)
    scale = linear(low, high, 8, WHISKER_WIDTH - 8)
    return Whiskers(
        width=WHISKER_WIDTH,
        zero=scale(0.0),
        ticks=ticks(low, high, 5, scale),
        marks=tuple(_whisker(found, scale) for found in stats),
    )


def _reach(found: Stats) -> tuple[float, float]:
    mean, spread = found.mean or 0.0, found.sd or 0.0
    return mean - spread, mean + spread


def _whisker(found: Stats, scale: Scale) -> Whisker | None:
    if found.mean is None:
        return None
    half = found.half_interval
    low, high = _reach(found)
    return Whisker(
        mean=scale(found.mean),
        spread=None if found.sd is None else (scale(low), scale(high)),
        interval=None if half is None else (scale(found.mean - half), scale(found.mean + half)),
    )
