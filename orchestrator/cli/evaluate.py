"""`instructree evaluate`: what the training of a run did to its student, on instructions kept out of it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from db.records import Run
from orchestrator import places
from orchestrator.cli.look import AsJson, RunName
from orchestrator.cli.options import ConfigFile
from orchestrator.cli.say import print_line, say
from orchestrator.config import present_config
from orchestrator.seeds import load_answered
from orchestrator.steering import find_run
from workers.config import NUSD_PER_USD, WorkSettings
from workers.training.answers import Graded, grade
from workers.training.evaluate import Comparison, compare
from workers.training.folders import student_folder
from workers.training.texts import LessonText

if TYPE_CHECKING:
    from workers.operators.spending import Spent

# An answer, its counterpart, the reference and a stranger's reference; each may be asked about again.
_MARKS = 4
# Below this a judge tells an answer from one to another request hardly more often than chance.
_TELLS_AT_LEAST = 0.7


def add_to(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    name: RunName,
    held_out: Annotated[Path, typer.Option("--held-out", help="Instructions with reference outputs")],
    student: Annotated[Path | None, typer.Option("--student", help="Folder of the student, or of one step")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Measure the first so many only")] = None,
    judge: Annotated[bool, typer.Option("--judge", help="Have the held-out judge grade its answers, too")] = False,
    answer_tokens: Annotated[int, typer.Option("--answer-tokens", min=1, max=4096, help="Most of an answer")] = 128,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The student's loss on held-out reference answers, before training and after; and what a judge says of its own."""
    answered = load_answered(held_out)[:limit]
    texts = [LessonText(instruction=one.instruction, input=one.input, output=one.output) for one in answered]
    with places.existing_engine().connect() as connection:
        run = find_run(connection, name)
    work = present_config(run).work
    environment: dict[str, str] = {}
    if judge:  # before minutes are spent on what could not be graded
        # Not at the top: the client of the models is a third of every command's start.
        from workers.doctor import check_endpoints

        environment = places.model_environment(config, say)
        work = check_endpoints(work, environment, bench=None)
    found = compare(texts, work.student, student or student_folder(run), answer_tokens=answer_tokens if judge else 0)
    graded = asyncio.run(_graded(texts, found, work, environment)) if judge else None
    if as_json:
        print(json.dumps(_row(run, work, found, graded)))
    else:
        _print(found)
        _print_graded(graded)


async def _graded(
    texts: Sequence[LessonText], found: Comparison, work: WorkSettings, environment: dict[str, str]
) -> "tuple[Graded | None, Spent]":
    from workers.operators.spending import open_purse

    before, after = found.written or ([], [])
    most = _MARKS * len(texts) * (1 + work.judges.reasks)
    async with open_purse(work, environment, most) as purse:
        return await grade(texts, before, after, work, purse.ask), purse.spent


def _row(
    run: Run, work: WorkSettings, found: Comparison, graded: "tuple[Graded | None, Spent] | None"
) -> dict[str, object]:
    row = {"name": run.name, "model": work.student.model, **found.row()}
    if graded:
        marks, spent = graded
        row["judged"] = {**(marks.row() if marks else {}), "spent": asdict(spent)}
    return row


def _print(found: Comparison) -> None:
    counts = {"items": found.items, "better": found.better, "answer tokens": found.tokens}
    _tabulate("loss", found, counts, digits=4)
    print_line("nats per token of the reference answers; the interval is a paired bootstrap over the items")
    print_line(f"student after: {found.checkpoint}")
    if found.skipped:
        print_line(f"{found.skipped} items were left out: no room for an answer, or a loss that is not finite")


def _print_graded(graded: "tuple[Graded | None, Spent] | None") -> None:
    if graded is None:
        return
    marks, spent = graded
    if marks is None:
        say("the judge graded no item before and after: see `instructree calibrate --held-out`")
    else:
        _print_marks(marks)
    money = "price unknown" if spent.nusd is None else f"{spent.nusd / NUSD_PER_USD:.4f} USD"
    print_line(f"judging took {spent.calls} calls, {spent.tokens_in + spent.tokens_out} tokens, {money}")


def _print_marks(marks: Graded) -> None:
    counts = {"items": marks.items, "better": marks.better, "worse": marks.worse}
    _tabulate("grade", marks, counts, digits=2)
    print_line("grades 1 to 6 of the student's own answers by the held-out judge, each answer by itself")
    if marks.references is not None and marks.ranks is not None:
        print_line(
            f"the judge itself: reference answers {marks.references:.2f}, "
            f"above another item's in {marks.ranks:.0%} of cases"
        )
        if marks.ranks < _TELLS_AT_LEAST:
            say("this judge hardly tells a right answer from a stranger's: its grades say nothing of the student")
    for reason, count in sorted(marks.unscored.items()):
        print_line(f"{count} answers without a grade, {reason}")


def _tabulate(what: str, found: Comparison | Graded, counts: Mapping[str, int], *, digits: int) -> None:
    """One line: a mean before and after, its change with the interval, and what was counted."""
    table = Table(f"{what} before", "after", "difference", "95 % interval", *counts, box=None)
    means = (f"{value:.{digits}f}" for value in (found.before, found.after))
    interval = f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
    table.add_row(*means, f"{found.difference:+.{digits}f}", interval, *map(str, counts.values()))
    Console(highlight=False).print(table)
