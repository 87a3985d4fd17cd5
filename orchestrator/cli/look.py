"""Commands that look at a run, steer it, or take its results: status, verify, export, pause, resume, cancel."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sqlalchemy import Connection, Engine

from db import laws, runs
from db.engine import AWAY, cause_of
from db.errors import ConfigError
from db.records import Run
from orchestrator import places, steering
from orchestrator.begin import ENDED
from orchestrator.cli.display import Status, one_line, panel, result_line
from orchestrator.cli.exits import BROKEN
from orchestrator.cli.options import AsJson as AsJson
from orchestrator.cli.say import plain, print_line, say
from orchestrator.cli.workers import refused_lines, workers_table
from orchestrator.export import FORMATS, rows_of, write
from orchestrator.places import existing_engine
from orchestrator.status import light_status, status_of
from orchestrator.steering import find_run, whole_run

RunName = Annotated[str, typer.Argument(metavar="RUN")]


def add_to(app: typer.Typer) -> None:
    for command in (status, verify, export, pause, resume, cancel):
        app.command()(command)


def status(
    name: Annotated[str | None, typer.Argument(metavar="[RUN]")] = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking")] = False,
) -> None:
    """How runs are getting on: progress, rates, spend, failures by reason, workers."""
    if watch and (name is None or as_json):
        raise ConfigError("--watch shows one run as it goes: name the run, and leave --json out")
    engine = existing_engine()
    if name is None:
        _list_runs(engine, as_json)
    elif watch:
        _watch(engine, name)
    else:
        with engine.connect() as connection:
            found = status_of(connection, find_run(connection, name))
        _print_status(found, as_json)


def _print_status(found: dict[str, object], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found))
        return
    console = Console(highlight=False)
    console.print(panel(found))
    console.print(workers_table(found["workers"]))  # type: ignore[arg-type]  # status_of gives a list of objects
    for line in refused_lines(found["refused"]):  # type: ignore[arg-type]
        console.print(Text(line, style="yellow"))


def _list_runs(engine: Engine, as_json: bool) -> None:
    with engine.connect() as connection:
        found = [find_run(connection, name) for name in runs.names(connection)]
        if as_json:
            print(json.dumps({"runs": [status_of(connection, run) for run in found]}))
            return
        for run in found:
            print_line(_line(connection, run))
    if not found:
        print_line("no runs yet: start one with `instructree run SEEDS`")


def _line(connection: Connection, run: Run) -> str:
    """Of runs that are over, which are ever more, only what they came to."""
    if run.status in ENDED:
        return result_line(light_status(connection, run))
    return one_line(status_of(connection, run))


def _watch(engine: Engine, name: str) -> None:
    with Live(refresh_per_second=2) as live:
        while True:
            found = look(engine, name)
            live.update(found if isinstance(found, Text) else panel(found))
            if not isinstance(found, Text) and found["status"] in ENDED:
                return
            time.sleep(1)


def look(engine: Engine, name: str) -> Status | Text:
    """The run's status, or why there is none just now."""
    try:
        with engine.connect() as connection:
            return status_of(connection, find_run(connection, name))
    except AWAY as error:
        return Text(plain(f"the database is away ({cause_of(error)}); waiting for it"))


def verify(name: RunName, as_json: AsJson = False) -> None:
    """Recount every law from the rows. Exit code 1 if one is broken."""
    engine, secrets = existing_engine(), places.secrets()
    with engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        found = laws.masked(laws.recount(connection, whole_run(connection, name).id), secrets)
        found[laws.NO_SECRETS] = laws.leaks(connection, secrets)
    broken = {law: faults for law, faults in found.items() if faults}
    if as_json:
        print(json.dumps({"name": name, "laws": len(found), "broken": broken}))
    else:
        for law, faults in found.items():
            print_line(f"{'broken' if faults else 'holds '}  {law}")
            for fault in faults:
                print_line(f"          {fault}")
    if broken:
        raise typer.Exit(BROKEN)


def export(
    name: RunName,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "jsonl",
    out: Annotated[Path, typer.Option("--out", help="File to write")] = Path("dataset.jsonl"),
) -> None:
    """Write the data set of a run in a trainer's own format."""
    with existing_engine().connect() as connection:
        count = write(rows_of(connection, whole_run(connection, name)), form, out)
    say(f"{count} examples in {out}")


def pause(name: RunName) -> None:
    """Stop asking for more, on all machines. Calls in flight are finished and kept."""
    with existing_engine().begin() as connection:
        steering.pause(connection, name)
    say(f"run {name} is paused")


def resume(name: RunName) -> None:
    """Go on with a paused run."""
    with existing_engine().begin() as connection:
        steering.resume(connection, name)
    say(f"run {name} is running")


def cancel(name: RunName) -> None:
    """End a run for good. What it has grown stays."""
    with existing_engine().begin() as connection:
        steering.cancel(connection, name)
    say(f"run {name} is cancelled")
