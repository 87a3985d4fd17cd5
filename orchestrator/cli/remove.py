"""`instructree remove`: the rows of a run that has ended, taken out of the database."""

import json
import sys
from typing import Annotated

import typer

from db.errors import ConfigError
from orchestrator.cli.exits import INTERRUPTED
from orchestrator.cli.look import AsJson, RunName
from orchestrator.cli.say import say
from orchestrator.places import existing_engine
from orchestrator.removing import Removed, refuse_on
from orchestrator.removing import remove as remove_run
from orchestrator.steering import find_run

WithCalls = Annotated[bool, typer.Option("--calls", help="Its answers in the ledger, too, where no other run has them")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask")]


def add_to(app: typer.Typer) -> None:
    app.command()(remove)


def remove(name: RunName, with_calls: WithCalls = False, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take a run that has ended out of the database for good. Files that it has written stay.

    What it was answered stays in the ledger, free for the next run that asks the same, unless --calls is said.
    """
    engine = existing_engine()
    with engine.connect() as connection:
        refuse_on(find_run(connection, name))
    if not yes:
        _ask(name)
    try:
        removed = remove_run(engine, name, with_calls=with_calls)
    except KeyboardInterrupt:
        say(f"interrupted, run {name} is half removed; go on with: instructree remove {name}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps({"name": name, "rows": removed.rows, "calls_kept": removed.calls_kept}))
    else:
        _tell(name, removed)


def _ask(name: str) -> None:
    """Raises ConfigError where there is nobody to ask, and Exit where the answer is no."""
    if not sys.stdin.isatty():
        raise ConfigError(f"nothing brings run {name!r} back but a backup: say --yes to remove it")
    question = f"Remove run {name} for good? Export its data set and back up the database first, if you may want it"
    if not typer.confirm(question, err=True):
        say(f"run {name} stays as it is")
        raise typer.Exit(INTERRUPTED)


def _tell(name: str, removed: Removed) -> None:
    rows = ", ".join(f"{count:,} {table}" for table, count in removed.rows.items())
    say(f"run {name} is removed: {rows or 'no rows but its own'}")
    if removed.calls_kept:
        say(f"{removed.calls_kept:,} answers stay in the ledger: whoever asks the same is not charged again")
    say("Postgres uses the space again for new rows once it has vacuumed; files of the run are where they were")
