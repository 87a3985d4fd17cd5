"""`instructree run`: from seeds to data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from db.errors import ConfigError
from db.records import Caps, Run, Spend
from orchestrator import places
from orchestrator.begin import ENDED, check_name, check_seeds
from orchestrator.budget import least, least_of_pool
from orchestrator.changing import caps_of
from orchestrator.cli.display import summarise
from orchestrator.cli.driving import begin_run, ready, refuse_unended, start_programs, watch
from orchestrator.cli.exits import BUDGET
from orchestrator.cli.options import ConfigFile
from orchestrator.cli.say import say
from orchestrator.config import PoolConfig, RunConfig, TreeConfig, build, read_file
from orchestrator.export import check_folder, rows_of, write, write_text
from orchestrator.generation.settings import POOLS
from orchestrator.operators import mined_warning
from orchestrator.seeds import load_seeds
from orchestrator.status import status_of
from workers.config import NUSD_PER_USD
from workers.training.student import check_student

SeedsFile = Annotated[Path, typer.Argument(help="Seeds: .jsonl, .json, .csv, .txt or .parquet", metavar="SEEDS")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run; a known one is continued")]
Recipe = Annotated[str, typer.Option("--recipe", help="How to grow")]
Options = Annotated[list[str] | None, typer.Option("--set", help="One option, such as search.iterations=5")]
MaxUsd = Annotated[float | None, typer.Option("--max-usd", help="Stop before this much money is spent")]
MaxCalls = Annotated[int | None, typer.Option("--max-calls", help="Stop before this many calls are paid")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Stop before this many tokens are used")]
MaxHours = Annotated[float | None, typer.Option("--max-hours", help="Stop growing in time to end by then")]
Out = Annotated[Path, typer.Option("--out", help="Folder for dataset.jsonl and report.html")]
Field = Annotated[str | None, typer.Option("--field", help="Field of the seeds that holds the instruction")]
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
    caps = _caps(max_calls, max_tokens, max_usd, max_hours)
    check_name(name or None)
    check_folder(out)
    if no_responses and recipe in POOLS:
        raise ConfigError(
            f"--no-responses: the rows of {recipe} are inputs and outputs, there would be none; leave it out"
        )
    chosen = [*(options or []), *(["harvest.responses=false"] if no_responses else [])]
    file = read_file(config_file) if config_file else {}
    config = build(recipe, [places.settings(config_file), file], chosen)
    if isinstance(config, PoolConfig):
        check_seeds(config, seeds)
    own_endpoint = places.has_endpoint(config_file)
    if own_endpoint:  # looked at before anything is started for it
        config = _ready(config, places.model_environment(config_file, say), caps)
    found = places.find_places(config_file, say)
    _warn(config, found)
    engine = places.open_places(found)
    if not own_endpoint:
        config = _ready(config, found.environment(), caps)
    begun = begin_run(engine, name or None, seeds_file.stem, config, seeds, caps)
    if begun.status not in ENDED:
        start_programs(engine, found, begun)
        begun = watch(engine, found, begun, again=f"instructree run ... --name {begun.name}")
    _conclude(engine, begun, out)


def _warn(config: RunConfig, found: places.Places) -> None:
    """What the user should know before anything is spent."""
    if isinstance(config, TreeConfig) and (warning := mined_warning(config.search.operators)):
        say(warning)
    if isinstance(config, PoolConfig) and config.train and found.local_programs:
        check_student(config.work.student)


def _caps(calls: int | None, tokens: int | None, usd: float | None, hours: float | None) -> Caps:
    return caps_of({"max_calls": calls, "max_tokens": tokens, "max_usd": usd, "max_hours": hours})


def _ready(config: RunConfig, environment: Mapping[str, str], caps: Caps) -> RunConfig:
    config = ready(config, environment, caps)
    _refuse_too_little(config, caps)
    return config


def _refuse_too_little(config: RunConfig, caps: Caps) -> None:
    """A cap that not even the first expansion fits under would only end in an empty data set."""
    need = _least(config)
    for option, each, cap, amount in (
        ("--max-calls", 1, caps.calls, need.calls),
        ("--max-tokens", 1, caps.tokens, need.tokens),
        ("--max-usd", NUSD_PER_USD, caps.nusd, need.nusd),
    ):
        if cap is not None and cap < amount:
            raise ConfigError(
                f"{option} {cap / each:.12g}: the first step may need up to {amount / each:.12g}; raise it, or ask for "
                "less (search.children, search.siblings or rounds.shown, roles.*.max_tokens, roles.*.max_prompt_tokens)"
            )


def _least(config: RunConfig) -> Spend:
    if isinstance(config, TreeConfig):
        return least(config.work, config.search.litter, responses=config.harvest.responses)
    assert isinstance(config, PoolConfig)
    return least_of_pool(config.work, config.rounds.shown)


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
