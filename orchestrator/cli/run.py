"""`instructree run`: from seeds to data set."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from db import runs, workers
from db.engine import AWAY, cause_of
from db.errors import ConfigError, ServiceError
from db.records import Caps, Run
from orchestrator import places
from orchestrator.begin import ENDED, begin, check_name
from orchestrator.budget import least
from orchestrator.cli.display import Show, display, summarise
from orchestrator.cli.exits import BUDGET, INTERRUPTED
from orchestrator.cli.options import ConfigFile
from orchestrator.cli.say import say
from orchestrator.config import RunConfig, build, read_file
from orchestrator.export import check_folder, rows_of, write, write_text
from orchestrator.seeds import Seeds, load_seeds
from orchestrator.status import status_of
from workers.config import NUSD_PER_USD, Role

_POLL_S = 0.5
_AWAY_S = 3.0
# Nothing on the market costs less or more for a million tokens.
_CHEAPEST, _DEAREST = 0.001, 200.0

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
    chosen = [*(options or []), *(["harvest.responses=false"] if no_responses else [])]
    file = read_file(config_file) if config_file else {}
    config = build(recipe, [places.settings(config_file), file], chosen)
    own_endpoint = places.has_endpoint(config_file)
    if own_endpoint:  # looked at before anything is started for it
        config = _ready(config, places.model_environment(config_file, say), caps)
    found = places.find_places(config_file, say)
    engine = places.open_places(found)
    if not own_endpoint:
        config = _ready(config, found.environment(), caps)
    begun = _begin(engine, name or None, seeds_file.stem, config, seeds, caps)
    if begun.status not in ENDED:
        _start_programs(engine, found, begun)
        begun = _watch(engine, begun)
    _conclude(engine, begun, out)


def _caps(calls: int | None, tokens: int | None, usd: float | None, hours: float | None) -> Caps:
    given = (("--max-calls", calls, 10**12), ("--max-tokens", tokens, 10**15), ("--max-usd", usd, 10**8))
    for option, value, most in (*given, ("--max-hours", hours, 10**5)):
        if value is not None and not 0 < value <= most:
            raise ConfigError(f"{option} {value}: must be above 0 and at most {most:,}")
    return Caps(
        calls=calls,
        tokens=tokens,
        nusd=None if usd is None else int(usd * NUSD_PER_USD),
        seconds=None if hours is None else hours * 3600,
    )


def _ready(config: RunConfig, environment: Mapping[str, str], caps: Caps) -> RunConfig:
    """The configuration with its models found at their endpoints, all of which answered. Nothing is spent."""
    # Not at the top: the client of the models is half of this command's start, and a refusal need not wait for it.
    from workers.doctor import check_endpoints

    work = check_endpoints(config.work, environment)
    if caps.nusd is not None and not work.priced:
        unknown = sorted({work.role(role).endpoint for role in Role if not work.endpoint(role).priced})
        raise ConfigError(
            f"--max-usd needs prices: set endpoints.{unknown[0]}.usd_per_million_in and usd_per_million_out"
        )
    config = config.model_copy(update={"work": work})
    _doubt_prices(config)
    _refuse_too_little(config, caps)
    return config


def _doubt_prices(config: RunConfig) -> None:
    """Prices are for a million tokens; one for a thousand, or for one, is a thousand or a million times off."""
    for name, endpoint in config.work.endpoints.items():
        for price in (endpoint.usd_per_million_in, endpoint.usd_per_million_out):
            if price and not _CHEAPEST <= price <= _DEAREST:
                say(f"warning: endpoint {name!r} costs {price:g} USD per million tokens; is the unit right?")


def _refuse_too_little(config: RunConfig, caps: Caps) -> None:
    """A cap that not even the first expansion fits under would only end in an empty data set."""
    need = least(config.work, config.search.children, responses=config.harvest.responses)
    for option, cap, amount in (
        ("--max-calls", caps.calls, f"{need.calls}"),
        ("--max-tokens", caps.tokens, f"{need.tokens}"),
        ("--max-usd", None if caps.nusd is None else caps.nusd / NUSD_PER_USD, f"{need.nusd / NUSD_PER_USD:.4f}"),
    ):
        if cap is not None and cap < float(amount):
            raise ConfigError(
                f"{option} {cap}: one expansion may need up to {amount}; raise it, or ask for less "
                "(search.children, roles.*.max_tokens, roles.*.max_prompt_tokens)"
            )


def _begin(engine: Engine, name: str | None, stem: str, config: RunConfig, seeds: Seeds, caps: Caps) -> Run:
    with engine.begin() as connection:
        begun = begin(connection, name=name, stem=stem, config=config, seeds=seeds, caps=caps)
    run = begun.run
    if begun.fresh:
        extra = f", {seeds.duplicates} duplicates left out" if seeds.duplicates else ""
        say(f"run {run.name}: {len(seeds.seeds)} seeds{extra}, recipe {run.recipe}")
    elif run.status in ENDED:
        say(f"run {run.name} has ended already ({run.status}); choose another --name to run again")
    else:
        say(f"continuing run {run.name}")
    return run


def _start_programs(engine: Engine, found: places.Places, begun: Run) -> None:
    """Orchestrator and workers on this machine, where its stack is used; elsewhere they are somebody else's."""
    if found.local_programs:
        places.ensure_programs(found, say)
        return
    with engine.connect() as connection:
        if not workers.alive(connection):
            say("no worker is alive: start one with `instructree worker` (and one `instructree orchestrator`)")


def _watch(engine: Engine, begun: Run) -> Run:
    """Shows the run until it ends or pauses. Ctrl-C pauses it, so that nothing more is asked or spent."""
    with _noted(signal.SIGINT) as interrupted, display() as show:
        while not interrupted:
            run = _look(engine, begun, show)
            if run is not None and run.status != "running":
                return run
            time.sleep(_POLL_S if run else _AWAY_S)
    with engine.begin() as connection:
        runs.interrupt(connection, begun.id)
    say(f"interrupted; go on with: instructree run ... --name {begun.name}")
    raise typer.Exit(INTERRUPTED)


@contextmanager
def _noted(number: int) -> Iterator[list[int]]:
    """What came of this signal. An exception in its place may be raised, and lost, in the depths of any library."""
    came: list[int] = []
    before = signal.signal(number, lambda received, _: came.append(received))
    try:
        yield came
    finally:
        signal.signal(number, before)


def _look(engine: Engine, begun: Run, show: Show) -> Run | None:
    """Shows the run as it is; None while the database is away: the run waits for it too, and goes on."""
    try:
        with engine.connect() as connection:
            run = runs.by_id(connection, begun.id)
            show(status_of(connection, run))
            return run
    except AWAY as error:
        say(f"the database is away ({cause_of(error)}); waiting for it")
        return None


def _conclude(engine: Engine, run: Run, out: Path) -> None:
    """Writes data set and report, sums up, and ends with the exit code that fits."""
    from orchestrator.story import report_of  # draws charts with a library that takes its time to load

    if run.status == "paused":
        if run.reason and run.reason not in ("interrupted", "paused"):
            raise ServiceError(f"run {run.name} is paused: {run.reason}. Mend it, then run the same command again")
        say(f"run {run.name} is paused; go on with: instructree resume {run.name}")
        raise typer.Exit(INTERRUPTED)
    if run.status == "cancelled":
        raise ConfigError(f"run {run.name} was cancelled, so there is no data set: choose another --name to run again")
    with engine.connect() as connection:
        count = write(rows_of(connection, run), "jsonl", out / "dataset.jsonl")
        write_text(report_of(connection, run), out / "report.html")
        summarise(status_of(connection, run))
    say(f"{count} examples in {out / 'dataset.jsonl'}, the story of the run in {out / 'report.html'}")
    if run.status == "stopped":
        say(f"stopped by its budget: {run.reason}; raise the cap under another --name, or export what there is")
        raise typer.Exit(BUDGET)
