"""How a run looks while it runs: a live panel on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli import pools
from orchestrator.cli.figures import (
    Show,
    Status,
    because,
    change_line,
    clock,
    duration,
    eta,
    lasted,
    name_of,
    number,
    paid,
    spent_rows,
    untold,
    usd,
    waiting,
)
from orchestrator.cli.say import plain, say

__all__ = ["Show", "Status", "display", "duration", "eta", "one_line", "panel", "result_line", "summarise", "usd"]

_LINE_EVERY_S = 5.0
# So many of the latest changes are shown.
_CHANGES = 5


@contextmanager
def display() -> Iterator[Show]:
    """Gives a function that shows one status; call it as often as you like."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain()
        return
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        yield lambda status: live.update(panel(status))


def _plain() -> Show:
    last = ""
    due = 0.0

    def show(status: Status) -> None:
        nonlocal last, due
        now, line = time.monotonic(), one_line(status)
        if line != last and (now >= due or status["status"] != "running"):
            say(line)
            last, due = line, now + _LINE_EVERY_S

    return show


def one_line(status: Status) -> str:
    """The run in one line of plain text."""
    if status.get("pool"):
        return pools.one_line(status)
    parts = [
        f"{name_of(status)}: {status['status']}, {status['phase']}",
        f"trees {status['trees_done']}/{status['seeds']}",
        f"nodes {status['nodes']} ({status['nodes_scored']} scored, {status['nodes_rejected']} rejected)",
        f"reward {number(status['mean_seed']['reward'])} -> {number(_grown(status)['reward'])}",
        f"calls {status['calls']}",
        f"{status['rate']['calls_per_s']:.1f}/s",
        f"examples {status['examples']}",
    ]
    if status["eta_s"]["high"]:
        parts.append(f"about {eta(status)} left")
    return ", ".join([*parts, *waiting(status)])


def result_line(status: Status) -> str:
    """What a run that is over came to, in one line of plain text. A light status is enough."""
    if pool := status["pool"]:
        came_to = f"rounds {pool['rounds_done']}, texts kept {pool['kept']}"
    else:
        came_to = f"trees {status['trees_done']}/{status['seeds']}, examples {status['examples']}"
    return ", ".join([f"{name_of(status)}: {status['status']}, {came_to}", *because(status)])


def _grown(status: Status) -> Mapping[str, float | None]:
    """The harvest's means, or those of all evolved nodes while there is no harvest."""
    harvest: Mapping[str, float | None] = status["mean_harvest"]
    evolved: Mapping[str, float | None] = status["mean_evolved"]
    return harvest if harvest["reward"] is not None else evolved


def panel(status: Status) -> Panel:
    """The run as a panel of figures."""
    upper = pools.panel_body(status) if status.get("pool") else (_progress(status), Text(""), _figures(status))
    body = Group(*upper, *_failures(status), *_changes(status), *_warnings(status))
    title = Text.assemble((name_of(status), "bold"), f"  {status['recipe']}  {status['status']}")
    return Panel(body, title=title, title_align="left", border_style="dim", padding=(1, 2))


def _progress(status: Status) -> Table:
    responding = status["phase"] != "growing"
    waiting = status["examples_pending"]
    settled = status["examples"] + status["examples_failed"] + status["examples_rejected"]
    done = settled if responding else status["trees_done"]
    total = done + waiting if responding else status["seeds"]
    grid = Table.grid(padding=(0, 2))
    what = "responses" if responding else "trees"
    grid.add_row(what, ProgressBar(total=max(total, 1), completed=done, width=40), f"{done} of {total}")
    return grid


def _figures(status: Status) -> Table:
    table = Table.grid(padding=(0, 3))
    before, after = status["mean_seed"], _grown(status)
    rows = [
        ("reward", f"seeds {number(before['reward'])}", f"grown {number(after['reward'])}"),
        ("trees", f"open {status['trees_open']}", f"done {status['trees_done']} of {status['seeds']}"),
        ("nodes", f"scored {status['nodes_scored']}", f"rejected {status['nodes_rejected']}"),
        *spent_rows(status),
        ("workers", f"{len(status['workers'])} alive", f"{sum(w['busy'] for w in status['workers'])} tasks in hand"),
        ("time", lasted(status), f"left: {eta(status)}"),
    ]
    for name, first, second in rows:
        table.add_row(Text(name, style="dim"), first, second)
    return table


def _failures(status: Status) -> list[Text]:
    if not status["failures"]:
        return []
    listed = ", ".join(f"{reason} {count}" for reason, count in list(status["failures"].items())[:6])
    return [Text(""), Text(plain(f"turned down: {listed}"), style="dim")]


def _changes(status: Status) -> list[Text]:
    made = status.get("changes", [])
    before = [f"and {len(made) - _CHANGES} before"] if len(made) > _CHANGES else []
    lines = [*(f"{clock(one['at'])}  {change_line(one)}" for one in made[-_CHANGES:]), *before]
    return (
        [Text(""), Text("changed while it was on:", style="dim"), *(Text(line, style="dim") for line in lines)]
        if made
        else []
    )


def _warnings(status: Status) -> list[Text]:
    return [text for line in (*waiting(status), *untold(status)) for text in (Text(""), Text(line, style="yellow"))]


def summarise(status: Status) -> None:
    """The end of a run: what came of it, on standard error."""
    console = Console(stderr=True, highlight=False)
    is_pool = bool(status.get("pool"))
    console.print(pools.stage_table(status) if is_pool else _change(status))
    console.print(pools.ending(status) if is_pool else _ending(status), soft_wrap=True)


def _change(status: Status) -> Table:
    table = Table(title=Text(f"{name_of(status)}: {status['status']}"), title_justify="left", box=None, padding=(0, 2))
    for heading in ("", "seeds", "harvest", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in ("quality", "diversity", "complexity", "reward"):
        before, after = status["mean_seed"][name], status["mean_harvest"][name]
        change = "-" if before is None or after is None else f"{after - before:+.2f}"
        table.add_row(name, number(before), number(after), change)
    return table


def _ending(status: Status) -> str:
    return (
        f"{status['trees_done']} trees, {status['nodes']} nodes ({status['nodes_rejected']} rejected, "
        f"{status['nodes_unscored']} unscored), {paid(status)}"
    )
