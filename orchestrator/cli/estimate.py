"""`instructree estimate`: what a run will come to, told from a small one, before anything big is spent."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.begin import check_name
from orchestrator.cli.driving import begin_run, refuse_unended, see_through
from orchestrator.cli.figures import duration, usd
from orchestrator.cli.options import (
    AsJson,
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
from orchestrator.cli.say import print_line
from orchestrator.seeds import load_seeds

# Fewer give no interval (`orchestrator.compare.bootstrap`).
_FEWEST = 5

Sample = Annotated[
    int | None,
    typer.Option("--sample", min=_FEWEST, help="Seeds to grow for it (24 unless told); of a pool, rounds (8)"),
]


def add_to(app: typer.Typer) -> None:
    app.command()(estimate)


def estimate(
    seeds_file: SeedsFile,
    name: Name = None,
    recipe: Recipe = "idea-mcts",
    config_file: ConfigFile = None,
    options: Options = None,
    max_usd: MaxUsd = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_hours: MaxHours = None,
    sample: Sample = None,
    field: Field = None,
    as_json: AsJson = False,
) -> None:
    """What a run with these options will come to: a small run of the same kind first, then calls, tokens, money, hours.

    Caps hold for the small run, and it is said whether the whole one would reach them.
    """
    # Not at the top: figures need a library that takes its time to load, and a refusal need not wait for it.
    from orchestrator.estimating import small, told

    seeds = load_seeds(seeds_file, field)
    caps = caps_in(max_calls, max_tokens, max_usd, max_hours)
    check_name(name or None)
    made = prepare(recipe, config_file, options or [], seeds, caps)
    config, few = small(made.config, seeds, sample)
    run = begin_run(made.engine, name or None, f"{seeds_file.stem}-estimate", config, few, caps)
    run = see_through(made.engine, made.found, run, again="the same command")
    refuse_unended(run, again="the same command")
    with made.engine.connect() as connection:
        found = told(connection, run, made.config, len(seeds.seeds))
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)


def _print(found: Mapping[str, Any]) -> None:
    spent = found["spent"]
    table = Table(box=None, padding=(0, 2), title=f"by {found['of']} {found['unit']}", title_justify="left")
    for heading in ("", "low", "about", "high"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in ("calls", "tokens", "rows"):
        table.add_row(name, *(_whole(found[name][end]) for end in ("low", "mean", "high")))
    money = found["usd"] or {}
    table.add_row("USD", *(usd(money.get(end)) for end in ("low", "mean", "high")))
    table.add_row("time", *(_time(found["hours"].get(end)) for end in ("low", "mean", "high")))
    Console(highlight=False).print(table)
    print_line(
        f"the small run, {found['run']}, took {spent['calls']} calls, {spent['tokens']:,} tokens, "
        f"{usd(spent['usd'])} USD, {duration(spent['seconds'])}"
    )
    print_line("time: from all slots busy all the time, to no more calls at once than in the small run")
    for cap in found["caps"]:
        print_line(cap)


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _time(hours: float | None) -> str:
    return "-" if hours is None else duration(hours * 3600)
