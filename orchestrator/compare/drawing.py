"""What the pictures of a comparison share: a row an arm, a panel a figure, in it a dot with its interval.

SVG that loads nothing. It brings its own paper and ink for light and dark, so that it can be read wherever it is shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from orchestrator.compare.bootstrap import Estimate
from orchestrator.report.charts import Scale, linear, ticks
from orchestrator.report.text import shorten

MARGIN, BETWEEN = 24.0, 24.0
TOP, ROW, AXIS = 92.0, 34.0, 30.0
_DOT = 5.0
_MOST_TICKS = 5
# Of names: the least, for a letter of the font in use, and so many letters at the most.
_NAMES, _LETTER, _LONGEST = 128.0, 7.4, 34

# The colours are the report's. `first` is what was chosen by, or chance; `second` is what counts.
_STYLE = """
svg { --paper: #ffffff; --ink: #1b1f24; --muted: #5a6472; --faint: #8b95a1; --line: #dde2e8;
--first: #97a1ad; --second: #1f66b0; }
@media (prefers-color-scheme: dark) {
svg { --paper: #12161a; --ink: #e4e8ec; --muted: #9da8b4; --faint: #74808c; --line: #2c343c;
--first: #76828f; --second: #69b1f0; }
}
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
fill: var(--muted); font-variant-numeric: tabular-nums; }
.head { font-size: 16px; font-weight: 650; fill: var(--ink); }
.panel { font-weight: 650; fill: var(--ink); }
.name, .figure { fill: var(--ink); }
.small { font-size: 12px; fill: var(--muted); }
.end { text-anchor: end; } .mid { text-anchor: middle; }
.paper { fill: var(--paper); }
.grid { stroke: var(--line); } .seeds { stroke: var(--faint); stroke-dasharray: 3 3; }
.search, .chance { stroke: var(--first); fill: var(--first); }
.held_out, .kept { stroke: var(--second); fill: var(--second); }
.bar { stroke-width: 3; stroke-linecap: round; }
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure's side of the picture, from `left` to `right`; its rows end at `bottom`."""

    left: float
    right: float
    bottom: float
    scale: Scale
    low: float
    high: float


def panel_of(low: float, high: float, *, left: float, width: float, figures: float, bottom: float) -> Panel:
    """A panel whose scale holds `low` to `high`, and leaves room for `figures` at its right edge."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    scale = linear(low, high, left + 10, left + width - figures)
    return Panel(left=left, right=left + width, bottom=bottom, scale=scale, low=low, high=high)


def document(
    title: str, told: str, names: Sequence[str], foot: Sequence[str], parts: Iterable[str], *, width: float
) -> str:
    """The whole SVG document: heading, names of the rows, panels, foot."""
    height = bottom_of(len(names)) + AXIS + 10 + 18 * len(foot)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(told)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width:g}" height="{height:g}" rx="6"/>',
        text(MARGIN, 32, title, "head"),
        *(text(MARGIN, middle(row), shorten(name, _LONGEST), "name") for row, name in enumerate(names)),
        *parts,
        *(text(MARGIN, height - 14 - 18 * i, line, "small") for i, line in enumerate(reversed(foot))),
    ]
    return "\n".join([*lines, "</svg>", ""])


def names_width(names: Iterable[str]) -> float:
    """What the longest of the names takes, the space after it included."""
    return max(_NAMES, 16 + _LETTER * max(min(len(name), _LONGEST) for name in names))


def bottom_of(rows: int) -> float:
    return TOP + ROW * rows


def reach(found: Estimate | None) -> tuple[float, ...]:
    """All that a panel must hold of a figure."""
    return () if found is None else (found.mean, *(found.interval or ()))


def head(panel: Panel, title: str) -> Iterable[str]:
    """A panel's title and its grid."""
    yield text(panel.left, TOP - 34, title, "panel")
    for tick in ticks(panel.low, panel.high, _MOST_TICKS, panel.scale):
        yield line(tick.x, TOP - 8, tick.x, panel.bottom + 4, "grid")
        yield text(tick.x, panel.bottom + 20, tick.label, "small mid")


def mark(found: Estimate, y: float, panel: Panel, style: str) -> Iterable[str]:
    """The interval, where there is one, and the dot."""
    if found.interval is not None:
        low, high = map(panel.scale, found.interval)
        yield line(low, y - 4.5, high, y - 4.5, f"bar {style}")
    yield f'<circle class="{style}" cx="{panel.scale(found.mean):g}" cy="{y - 4.5:g}" r="{_DOT:g}"/>'


def figure(y: float, panel: Panel, shown: str, spread: str) -> str:
    """The figure at the right edge, with its interval."""
    words = f'{escape(shown)} <tspan class="small">{escape(spread)}</tspan>' if spread else escape(shown)
    return f'<text class="figure end" x="{panel.right:g}" y="{y:g}">{words}</text>'


def none(y: float, panel: Panel, why: str = "no figure") -> str:
    return text(panel.right, y, why, "small end")


def middle(row: int) -> float:
    """Where the words of a row stand."""
    return TOP + ROW * row + ROW / 2 + 4.5


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(words)}</text>'
