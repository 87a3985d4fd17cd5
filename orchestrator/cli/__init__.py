"""The command line. Errors that a user can mend end in one line and exit code 2; everything else is a bug and shows."""

import os
import sys

import typer

from db.engine import AWAY, cause_of
from db.errors import UserError
from orchestrator.cli import change, compare, console, estimate, evaluate, look, operators, parts, remove, run, workers
from orchestrator.cli.exits import INTERRUPTED, USAGE
from orchestrator.cli.say import say

app = typer.Typer(
    name="instructree",
    help="Grows instruction-tuning data by tree search or from a pool, with every row accounted for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
run.add_to(app)
estimate.add_to(app)
compare.add_to(app)
evaluate.add_to(app)
look.add_to(app)
change.add_to(app)
remove.add_to(app)
parts.add_to(app)
workers.add_to(app)
console.add_to(app)
operators.add_to(app)


def main() -> None:
    """Entry point of the `instructree` script."""
    try:
        app()
    except UserError as error:
        say(f"instructree: {error}")
        sys.exit(USAGE)
    except AWAY as error:
        say(f"instructree: the database gave no answer ({cause_of(error)}): give the command again")
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has left; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
