"""Driving a run from a terminal, as several commands do: endpoints looked at, run begun, programs started, watched."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer
from sqlalchemy import Engine

from db import runs, workers
from db.engine import AWAY, cause_of
from db.errors import ConfigError, ServiceError
from db.records import Caps, Run
from orchestrator import places
from orchestrator.begin import ENDED, begin
from orchestrator.cli.display import Show, display
from orchestrator.cli.exits import INTERRUPTED
from orchestrator.cli.say import say
from orchestrator.config import RunConfig, TreeConfig
from orchestrator.seeds import Seeds
from orchestrator.status import status_of
from workers.config import Role

_POLL_S = 0.5
_AWAY_S = 3.0
_TEND_S = 15.0
# Nothing on the market costs less or more for a million tokens.
_CHEAPEST, _DEAREST = 0.001, 200.0


def ready(config: RunConfig, environment: Mapping[str, str], caps: Caps) -> RunConfig:
    """The configuration with its models found at their endpoints, all of which answered. Nothing is spent."""
    # Not at the top: the client of the models is half of this command's start, and a refusal need not wait for it.
    from workers.doctor import check_endpoints

    judged = isinstance(config, TreeConfig)
    work = check_endpoints(config.work, environment, bench="search" if judged else None, say=say)
    if isinstance(config, TreeConfig) and config.harvest.held_out:
        work = check_endpoints(work, environment, bench="held_out", say=say)
    if caps.nusd is not None and not work.priced:
        unknown = sorted({work.role(role).endpoint for role in Role if not work.endpoint(role).priced})
        raise ConfigError(
            f"--max-usd needs prices: set endpoints.{unknown[0]}.usd_per_million_in and usd_per_million_out"
        )
    config = config.model_copy(update={"work": work})
    _doubt_prices(config)
    return config


def _doubt_prices(config: RunConfig) -> None:
    """Prices are for a million tokens; one for a thousand, or for one, is a thousand or a million times off."""
    for name, endpoint in config.work.endpoints.items():
        for price in (endpoint.usd_per_million_in, endpoint.usd_per_million_out):
            if price and not _CHEAPEST <= price <= _DEAREST:
                say(f"warning: endpoint {name!r} costs {price:g} USD per million tokens; is the unit right?")


def begin_run(engine: Engine, name: str | None, stem: str, config: RunConfig, seeds: Seeds, caps: Caps) -> Run:
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


def see_through(engine: Engine, found: places.Places, run: Run, *, again: str) -> Run:
    """The run as it ends or pauses; nothing is started for one that has ended. `again`: what goes on with it."""
    if run.status in ENDED:
        return run
    _start_programs(engine, found)
    return _watch(engine, found, run, again=again)


def _start_programs(engine: Engine, found: places.Places) -> None:
    """Orchestrator and workers on this machine, where its stack is used; elsewhere they are somebody else's."""
    if found.local_programs:
        places.ensure_programs(found, say)
        return
    with engine.connect() as connection:
        if not workers.alive(connection):
            say("no worker is alive: start one with `instructree worker` (and one `instructree orchestrator`)")


def _watch(engine: Engine, found: places.Places, begun: Run, *, again: str) -> Run:
    """Shows the run until it ends or pauses, and starts again what dies of it on this machine meanwhile.

    Ctrl-C pauses the run, so that nothing more is asked or spent; `again` is the command that goes on with it.
    """
    tended = time.monotonic()
    with _noted(signal.SIGINT) as interrupted, display() as show:
        while not interrupted:
            run = _look(engine, begun, show)
            if run is not None and run.status != "running":
                return run
            if time.monotonic() - tended >= _TEND_S:
                _tend(found)
                tended = time.monotonic()
            time.sleep(_POLL_S if run else _AWAY_S)
    with engine.begin() as connection:
        runs.interrupt(connection, begun.id)
    say(f"interrupted; go on with: {again}")
    raise typer.Exit(INTERRUPTED)


def _tend(found: places.Places) -> None:
    try:
        places.tend(found, say)
    except ServiceError as error:  # such as a full disk, which somebody may mend
        say(f"{error}; trying again in {_TEND_S:.0f} s")


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


def refuse_unended(run: Run, *, again: str) -> None:
    """Ends the command where a run that nobody drives any more has not come to its end.

    Raises:
        ServiceError: an endpoint is broken.
        ConfigError: the run was cancelled.
        typer.Exit: it is paused; `again` is the command that goes on with it.
    """
    if run.status == "paused":
        if run.reason and run.reason not in ("interrupted", "paused"):
            raise ServiceError(f"run {run.name} is paused: {run.reason}. Mend it, then run the same command again")
        say(f"run {run.name} is paused; go on with: {again}")
        raise typer.Exit(INTERRUPTED)
    if run.status == "cancelled":
        raise ConfigError(f"run {run.name} was cancelled, so there is no data set: choose another --name to run again")
