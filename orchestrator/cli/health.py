"""`instructree doctor`: every part looked at, each in a line, with the cure for what is wrong."""

import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from db import environment, guard, workers
from db.engine import check_reachable, open_engine
from db.errors import UserError
from db.guard import Finding
from db.migrate import check_current
from db.notices import how_long
from orchestrator import notices, outages, places, stack
from orchestrator.cli.say import print_line
from orchestrator.config import build, read_file
from workers.doctor import check_endpoints, check_worker_settings

_LEAST_FREE_BYTES = 1 << 30


def examine(config_file: Path | None) -> bool:
    """Prints one line a part, and one for each doubt about it. Returns whether all are well."""
    local = stack.find()
    database = environment.read(environment.DATABASE) or (local.database_url if local else None)
    limits = environment.read(environment.REDIS) or (local.redis_url if local else None)
    checks: list[tuple[str, Callable[[], str | Finding]]] = [
        ("disk", _disk),
        ("libraries", guard.check_libraries),
        ("settings", check_worker_settings),
        ("configuration", lambda: _configuration(config_file)),
        ("database", lambda: _database(database)),
        ("broker", lambda: _broker(limits)),
        ("models", lambda: _models(config_file, local)),
        ("notices", _notices),
        ("workers", lambda: _workers(database)),
    ]
    found = [_look(name, check) for name, check in checks]
    for service in stack.statuses():
        state = "answers" if service.healthy else "runs, does not answer" if service.alive else "is dead"
        print_line(f"      {service.name} (pid {service.pid}) {state}; log {service.log}")
    return all(found)


def _look(name: str, check: Callable[[], str | Finding]) -> bool:
    try:
        found = check()
    except UserError as error:
        print_line(f"wrong {name}: {error}")
        return False
    seen = found if isinstance(found, Finding) else Finding(said=found)
    print_line(f"ok    {name}: {seen.said}")
    for warning in seen.warnings:
        print_line(f"doubt {name}: {warning}")
    return True


def _disk() -> str:
    folder = stack.locate_home()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < _LEAST_FREE_BYTES:
        raise UserError(f"{free >> 20} MiB free for {folder}: make room, or set INSTRUCTREE_HOME to another place")
    return f"{free >> 30} GiB free for {folder}"


def _configuration(config_file: Path | None) -> str:
    file = read_file(config_file) if config_file else {}
    config = build("idea-mcts", [places.settings(config_file), file])
    return f"{config_file or 'defaults'}, digest {config.digest()}"


def _database(url: str | None) -> Finding:
    engine = open_engine(url or environment.database_url())
    check_reachable(engine)
    seen = guard.check_database(engine)
    check_current(engine)
    return Finding(said=f"answers, with this program's schema; {seen.said}", warnings=seen.warnings)


def _broker(limits: str | None) -> Finding:
    limits = limits or environment.redis_url()
    seen = guard.check_broker(environment.read(environment.BROKER) or limits, os.environ, limits)
    return Finding(said=f"answers; {seen.said}", warnings=seen.warnings)


def _models(config_file: Path | None, local: stack.Stack | None) -> str:
    file = read_file(config_file) if config_file else {}
    config = build("idea-mcts", [places.settings(config_file), file])
    env = {**os.environ, **places.program_env(config_file, local, places.has_endpoint(config_file))}
    work = check_endpoints(config.work, env)
    return ", ".join(f"{name}: {endpoint.model}" for name, endpoint in work.endpoints.items())


def _notices() -> str:
    found = [channel.place for channel in notices.channels(os.environ)]
    after_s = notices.stall_s(os.environ)
    stall = "neither a stall nor an endpoint that is down is told" if after_s is None else _patience(after_s)
    if not found:
        return f"nobody is told of a run's end: set {notices.WEBHOOK} or {notices.COMMAND} for that"
    return f"{', '.join(found)}; {stall}"


def _patience(stall_s: float) -> str:
    down = how_long(outages.patience_s(stall_s))
    return f"an endpoint that is down after {down} (or two of its timeouts), a stall after {how_long(stall_s)}"


def _workers(url: str | None) -> Finding:
    engine = open_engine(url or environment.database_url())
    check_reachable(engine)
    check_current(engine)
    with engine.connect() as connection:
        alive = workers.alive(connection)
        seen = guard.check_company(connection, version("instructree"), orchestrator=True)
    if not alive:
        raise UserError("none is alive: start one with `instructree worker`, or all parts with `instructree up`")
    said = ", ".join(f"{worker.id} ({worker.slots} slots)" for worker in alive)
    return Finding(said=f"{said}; {seen.said}", warnings=seen.warnings)
