"""The picture of a comparison of pools: a row an arm; panels for cost, kept share and diversity inside batches."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.compare import drawing
from orchestrator.compare.bootstrap import Estimate
from orchestrator.compare.drawing import BETWEEN, MARGIN, Panel
from orchestrator.compare.pools.figures import Comparison, Standing
from orchestrator.compare.pools.outcome import PoolSetting
from orchestrator.compare.pools.wording import headline
from orchestrator.compare.wording import spoken
from orchestrator.report.text import shorten
from orchestrator.report.wording import number

_PANEL, _FIGURES = 336.0, 156.0
# Of a row: how far apart what counts and what chance makes of it are.
_APART = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one panel shows: a figure of each arm, or why it has `none`, and what chance makes of it where known."""

    title: str
    unit: str
    digits: int
    shown: Mapping[str, Estimate]
    chance: Mapping[str, Estimate]
    none: str = "nothing kept"


def picture(comparison: Comparison, setting: PoolSetting) -> str:
    """The whole SVG document, arms in the order they were named. A panel without any figure is left out."""
    names = [one.arm for one in comparison.standings]
    sides = [side for side in _sides(comparison.standings) if side.shown] or _sides(comparison.standings)[:1]
    left, bottom = MARGIN + drawing.names_width(names), drawing.bottom_of(len(names))
    panels = [_panel_of(side, left + place * (_PANEL + BETWEEN), bottom) for place, side in enumerate(sides)]
    parts = [part for side, panel in zip(sides, panels, strict=True) for part in _panel(side, panel, names)]
    told, foot = _told(names, sides), _foot(setting, sides)
    # A single panel is narrower than what is written above and below it.
    width = max(panels[-1].right + MARGIN, 900.0)
    return drawing.document(headline(comparison, setting), told, names, foot, parts, width=width)


def _sides(standings: Sequence[Standing]) -> list[Side]:
    inside = {one.arm: one.inside for one in standings if one.inside}
    costs = {one.arm: one.costs["instance"]["tokens"].each for one in standings}
    shares = {one.arm: _percent(one.shares["with_instance"]) for one in standings}
    chance = {arm: found.random for arm, found in inside.items()}
    diversity = {arm: found.batches for arm, found in inside.items()}
    return [
        Side(title="Tokens for one kept instruction", unit="", digits=0, shown=_known(costs), chance={}),
        Side(title="Kept share of the texts", unit="%", digits=1, shown=_known(shares), chance={}),
        Side(
            title="Diversity inside batches",
            unit="",
            digits=3,
            shown=diversity,
            chance=_known(chance),
            none="no batches",
        ),
    ]


def _known(figures: Mapping[str, Estimate | None]) -> dict[str, Estimate]:
    return {arm: found for arm, found in figures.items() if found is not None}


def _percent(found: Estimate | None) -> Estimate | None:
    if found is None:
        return None
    ends = found.interval
    interval = None if ends is None else (100 * ends[0], 100 * ends[1])
    return Estimate(mean=100 * found.mean, interval=interval, n=found.n)


def _panel_of(side: Side, left: float, bottom: float) -> Panel:
    ends = [end for found in (*side.shown.values(), *side.chance.values()) for end in drawing.reach(found)] or [
        0.0,
        1.0,
    ]
    return drawing.panel_of(min(ends), max(ends), left=left, width=_PANEL, figures=_FIGURES, bottom=bottom)


def _panel(side: Side, panel: Panel, names: Sequence[str]) -> Iterable[str]:
    yield from drawing.head(panel, side.title)
    for row, name in enumerate(names):
        y, chance = drawing.middle(row), side.chance.get(name)
        if chance is not None:
            yield from drawing.mark(chance, y + _APART, panel, "chance")
        if (found := side.shown.get(name)) is None:
            yield drawing.none(y, panel, side.none)
            continue
        yield from drawing.mark(found, y - (_APART if chance else 0), panel, "kept")
        yield drawing.figure(y, panel, f"{number(found.mean, side.digits)}{side.unit}", _spread(side, found))


def _spread(side: Side, found: Estimate) -> str:
    if found.interval is None:
        return ""
    low, high = (f"{number(end, side.digits)}{side.unit}" for end in found.interval)
    return f"[{low}, {high}]"


def _foot(setting: PoolSetting, sides: Sequence[Side]) -> list[str]:
    generator, responder = (shorten(spoken(name), 30) for name in (setting.generator, setting.responder))
    shown = [found for side in sides for found in side.shown.values()]
    bars = any(found.interval for found in shown)
    batches = any(side.chance for side in sides)
    said = (
        f"Bars: 95 % bootstrap intervals over rounds{', of diversity over batches' if batches else ''}." if bars else ""
    )
    grey = "Grey: random batches of the same texts." if batches else ""
    models = f"Generator {generator}; instances {responder}. Kept: past heuristics and gate, with a good instance."
    claim = "One run of each arm: nothing is claimed for other models or seeds."
    return [models, " ".join(part for part in (said, grey, claim) if part)]


def _told(names: Sequence[str], sides: Sequence[Side]) -> str:
    """What a screen reader says: every figure of the picture."""
    return "; ".join(f"{name}: {', '.join(_figures(name, side) for side in sides)}" for name in names) + "."


def _figures(name: str, side: Side) -> str:
    found, chance = side.shown.get(name), side.chance.get(name)
    if found is None:
        return f"{side.title}: {side.none}"
    beside = f", random {number(chance.mean, side.digits)}" if chance else ""
    return f"{side.title} {number(found.mean, side.digits)}{side.unit} {_spread(side, found)}".strip() + beside
