"""`instructree run`: from seeds to data set."""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from db.errors import ConfigError
from db.records import Run
from orchestrator.begin import check_name
from orchestrator.cli.display import summarise
from orchestrator.cli.driving import begin_run, refuse_unended, see_through
from orchestrator.cli.exits import BUDGET
from orchestrator.cli.options import (
    ConfigFile,
    Field,
    MaxCalls,
    MaxHours,
    MaxTokens,
    MaxUsd,
    Name,
    Options,
    Recipe,
    SeedsFile,
    caps_in,
)
from orchestrator.cli.preparing import prepare
from orchestrator.cli.say import say
from orchestrator.export import check_folder, rows_of, write, write_text
from orchestrator.generation.settings import POOLS
from orchestrator.seeds import load_seeds
from orchestrator.status import status_of

Out = Annotated[Path, typer.Option("--out", help="Folder for dataset.jsonl and report.html")]
NoResponses = Annotated[bool, typer.Option("--no-responses", help="Leave the outputs out")]


def add_to(app: typer.Typer) -> None:
    app.command()(run)


def run(
    seeds_file: SeedsFile,
    name: Name = None,
    recipe: Recipe = "idea-mcts",
    config_file: ConfigFile = None,
    options: Options = None,
    max_usd: MaxUsd = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_hours: MaxHours = None,
    out: Out = Path("out"),
    field: Field = None,
    no_responses: NoResponses = False,
) -> None:
    """Grow a data set from seeds, or continue a run. Writes OUT/dataset.jsonl and OUT/report.html."""
    seeds = load_seeds(seeds_file, field)
    caps = caps_in(max_calls, max_tokens, max_usd, max_hours)
    check_name(name or None)
    check_folder(out)
    if no_responses and recipe in POOLS:
        raise ConfigError(
            f"--no-responses: the rows of {recipe} are inputs and outputs, there would be none; leave it out"
        )
    chosen = [*(options or []), *(["harvest.responses=false"] if no_responses else [])]
    made = prepare(recipe, config_file, chosen, seeds, caps)
    begun = begin_run(made.engine, name or None, seeds_file.stem, made.config, seeds, caps)
    over = see_through(made.engine, made.found, begun, again=f"instructree run ... --name {begun.name}")
    _conclude(made.engine, over, out)


def _conclude(engine: Engine, run: Run, out: Path) -> None:
    """Writes data set and report, sums up, and ends with the exit code that fits."""
    from orchestrator.story import report_of  # draws charts with a library that takes its time to load

    refuse_unended(run, again=f"instructree resume {run.name}")
    with engine.connect() as connection:
        count = write(rows_of(connection, run), "jsonl", out / "dataset.jsonl")
        write_text(report_of(connection, run), out / "report.html")
        summarise(status_of(connection, run))
    say(f"{count} examples in {out / 'dataset.jsonl'}, the story of the run in {out / 'report.html'}")
    if run.status == "stopped":
        say(f"stopped by its budget: {run.reason}; raise the cap under another --name, or export what there is")
        raise typer.Exit(BUDGET)
