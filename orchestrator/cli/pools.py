"""How a run that widens a pool looks: its line, the figures of its panel, and the table of stages at its end."""

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.figures import (
    Status,
    duration,
    eta,
    lasted,
    name_of,
    number,
    paid,
    percent,
    spent_rows,
    usd,
    waiting,
)


def one_line(status: Status) -> str:
    """The run in one line of plain text."""
    pool = status["pool"]
    parts = [
        f"{name_of(status)}: {status['status']}, round {pool['rounds']}",
        f"texts {pool['generated']} ({pool['kept']} kept, {percent(pool['kept_share'])})",
        f"with instances {pool['with_instance']}",
        f"seeds {_seeds(status)}",
        *_student(status),
        f"calls {status['calls']}",
        f"{status['rate']['calls_per_s']:.1f}/s",
    ]
    if status["eta_s"]["high"]:
        parts.append(f"about {eta(status)} left")
    return ", ".join([*parts, *waiting(status)])


def _seeds(status: Status) -> str:
    """The size of the seed pool now, and who came and went."""
    pool = status["pool"]
    entered, left = pool["seeds_entered"], pool["seeds_left"]
    return f"{pool['seeds_now']} (+{entered} -{left})" if entered or left else str(pool["seeds_now"])


def _student(status: Status) -> list[str]:
    """How far training is; nothing where there is none."""
    pool = status["pool"]
    if not pool["steps"]:
        return []
    marked = sum(pool["steps_marked"].values())
    more = f", {marked} of the steps marked" if marked else ""
    return [f"step {pool['steps']} loss {_short(pool['loss'])} norm {_short(pool['gradient_norm'])}{more}"]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def panel_body(status: Status) -> tuple[RenderableType, ...]:
    return _progress(status), Text(""), _figures(status)


def _progress(status: Status) -> Table:
    pool = status["pool"]
    grid = Table.grid(padding=(0, 2))
    target = pool["target"]
    count = f"{pool['kept']} of {target}" if target else str(pool["kept"])
    bar = ProgressBar(total=max(target or 1, 1), completed=min(pool["kept"], target or 0), width=40)
    grid.add_row("kept texts", bar, count)
    return grid


def _figures(status: Status) -> Table:
    table = Table.grid(padding=(0, 3))
    pool = status["pool"]
    total = pool["stages"][-1]
    rows = [
        ("rounds", f"begun {pool['rounds']}", f"done {pool['rounds_done']}"),
        ("texts", f"generated {pool['generated']}", f"kept {pool['kept']} ({percent(pool['kept_share'])})"),
        ("instances", f"good {status['examples']}", f"of {pool['with_instance']} texts"),
        ("seeds", f"now {pool['seeds_now']} of {status['seeds']}", _moved(status)),
        *_lessons(status),
        *spent_rows(status, _each(total["calls_each"], "calls a kept instruction")),
        ("workers", f"{len(status['workers'])} alive", f"{sum(w['busy'] for w in status['workers'])} tasks in hand"),
        ("time", lasted(status), f"left: {eta(status)}"),
    ]
    for name, first, second in rows:
        table.add_row(Text(name, style="dim"), first, second)
    return table


def _moved(status: Status) -> str:
    pool = status["pool"]
    return f"entered {pool['seeds_entered']}, left {pool['seeds_left']}"


def _lessons(status: Status) -> list[tuple[str, str, str]]:
    pool = status["pool"]
    rows = []
    if pool["steps"]:
        figures = f"loss {number(pool['loss'])}, norm {number(pool['gradient_norm'])}, brings {number(pool['brings'])}"
        rows.append(("training", f"steps {pool['steps']}", figures))
    if pool["diversity_within"] is not None:
        within, chance = number(pool["diversity_within"]), number(pool["diversity_random"])
        rows.append(("diversity", f"batches {within}", f"random ones {chance}"))
    return rows


def _each(value: float | None, what: str) -> str:
    return "" if value is None else f"{number(value)} {what}"


def stage_table(status: Status) -> Table:
    """What every stage kept and cost, for one kept instruction too; that is one with a good instance."""
    title = Text(f"{name_of(status)}: {status['status']}")
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("in", "kept", "share", "calls", "tokens", "time", "calls\neach", "tokens\neach", "USD\neach"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in status["pool"]["stages"]:
        if stage["entered"] or stage["seconds"] or stage["stage"] == "total":
            table.add_row(*_cells(stage))
    return table


def _cells(stage: Status) -> list[str]:
    return [
        stage["stage"],
        str(stage["entered"]),
        str(stage["kept"]),
        percent(stage["share"]),
        str(stage["calls"]),
        f"{stage['tokens']:,}",
        duration(stage["seconds"]),
        number(stage["calls_each"]),
        "-" if stage["tokens_each"] is None else f"{stage['tokens_each']:,.0f}",
        _price(stage),
    ]


def _price(stage: Status) -> str:
    """Nothing was kept, or the price is not known: the two are told apart."""
    return "-" if stage["calls_each"] is None else usd(stage["usd_each"])


def ending(status: Status) -> str:
    pool = status["pool"]
    student = "".join(f", {part}" for part in _student(status))
    return (
        f"{pool['rounds']} rounds, {pool['generated']} texts ({pool['kept']} kept), {pool['with_instance']} kept "
        f"instructions with {status['examples']} instances, seeds {_seeds(status)}{student}, {paid(status)}; "
        "each: for one kept instruction with a good instance"
    )
