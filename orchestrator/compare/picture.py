"""The picture of a comparison: a row a recipe, a panel a judge, in it a dot with its interval. SVG that loads nothing.

It brings its own paper and ink for light and dark, so that it can be read wherever it is shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from orchestrator.compare.figures import Comparison, Estimate, Standing
from orchestrator.compare.outcome import BENCHES, Setting
from orchestrator.compare.wording import HEADINGS, headline, mean, spoken, spread
from orchestrator.report.charts import Scale, linear, ticks
from orchestrator.report.text import shorten
from workers.config import Bench

WIDTH, MARGIN, NAMES, PANEL, BETWEEN = 952.0, 24.0, 128.0, 376.0, 24.0
TOP, ROW, AXIS = 92.0, 34.0, 30.0
# Of a panel, what the figures at its right edge take.
_FIGURES = 156.0
_DOT = 5.0
_MOST_TICKS = 5

# The colours are the report's.
_STYLE = """
svg { --paper: #ffffff; --ink: #1b1f24; --muted: #5a6472; --faint: #8b95a1; --line: #dde2e8;
--search: #97a1ad; --held_out: #1f66b0; }
@media (prefers-color-scheme: dark) {
svg { --paper: #12161a; --ink: #e4e8ec; --muted: #9da8b4; --faint: #74808c; --line: #2c343c;
--search: #76828f; --held_out: #69b1f0; }
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
.search { stroke: var(--search); fill: var(--search); } .held_out { stroke: var(--held_out); fill: var(--held_out); }
.bar { stroke-width: 3; stroke-linecap: round; }
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One judge's side of the picture."""

    bench: Bench
    left: float
    bottom: float
    scale: Scale
    low: float
    high: float


def picture(comparison: Comparison, setting: Setting) -> str:
    """The whole SVG document, best recipe first by the held-out judge."""
    ranked = comparison.ranked()
    bottom = TOP + ROW * len(ranked)
    height = bottom + AXIS + 46
    said = headline(comparison, setting)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" '
        f'height="{height:g}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(said)}</title>',
        f'<desc id="desc">{escape(_spoken(comparison, ranked))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH:g}" height="{height:g}" rx="6"/>',
        _text(MARGIN, 32, said, "head"),
        *(_text(MARGIN, _middle(row), one.recipe, "name") for row, one in enumerate(ranked)),
    ]
    for place, bench in enumerate(BENCHES):
        left = MARGIN + NAMES + place * (PANEL + BETWEEN)
        parts += _panel(comparison, ranked, _panel_of(comparison, bench, left, bottom))
    parts += [_text(MARGIN, height - 32 + 18 * i, line, "small") for i, line in enumerate(_foot(comparison, setting))]
    return "\n".join([*parts, "</svg>", ""])


def _panel_of(comparison: Comparison, bench: Bench, left: float, bottom: float) -> Panel:
    """The scale holds all recipes; the seeds too, unless they lie so far off that nothing else could be told apart."""
    reach = [end for one in comparison.standings for end in _reach(one.means[bench])]
    low, high = (min(reach), max(reach)) if reach else (0.0, 1.0)
    roots = comparison.roots[bench]
    if roots is not None and max(low - roots.mean, roots.mean - high) <= high - low:
        low, high = min(low, roots.mean), max(high, roots.mean)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    scale = linear(low, high, left + 10, left + PANEL - _FIGURES)
    return Panel(bench=bench, left=left, bottom=bottom, scale=scale, low=low, high=high)


def _reach(found: Estimate | None) -> tuple[float, ...]:
    return () if found is None else (found.mean, *(found.interval or ()))


def _panel(comparison: Comparison, ranked: list[Standing], panel: Panel) -> Iterable[str]:
    title = "Search judge" if panel.bench == "search" else "Held-out judge, which no search saw"
    yield _text(panel.left, TOP - 34, title, "panel")
    for tick in ticks(panel.low, panel.high, _MOST_TICKS, panel.scale):
        yield _line(tick.x, TOP - 8, tick.x, panel.bottom + 4, "grid")
        yield _text(tick.x, panel.bottom + 20, tick.label, "small mid")
    yield from _seeds(comparison.roots[panel.bench], panel)
    for row, one in enumerate(ranked):
        yield from _mark(one.means[panel.bench], _middle(row), panel)


def _seeds(roots: Estimate | None, panel: Panel) -> Iterable[str]:
    """Where the seeds themselves stand: a line, or in words when that is far away."""
    if roots is None:
        return
    if panel.low <= roots.mean <= panel.high:
        x = panel.scale(roots.mean)
        yield _line(x, TOP - 8, x, panel.bottom + 4, "seeds")
        yield _text(x, TOP - 14, "seeds", "small mid")
    else:
        side = "left" if roots.mean < panel.low else "right"
        yield _text(panel.left, TOP - 14, f"seeds {mean(roots)}, far to the {side}", "small")


def _mark(found: Estimate | None, y: float, panel: Panel) -> Iterable[str]:
    right = panel.left + PANEL
    if found is None:
        yield _text(right, y, "no figure", "small end")
        return
    if found.interval is not None:
        low, high = map(panel.scale, found.interval)
        yield _line(low, y - 4.5, high, y - 4.5, f"bar {panel.bench}")
    yield f'<circle class="{panel.bench}" cx="{panel.scale(found.mean):g}" cy="{y - 4.5:g}" r="{_DOT:g}"/>'
    shown = f'{escape(mean(found))} <tspan class="small">{escape(spread(found))}</tspan>'
    yield f'<text class="figure end" x="{right:g}" y="{y:g}">{shown.strip()}</text>'


def _middle(row: int) -> float:
    return TOP + ROW * row + ROW / 2 + 4.5


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def _text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def _foot(comparison: Comparison, setting: Setting) -> list[str]:
    other = ", prompts of its own" if setting.same_model else ""
    evolver, judge, examiner = (
        shorten(spoken(name), 30) for name in (setting.evolver, setting.judge, setting.examiner)
    )
    judges = f"Evolver {evolver}; search judge {judge}; held-out judge {examiner}{other}."
    bars = any(found and found.interval for one in comparison.standings for found in one.means.values())
    shown = "Bars: 95 % bootstrap intervals over seeds. " if bars else ""
    claim = "One run of each recipe: nothing is claimed for other models, seeds or judges."
    return [judges, shown + claim]


def _spoken(comparison: Comparison, ranked: list[Standing]) -> str:
    """What a screen reader says: every figure of the picture, best recipe first."""
    rows = [f"{one.recipe}: {', '.join(_told(one.means[bench], bench) for bench in BENCHES)}" for one in ranked]
    own = ", ".join(_told(comparison.roots[bench], bench) for bench in BENCHES)
    return f"{'; '.join(rows)}. The seeds themselves: {own}."


def _told(found: Estimate | None, bench: Bench) -> str:
    return f"{HEADINGS[bench]} {mean(found)} {spread(found)}".strip()
