"""The table of a comparison: on a terminal, and as Markdown."""

import re

from rich.table import Table
from rich.text import Text

from orchestrator.compare.figures import Comparison, Standing
from orchestrator.compare.outcome import BENCHES, Setting
from orchestrator.compare.wording import HEADINGS, calls_per_seed, headline, lead, mean, notes, spread
from orchestrator.report.wording import NONE, duration, number

_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")
_PICTURE = "compare.svg"
_WIDE = 118


def terminal(comparison: Comparison, setting: Setting, width: int) -> Table:
    """Best first, by the held-out judge; below each figure its interval. Narrow screens do not see what it took."""
    shown = None if width >= _WIDE else 1 + 2 * len(BENCHES)
    title = Text(headline(comparison, setting), "bold")
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in _headings(comparison)[:shown]:
        table.add_column(heading, justify="left" if heading == "recipe" else "right", no_wrap=heading == "recipe")
    for one in comparison.ranked():
        cells = _cells(comparison, one)[:shown]
        table.add_row(*(Text.assemble(first, (f"\n{second}", "dim")) for first, second in cells))
    return table


def _headings(comparison: Comparison) -> list[str]:
    judged = [text for bench in BENCHES for text in (HEADINGS[bench], f"over {comparison.baseline}")]
    return ["recipe", *judged, "calls a tree", "scored", "time"]


def _cells(comparison: Comparison, one: Standing) -> list[tuple[str, str]]:
    """Each cell's figure, and what belongs below it."""
    judged: list[tuple[str, str]] = []
    for bench in BENCHES:
        found, ahead = one.means[bench], one.leads[bench]
        judged.append((mean(found), spread(found)))
        base = one.recipe == comparison.baseline
        judged.append(("baseline", "") if base else (lead(ahead), spread(ahead.over if ahead else None, sign=True)))
    rate = NONE if one.calls_per_s is None else f"{number(one.calls_per_s, 1)} paid/s"
    lost = f", {one.lost} lost" if one.lost else ""
    return [
        (one.recipe, ""),
        *judged,
        (number(calls_per_seed(one), 1), ""),
        (f"{one.scored:,}", f"{one.rejected:,} rejected{lost}"),
        (duration(one.seconds), rate),
    ]


def markdown(comparison: Comparison, setting: Setting) -> str:
    """The whole comparison as a document: table, picture, notes."""
    headings = _headings(comparison)
    lines = [
        f"# {headline(comparison, setting)}",
        "",
        f"| {' | '.join(headings)} |",
        f"|---|{'---:|' * (len(headings) - 1)}",
        *(_row(comparison, one) for one in comparison.ranked()),
        "",
        f"![Each recipe's mean reward with its interval, by the search judge and by the held-out judge]({_PICTURE})",
        "",
    ]
    for note in notes(comparison, setting, escape):
        lines += [note, ""]
    return "\n".join(lines)


def _row(comparison: Comparison, one: Standing) -> str:
    return f"| {' | '.join(_joined(*cell) for cell in _cells(comparison, one))} |"


def _joined(first: str, second: str) -> str:
    """An interval follows its figure; anything else is a further figure."""
    return first + ("" if not second else f" {second}" if second.startswith("[") else f", {second}")


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no end of a cell."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)
