"""`instructree evaluate`: what the training of a run did to its student, on instructions kept out of it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.look import AsJson, RunName, find_run
from orchestrator.config import frozen_config
from orchestrator.places import existing_engine
from orchestrator.seeds import load_answered
from workers.training.evaluate import Comparison, compare
from workers.training.folders import student_folder
from workers.training.texts import LessonText


def add_to(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    name: RunName,
    held_out: Annotated[
        Path,
        typer.Option("--held-out", help="Instructions with reference outputs"),
    ],
    student: Annotated[Path | None, typer.Option("--student", help="Folder of the student, or of one step")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Measure the first so many only")] = None,
    as_json: AsJson = False,
) -> None:
    """The student's loss on held-out reference answers, before training and after."""
    answered = load_answered(held_out)[:limit]
    texts = [LessonText(instruction=one.instruction, input=one.input, output=one.output) for one in answered]
    with existing_engine().connect() as connection:
        run = find_run(connection, name)
    settings = frozen_config(run).work.student
    found = compare(texts, settings, student or student_folder(run))
    if as_json:
        print(json.dumps({"name": name, "model": settings.model, **found.row()}))
    else:
        _print(found)


def _print(found: Comparison) -> None:
    table = Table("loss before", "after", "difference", "95 % interval", "items", "better", "answer tokens", box=None)
    figures = (f"{found.before:.4f}", f"{found.after:.4f}", f"{found.difference:+.4f}")
    interval = f"{found.low:+.4f} to {found.high:+.4f}"
    table.add_row(*figures, interval, str(found.items), str(found.better), str(found.tokens))
    Console(highlight=False).print(table)
    print("nats per token of the reference answers; the interval is a paired bootstrap over the items")
    print(f"student after: {found.checkpoint}")
    if found.skipped:
        print(f"{found.skipped} items were left out: no room for an answer, or a loss that is not finite")
