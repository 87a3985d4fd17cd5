"""`instructree change`: caps, limits and prices of a run while it is on."""

import json
from typing import Annotated

import typer

from db.errors import ConfigError
from db.records import Change
from orchestrator.changing import change as change_run
from orchestrator.changing import wanted_of
from orchestrator.cli.figures import change_line
from orchestrator.cli.look import AsJson, RunName
from orchestrator.cli.say import say
from orchestrator.places import existing_engine
from orchestrator.steering import find_run

_NONE = "; `none` takes the cap away"
MaxCalls = Annotated[str | None, typer.Option("--max-calls", metavar="N", help=f"Calls it may pay for in all{_NONE}")]
MaxTokens = Annotated[str | None, typer.Option("--max-tokens", metavar="N", help=f"Tokens it may use in all{_NONE}")]
MaxUsd = Annotated[str | None, typer.Option("--max-usd", metavar="X", help=f"Money it may spend in all{_NONE}")]
MaxHours = Annotated[str | None, typer.Option("--max-hours", metavar="X", help=f"Hours it may be driven{_NONE}")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="endpoints.NAME.TRAIT=VALUE",
        help="concurrency, requests_per_minute, tokens_per_minute (none: no limit), usd_per_million_in or _out",
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command()(change)


def change(
    name: RunName,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    max_hours: MaxHours = None,
    options: Options = None,
    as_json: AsJson = False,
) -> None:
    """Change caps, limits or prices of a run that is on; felt within seconds on all machines.

    Its configuration stays the one it was begun with; what was changed is kept beside it. A run that a cap has stopped
    has ended: give `run` another --name and a higher cap, what was paid for already is not paid for again.
    """
    caps = {"max_calls": max_calls, "max_tokens": max_tokens, "max_usd": max_usd, "max_hours": max_hours}
    wanted = wanted_of(caps, options or [])
    if not wanted:
        raise ConfigError("say what to change: --max-calls, --max-tokens, --max-usd, --max-hours or --set")
    with existing_engine().begin() as connection:
        made = change_run(connection, find_run(connection, name), wanted)
    if as_json:
        print(json.dumps({"name": name, "changes": [one.row() for one in made]}))
    else:
        _tell(name, made)


def _tell(name: str, made: tuple[Change, ...]) -> None:
    for one in made:
        say(f"run {name}: {change_line(one.row())}")
    if not made:
        say(f"run {name}: nothing changed, it is so already")
