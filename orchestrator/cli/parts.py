"""The parts, one command each: the local stack, a worker, an orchestrator, migrations, checks."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated

import structlog
import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import exposition, guard, tracing
from db.engine import check_reachable as check_database
from db.engine import open_engine
from db.environment import broker_url, database_url, redis_url
from db.errors import UserError
from db.garbage import collect_rarely
from db.migrate import check_current, is_newer
from db.migrate import migrate as migrate_database
from db.workers import MOST_SLOTS, Identity, alive, refuse_start
from orchestrator import notices, places, stack
from orchestrator.cli.exits import BROKEN
from orchestrator.cli.options import ConfigFile
from orchestrator.cli.say import say
from orchestrator.hints import Hints
from workers.contracts import Kind

Metrics = Annotated[
    str | None, typer.Option("--metrics", help=f"Serve Prometheus figures at PORT or HOST:PORT [{exposition.METRICS}]")
]
Health = Annotated[bool, typer.Option("--health", help="Only say, by the exit code, whether one lives on this host")]


def add_to(app: typer.Typer) -> None:
    for command in (up, down, doctor, calibrate, worker, orchestrator, migrate):
        app.command()(command)


def up(config_file: ConfigFile = None) -> None:
    """Start the local stack, or what is missing of it: PostgreSQL, Valkey, the model, orchestrator and workers."""
    found = places.find_places(config_file, say)
    places.open_places(found)
    if found.local_programs:
        places.ensure_programs(found, say)
    say("up; stop it with `instructree down`")


def down() -> None:
    """Stop everything that the local stack started. Data and logs stay."""
    stopped = stack.down(say=say)
    say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def migrate() -> None:
    """Bring the database that INSTRUCTREE_DATABASE_URL names to this program's schema."""
    engine = open_engine(database_url())
    check_database(engine)
    guard.check_database(engine)
    before, after = migrate_database(engine)
    say(f"schema {after}" + (" already" if before == after else f", was {before or 'empty'}"))


def _possible() -> list[str]:
    """All kinds of task; training only where what it needs is installed, so that it goes to machines that have it."""
    from workers.training.student import missing_packages

    return [kind for kind in Kind if kind is not Kind.TRAIN or not missing_packages()]


def worker(
    queues: Annotated[
        str | None, typer.Option("--queues", help="Kinds of task to take: all that this machine can do, unless named")
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=MOST_SLOTS, help="Tasks at once; `workers --slots` changes it")
    ] = 16,
    metrics: Metrics = None,
    health: Health = False,
) -> None:
    """Take tasks until told to stop (SIGTERM finishes what is in hand)."""
    from workers import app

    names = app.queue_names(queues or ",".join(_possible()))
    address = exposition.wanted(metrics)
    engine = open_engine(database_url())
    check_database(engine)
    if health:
        raise typer.Exit(0 if _lives(engine) else BROKEN)
    with _visibly(engine, Identity.of_this_process(names, slots)):
        check_current(engine)
        _guard(engine, orchestrator=False)
        guard.check_ears(engine, broker_url(), redis_url())
    engine.dispose()
    log_to_stderr()
    app.serve(names, slots, address)


@contextmanager
def _visibly(engine: Engine, worker: Identity) -> Iterator[None]:
    """Who is refused work is in the register with the reason, so that whoever wonders where it is finds it there."""
    try:
        yield
    except UserError as error:
        try:
            with engine.begin() as connection:
                refuse_start(connection, worker, str(error))
        except SQLAlchemyError:
            pass  # a register of another schema: the line on the terminal must do
        raise


def _guard(engine: Engine, *, orchestrator: bool) -> None:
    """Refuses, with a UserError, to begin with anything that would break a law later; says what else is doubtful."""
    for warning in guard.check_start(engine, broker_url(), os.environ, orchestrator=orchestrator, limiter=redis_url()):
        say(f"warning: {warning}")


def _lives(engine: Engine, *, orchestrators: bool = False) -> bool:
    """Whether such a process of this host has shown a sign of life in the database lately.

    A database that was migrated meanwhile is no illness: those of before finish what they have in hand.
    """
    with engine.connect() as connection:
        if not is_newer(connection):
            check_current(engine)
        return bool(alive(connection, hosts=[socket.gethostname()], orchestrators=orchestrators))


def orchestrator(metrics: Metrics = None, health: Health = False) -> None:
    """Drive runs until told to stop."""
    from orchestrator.metrics import Figures
    from orchestrator.service import Orchestrator

    address = exposition.wanted(metrics)
    engine = open_engine(database_url())
    check_database(engine)
    if health:
        raise typer.Exit(0 if _lives(engine, orchestrators=True) else BROKEN)
    check_current(engine)
    channels, stall_s = notices.channels(os.environ), notices.stall_s(os.environ)
    _guard(engine, orchestrator=True)
    served = exposition.Served(address) if address else None
    if served:
        served.put(Figures(engine, broker_url(), redis_url()))
        served.put(exposition.Connections(engine))
    log_to_stderr()
    tracing.begin("orchestrator")
    stop = Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    hints = Hints(broker_url(), redis_url())
    collect_rarely()
    with notices.telling(engine, channels):
        Orchestrator(engine, hints, stall_s=stall_s).serve(stop)
    hints.close()
    tracing.end()
    if served:
        served.end()


def log_to_stderr() -> None:
    """One event a line, as logfmt, on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=os.fdopen(2, "w", buffering=1, closefd=False)),
    )


def calibrate(
    config_file: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output")] = False,
    options: Annotated[list[str] | None, typer.Option("--set", help="One option, as for run")] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="The held-out judge, which no search sees")] = False,
    repeats: Annotated[int, typer.Option("--repeats", min=0, max=3, help="Judge again so often, for the noise")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Write all figures and scores to this JSON file")] = None,
    against: Annotated[Path | None, typer.Option("--against", help="Show the drift since this file of --out")] = None,
) -> None:
    """Measure how well the judge ranks instructions of known order, before anything is spent on a run."""
    from orchestrator.cli.judge import Wanted, calibrate_judge

    wanted = Wanted(as_json=as_json, held_out=held_out, repeats=repeats, out=out, against=against)
    if not calibrate_judge(config_file, options or [], wanted):
        raise typer.Exit(BROKEN)


def doctor(config_file: ConfigFile = None) -> None:
    """Look at every part a run needs, and say what is wrong and how to mend it."""
    from orchestrator.cli.health import examine

    if not examine(config_file):
        raise typer.Exit(BROKEN)
