"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from db.records import Caps
from orchestrator.changing import caps_of

SeedsFile = Annotated[Path, typer.Argument(help="Seeds: .jsonl, .json, .csv, .txt or .parquet", metavar="SEEDS")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run; a known one is continued")]
Recipe = Annotated[str, typer.Option("--recipe", help="How to grow")]
Options = Annotated[list[str] | None, typer.Option("--set", help="One option, such as search.iterations=5")]
MaxUsd = Annotated[float | None, typer.Option("--max-usd", help="Stop before this much money is spent")]
MaxCalls = Annotated[int | None, typer.Option("--max-calls", help="Stop before this many calls are paid")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Stop before this many tokens are used")]
MaxHours = Annotated[float | None, typer.Option("--max-hours", help="Stop growing in time to end by then")]
Field = Annotated[str | None, typer.Option("--field", help="Field of the seeds that holds the instruction")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", envvar="INSTRUCTREE_CONFIG", help="Configuration file (TOML)")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, and nothing else")]


def caps_in(calls: int | None, tokens: int | None, usd: float | None, hours: float | None) -> Caps:
    """Raises ConfigError for a value out of its range."""
    return caps_of({"max_calls": calls, "max_tokens": tokens, "max_usd": usd, "max_hours": hours})
