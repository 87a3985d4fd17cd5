"""`instructree workers`: the register of worker processes, and how many tasks each takes at once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db import workers as register
from db.errors import ConfigError
from db.workers import MOST_SLOTS, RefusedRow, WorkerRow
from orchestrator.cli.figures import duration
from orchestrator.cli.options import AsJson
from orchestrator.cli.say import plain, say
from orchestrator.places import existing_engine

_COLUMNS = ("worker", "host", "version", "queues", "slots", "busy", "tasks done", "last beat")


def add_to(app: typer.Typer) -> None:
    app.command()(workers)


def workers(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[WORKER|HOST]...", help="Only these")] = None,
    slots: Annotated[int | None, typer.Option("--slots", min=1, max=MOST_SLOTS, help="Tasks each is to take")] = None,
    as_json: AsJson = False,
) -> None:
    """The living workers: where, of which version, what they take, and how busy; and those that were refused work.

    `--slots N` changes how many tasks each of them takes at once, within seconds; tasks in hand beyond it are finished.
    A worker that is started again begins with the slots it is started with.
    """
    with existing_engine().begin() as connection:
        found = _named(register.alive(connection), ids or [])
        if slots is not None:
            if not found:
                raise ConfigError("no worker is alive: start one with `instructree worker --slots N`")
            register.want_slots(connection, [one.id for one in found], slots)
            found = _named(register.alive(connection), ids or [])
        masters = register.alive(connection, orchestrators=True)
        refused = register.refused(connection)
    if as_json:
        print(json.dumps({name: [asdict(one) for one in rows] for name, rows in _all(found, masters, refused)}))
        return
    if slots is not None:
        say(f"{slots} slots for {', '.join(one.id for one in found)}")
    _print([*map(asdict, found), *map(asdict, masters)], [asdict(one) for one in refused])


def _all(
    found: list[WorkerRow], masters: list[WorkerRow], refused: list[RefusedRow]
) -> Iterable[tuple[str, Sequence[WorkerRow | RefusedRow]]]:
    return ("workers", found), ("orchestrators", masters), ("refused", refused)


def _named(found: list[WorkerRow], ids: Sequence[str]) -> list[WorkerRow]:
    """Those of these names, which are ids or hosts. Raises ConfigError for one that there is not."""
    for name in ids:
        if not any(name in (one.id, one.host) for one in found):
            known = ", ".join(one.id for one in found) or "none is alive"
            raise ConfigError(f"no living worker {name!r}; there are: {known}")
    return [one for one in found if not ids or one.id in ids or one.host in ids]


def _print(found: list[dict[str, Any]], refused: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    console.print(workers_table(found))
    for line in refused_lines(refused):
        console.print(Text(line, style="yellow"), soft_wrap=True)


def workers_table(found: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(*_COLUMNS, box=None)
    for one in found:
        wanted = one["slots_wanted"]
        slots = f"{one['slots']}" if wanted in (None, one["slots"]) else f"{one['slots']} -> {wanted}"
        queues = ", ".join(one["queues"])
        cells = (one["id"], one["host"], one["version"], queues, slots, one["busy"], one["tasks_done"])
        table.add_row(*(Text(plain(str(cell))) for cell in cells), f"{duration(one['silent_s'])} ago")
    return table


def refused_lines(refused: Iterable[Mapping[str, Any]]) -> list[str]:
    """One for each worker that was refused work."""
    return [
        plain(f"refused {duration(one['ago_s'])} ago: {one['version']} on {one['host']}: {one['reason']}")
        for one in refused
    ]
