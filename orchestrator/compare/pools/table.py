"""The tables of a comparison of pools: on a terminal, and as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from orchestrator.compare.pools.figures import PASSED, UNITS, Comparison, Standing
from orchestrator.compare.pools.outcome import PoolSetting
from orchestrator.compare.pools.wording import (
    each,
    headline,
    notes,
    of_each,
    of_over,
    of_share,
    over,
    share,
    spread,
)
from orchestrator.compare.table import escape
from orchestrator.generation.stages import Basis, Row, Stage
from orchestrator.report.wording import NONE, dollars, duration, number, percent, signed

_PICTURE = "compare.svg"
_WIDE = 118
# Only where a student is trained.
_TAUGHT = (Stage.EMBED, Stage.TRAIN)

# A figure, and what belongs below it.
Cell = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table. `narrow`: so many of its columns fit on any screen. `named`: so many columns on the left are words."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    narrow: int
    named: int = 1


def sheets(comparison: Comparison) -> list[Sheet]:
    """What was kept, what it cost, by stage, and batches where there are any."""
    costs = [_cost(comparison, "instance", "kept instruction"), _cost(comparison, "gate", "text past the gate")]
    found = [_kept(comparison), *costs, _stages(comparison)]
    taught = any(one.inside or one.training for one in comparison.standings)
    return [*found, _taught(comparison)] if taught else found


def terminal(comparison: Comparison, setting: PoolSetting, width: int) -> list[Table]:
    """Intervals are below their figures; narrow screens do not see everything."""
    tables = [_drawn(sheet, None if width >= _WIDE else sheet.narrow) for sheet in sheets(comparison)]
    tables[0].title = Text(f"{headline(comparison, setting)}\n\n{tables[0].title}", "bold")
    return tables


def _drawn(sheet: Sheet, most: int | None) -> Table:
    title = Text(sheet.title, "bold")
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for place, heading in enumerate(sheet.headings[:most]):
        named = place < sheet.named
        table.add_column(heading, justify="left" if named else "right", no_wrap=named)
    for row in sheet.rows:
        below = any(second for _, second in row[:most])
        table.add_row(*(Text.assemble(one, (f"\n{two}" if below else "", "dim")) for one, two in row[:most]))
    return table


def markdown(comparison: Comparison, setting: PoolSetting) -> str:
    """The whole comparison as a document: tables, picture, notes."""
    lines = [f"# {headline(comparison, setting)}", ""]
    for place, sheet in enumerate(sheets(comparison)):
        lines += [f"## {sheet.title}", "", *_rows(sheet), ""]
        if place == 2:
            lines += [f"![Each arm's cost and share of kept instructions, with intervals]({_PICTURE})", ""]
    for note in notes(comparison, setting, escape):
        lines += [note, ""]
    return "\n".join(lines)


def _rows(sheet: Sheet) -> Iterator[str]:
    yield f"| {' | '.join(sheet.headings)} |"
    yield f"|{'---|' * sheet.named}{'---:|' * (len(sheet.headings) - sheet.named)}"
    for row in sheet.rows:
        yield f"| {' | '.join(' '.join(part for part in cell if part) for cell in row)} |"


def _kept(comparison: Comparison) -> Sheet:
    headings = ("arm", "rounds", "prompts", "texts", "after heuristics", "after the gate", "with an instance")
    rows = tuple(_kept_row(one) for one in comparison.standings)
    return Sheet(title="Texts that were kept, of those generated", headings=headings, rows=rows, narrow=7)


def _kept_row(one: Standing) -> tuple[Cell, ...]:
    lost = f"({one.lost:,} lost)" if one.lost else ""
    counted = [(getattr(one.counts, name), one.shares[name]) for name in PASSED]
    passed = [(f"{count:,} ({share(found)})", of_share(found)) for count, found in counted]
    plain = [(f"{one.rounds:,}", ""), (f"{one.prompts:,}", lost), (f"{one.counts.generated:,}", "")]
    return ((one.arm, ""), *plain, *passed)


def _cost(comparison: Comparison, basis: Basis, what: str) -> Sheet:
    ahead = "over baseline"
    rows = tuple(_cost_row(one, comparison.baseline, basis) for one in comparison.standings)
    headings = ("arm", "calls used", "calls each", ahead, "tokens each", ahead, "USD each", ahead)
    return Sheet(title=f"What one {what} cost", headings=headings, rows=rows, narrow=6)


def _cost_row(one: Standing, baseline: str, basis: Basis) -> tuple[Cell, ...]:
    cells: list[Cell] = [(one.arm, ""), (f"{one.calls:,}", "")]
    for unit in UNITS:
        cost = one.costs[basis][unit]
        cells.append((_money(one) if unit == "nusd" and cost.each is None else each(unit, cost), of_each(unit, cost)))
        cells.append(("baseline", "") if one.arm == baseline else (over(cost), of_over(cost)))
    return tuple(cells)


def _money(one: Standing) -> str:
    """Why there is no cost in money: a price is not known, or nothing was kept."""
    return dollars(None) if one.stages[-1].spend.nusd is None else NONE


def _stages(comparison: Comparison) -> Sheet:
    headings = (
        *("arm", "stage", "texts in", "kept", "calls a kept one", "tokens a kept one", "time a kept one"),
        *("calls", "tokens", "USD", "time"),
    )
    rows = tuple(
        (((one.arm if not place else ""), ""), *_stage_row(row))
        for one in comparison.standings
        for place, row in enumerate(_shown(one))
    )
    return Sheet(
        title="By stage, for one instruction with a good instance", headings=headings, rows=rows, narrow=7, named=2
    )


def _shown(one: Standing) -> list[Row]:
    return [row for row in one.stages if row.stage not in _TAUGHT or one.inside or one.training]


def _stage_row(row: Row) -> tuple[Cell, ...]:
    spend, asks = row.spend, row.spend.calls > 0
    per = row.each
    figures = (
        f"{row.entered:,}",
        f"{row.kept:,} ({percent(row.share)})",
        number(per.calls if per and asks else None),
        number(per.tokens if per and asks else None, 0),
        duration(per.seconds if per else None),
        f"{spend.calls:,}" if asks else NONE,
        f"{spend.tokens:,}" if asks else NONE,
        dollars(spend.nusd) if asks else NONE,
        duration(spend.seconds),
    )
    return ((str(row.stage or "all"), ""), *((figure, "") for figure in figures))


def _taught(comparison: Comparison) -> Sheet:
    headings = (
        *("arm", "batches", "diversity inside", "random ones", "difference"),
        *("steps", "loss, first → last quarter", "gradient norm", "seeds", "entered", "left"),
    )
    rows = tuple(_taught_row(one) for one in comparison.standings)
    return Sheet(title="Batches and training", headings=headings, rows=rows, narrow=5)


def _taught_row(one: Standing) -> tuple[Cell, ...]:
    return ((one.arm, ""), *_inside_cells(one), *_training_cells(one), *_seed_cells(one))


def _inside_cells(one: Standing) -> Sequence[Cell]:
    found = one.inside
    if found is None:
        return [(NONE, "")] * 4
    chance, gain = found.random, found.gain
    return [
        (f"{found.batches.n:,}", ""),
        (number(found.batches.mean, 3), spread(found.batches, _thousandths)),
        (number(chance.mean if chance else None, 3), spread(chance, _thousandths)),
        (signed(gain.mean if gain else None, 3), spread(gain, lambda value: signed(value, 3))),
    ]


def _thousandths(value: float) -> str:
    return number(value, 3)


def _training_cells(one: Standing) -> Sequence[Cell]:
    found = one.training
    if found is None:
        return [(NONE, "")] * 3
    marked = f"({found.marked:,} marked)" if found.marked else ""
    losses = f"{number(found.first_loss)} → {number(found.last_loss)}"
    return [(f"{found.steps:,}", marked), (losses, ""), (number(found.norm), "")]


def _seed_cells(one: Standing) -> Sequence[Cell]:
    return [(f"{count:,}", "") for count in (one.seeds, one.entered, one.left)]
