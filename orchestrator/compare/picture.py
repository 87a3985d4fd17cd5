"""The picture of a comparison of trees: a row an arm, a panel a judge."""

from collections.abc import Iterable

from orchestrator.compare import drawing
from orchestrator.compare.bootstrap import Estimate
from orchestrator.compare.drawing import BETWEEN, MARGIN, TOP, Panel
from orchestrator.compare.figures import Comparison, Standing
from orchestrator.compare.outcome import BENCHES, Setting
from orchestrator.compare.wording import HEADINGS, headline, mean, spoken, spread
from orchestrator.report.text import shorten
from workers.config import Bench

_PANEL = 376.0
# Of a panel, what the figures at its right edge take.
_FIGURES = 156.0


def picture(comparison: Comparison, setting: Setting) -> str:
    """The whole SVG document, best recipe first by the held-out judge."""
    ranked = comparison.ranked()
    names = [one.recipe for one in ranked]
    left = MARGIN + drawing.names_width(names)
    panels = [
        _panel_of(comparison, bench, left + place * (_PANEL + BETWEEN), drawing.bottom_of(len(ranked)))
        for place, bench in enumerate(BENCHES)
    ]
    parts = [
        part for bench, panel in zip(BENCHES, panels, strict=True) for part in _panel(comparison, ranked, panel, bench)
    ]
    told, foot = _spoken(comparison, ranked), _foot(comparison, setting)
    return drawing.document(headline(comparison, setting), told, names, foot, parts, width=panels[-1].right + MARGIN)


def _panel_of(comparison: Comparison, bench: Bench, left: float, bottom: float) -> Panel:
    """The scale holds all recipes; the seeds too, unless they lie so far off that nothing else could be told apart."""
    reach = [end for one in comparison.standings for end in drawing.reach(one.means[bench])]
    low, high = (min(reach), max(reach)) if reach else (0.0, 1.0)
    roots = comparison.roots[bench]
    if roots is not None and max(low - roots.mean, roots.mean - high) <= high - low:
        low, high = min(low, roots.mean), max(high, roots.mean)
    return drawing.panel_of(low, high, left=left, width=_PANEL, figures=_FIGURES, bottom=bottom)


def _panel(comparison: Comparison, ranked: list[Standing], panel: Panel, bench: Bench) -> Iterable[str]:
    yield from drawing.head(panel, "Search judge" if bench == "search" else "Held-out judge, which no search saw")
    yield from _seeds(comparison.roots[bench], panel)
    for row, one in enumerate(ranked):
        yield from _mark(one.means[bench], drawing.middle(row), panel, bench)


def _seeds(roots: Estimate | None, panel: Panel) -> Iterable[str]:
    """Where the seeds themselves stand: a line, or in words when that is far away."""
    if roots is None:
        return
    if panel.low <= roots.mean <= panel.high:
        x = panel.scale(roots.mean)
        yield drawing.line(x, TOP - 8, x, panel.bottom + 4, "seeds")
        yield drawing.text(x, TOP - 14, "seeds", "small mid")
    else:
        side = "left" if roots.mean < panel.low else "right"
        yield drawing.text(panel.left, TOP - 14, f"seeds {mean(roots)}, far to the {side}", "small")


def _mark(found: Estimate | None, y: float, panel: Panel, bench: Bench) -> Iterable[str]:
    if found is None:
        yield drawing.none(y, panel)
        return
    yield from drawing.mark(found, y, panel, bench)
    yield drawing.figure(y, panel, mean(found), spread(found))


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
