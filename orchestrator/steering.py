"""Finding a run and steering it: what the command line and the console have in common. Callers own the transaction."""

from sqlalchemy import Connection

from db import removal, runs, tasks
from db.errors import ConfigError
from db.records import Run
from orchestrator.changing import refuse_ended


def find_run(connection: Connection, name: str) -> Run:
    """Raises ConfigError, naming runs there are, when there is no such run."""
    run = runs.by_name(connection, name)
    if run is None:
        known = runs.names(connection)[:5]
        raise ConfigError(
            f"no run {name!r}" + (f"; the latest are {', '.join(known)}" if known else "; there is none yet")
        )
    return run


def whole_run(connection: Connection, name: str) -> Run:
    """The run, for whoever needs all of its rows. Raises ConfigError when some were removed, or there is none."""
    run = find_run(connection, name)
    if run.reason == removal.MARK:
        raise ConfigError(f"run {name!r} is half removed: end that with `instructree remove {name}`")
    return run


def open_run(connection: Connection, name: str) -> Run:
    """The run, locked until the transaction ends. Raises ConfigError when it has ended, or there is none."""
    run = runs.lock(connection, find_run(connection, name).id)
    refuse_ended(run)
    return run


def pause(connection: Connection, name: str) -> None:
    """Stops asking for more, on all machines. Calls in flight are finished and kept.

    A run that is paused already keeps the reason why.
    """
    run = open_run(connection, name)
    if run.status != "paused":
        runs.set_status(connection, run.id, "paused", reason="paused")


def resume(connection: Connection, name: str) -> None:
    """Goes on with a paused run; what failed in vain meanwhile is forgiven."""
    run = open_run(connection, name)
    tasks.forgive(connection, run.id)
    runs.set_status(connection, run.id, "running", reason=None)


def cancel(connection: Connection, name: str) -> None:
    """Ends a run for good. What it has grown stays."""
    runs.cancel(connection, open_run(connection, name).id)
