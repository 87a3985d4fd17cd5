"""`instructree doctor`: every part looked at, each in a line, with the cure for what is wrong."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from db import environment, workers
from db.engine import check_reachable, open_engine
from db.errors import UserError
from db.migrate import check_current
from orchestrator import places, stack
from orchestrator.config import build, read_file
from orchestrator.hints import check_broker
from workers.doctor import check_endpoints

_LEAST_FREE_BYTES = 1 << 30


def examine(config_file: Path | None) -> bool:
    """Prints one line a part. Returns whether all are well."""
    local = stack.find()
    database = environment.read(environment.DATABASE) or (local.database_url if local else None)
    broker = environment.read(environment.BROKER) or (local.redis_url if local else None)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("disk", _disk),
        ("configuration", lambda: _configuration(config_file)),
        ("database", lambda: _database(database)),
        ("broker", lambda: _broker(broker)),
        ("models", lambda: _models(config_file, local)),
        ("workers", lambda: _workers(database)),
    ]
    found = [_look(name, check) for name, check in checks]
    for service in stack.statuses():
        state = "answers" if service.healthy else "runs, does not answer" if service.alive else "is dead"
        print(f"      {service.name} (pid {service.pid}) {state}; log {service.log}")
    return all(found)


def _look(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok    {name}: {check()}")
    except UserError as error:
        print(f"wrong {name}: {error}")
        return False
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


def _database(url: str | None) -> str:
    engine = open_engine(url or environment.database_url())
    check_reachable(engine)
    check_current(engine)
    return "answers, with this program's schema"


def _broker(url: str | None) -> str:
    check_broker(url or environment.broker_url())
    return "answers"


def _models(config_file: Path | None, local: stack.Stack | None) -> str:
    file = read_file(config_file) if config_file else {}
    config = build("idea-mcts", [places.settings(config_file), file])
    env = {**os.environ, **places.program_env(config_file, local, places.has_endpoint(config_file))}
    work = check_endpoints(config.work, env)
    return ", ".join(f"{name}: {endpoint.model}" for name, endpoint in work.endpoints.items())


def _workers(url: str | None) -> str:
    engine = open_engine(url or environment.database_url())
    check_reachable(engine)
    with engine.connect() as connection:
        alive = workers.alive(connection)
    if not alive:
        raise UserError("none is alive: start one with `instructree worker`, or all parts with `instructree up`")
    return ", ".join(f"{worker.id} ({worker.slots} slots)" for worker in alive)
