"""The program's own processes on this machine: orchestrator and workers, as they would run on other machines."""

import hashlib
import importlib.util
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from db import exposition
from db.errors import ServiceError
from orchestrator.stack.process import (
    Launch,
    last_line,
    launch,
    log_size,
    marked_environment,
    python_environment,
    stop,
    strays,
)
from orchestrator.stack.state import Book, Say, Service

_PACKAGES = ("orchestrator", "workers", "db")
_POLL_S = 0.05


def code_version() -> str:
    """Changes with every change of the program's code, so that processes of an older one are replaced."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                found = path.stat()
                digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Which processes there should be, and with what they are started.

    `env` goes on top of this command's own environment: the endpoint's address and key, and whatever else the
    processes depend on. Of all of these only a keyed digest is kept. `grace_s` is how long a process may take to end
    on SIGTERM; `settle_s` is how long a new one is watched, so that one that dies at once is noticed.
    """

    database_url: str
    redis_url: str
    orchestrator: bool = True
    workers: int = 2
    env: Mapping[str, str] = field(default_factory=dict)
    worker_argv: tuple[str, ...] = (sys.executable, "-m", "orchestrator.cli", "worker")
    orchestrator_argv: tuple[str, ...] = (sys.executable, "-m", "orchestrator.cli", "orchestrator")
    version: str = field(default_factory=code_version)
    grace_s: float = 20.0
    settle_s: float = 0.5

    def commands(self) -> dict[str, tuple[str, ...]]:
        """Arguments of each process by its service name."""
        wanted = {"orchestrator": self.orchestrator_argv} if self.orchestrator else {}
        return wanted | {f"worker-{number}": self.worker_argv for number in range(1, self.workers + 1)}

    def variables(self) -> dict[str, str]:
        return {
            "INSTRUCTREE_DATABASE_URL": self.database_url,
            "INSTRUCTREE_REDIS_URL": self.redis_url,
            **self.env,
        }

    def fingerprint(self, book: Book, argv: tuple[str, ...]) -> str:
        variables = [f"{name}={value}" for name, value in sorted(self.variables().items())]
        return book.fingerprint(self.version, *argv, "", *variables)


def replace_programs(programs: Programs, book: Book, say: Say) -> None:
    """Stops what runs with other settings or is lost, starts what is missing; ServiceError if one dies at once."""
    wanted = programs.commands()
    keep = {name for name, argv in wanted.items() if _is_current(book.get(name), programs.fingerprint(book, argv))}
    _stop_others(programs, book, keep, say)
    started = [_start(name, argv, programs, book, say) for name, argv in wanted.items() if name not in keep]
    _watch(started, book, programs.settle_s)


def _is_current(service: Service | None, fingerprint: str) -> bool:
    return service is not None and service.running and service.fingerprint == fingerprint


def _stop_others(programs: Programs, book: Book, keep: set[str], say: Say) -> None:
    """More workers than asked for may stay, as long as they run with the same settings."""
    worker = programs.fingerprint(book, programs.worker_argv)
    known = [service for service in book.state.services if service.kind == "program"]
    extra = {s.name for s in known if s.name.startswith("worker-") and _is_current(s, worker)}
    old = [service for service in known if service.name not in keep | extra]
    running = [service for service in old if service.running]
    if running:
        say(f"restarting {', '.join(service.name for service in running)} with the present settings ...")
    stop([service.process for service in running], ((signal.SIGTERM, programs.grace_s),))
    book.remove({service.name for service in old})
    _stop_lost(book, programs, keep | extra)


def _stop_lost(book: Book, programs: Programs, keep: set[str]) -> None:
    """Those whose start was never noted, or what is left of a killed one."""
    lost = strays(book.home)
    left = [
        process for name, processes in lost.items() for process in processes if is_program(name) and name not in keep
    ]
    stop(left, ((signal.SIGTERM, programs.grace_s),))


def is_program(name: str) -> bool:
    return name == "orchestrator" or name.startswith("worker-")


def _start(name: str, argv: tuple[str, ...], programs: Programs, book: Book, say: Say) -> tuple[Service, int]:
    say(f"starting {name} ...")
    log = book.home / "logs" / f"{name}.log"
    log_from = log_size(log)
    # On one machine one process can have the port: the one that tells the figures of all.
    quiet = {} if name == "orchestrator" else {exposition.METRICS: ""}
    environment = marked_environment(
        {**python_environment(), **programs.variables(), **quiet}, home=book.home, name=name
    )
    process = launch(Launch(argv=argv, env=environment, cwd=book.home, log=log))
    service = Service(
        name=name,
        kind="program",
        pid=process.pid,
        born=process.born,
        port=None,
        fingerprint=programs.fingerprint(book, argv),
        log=str(log),
    )
    book.put(service)
    return service, log_from


def _watch(started: list[tuple[Service, int]], book: Book, settle_s: float) -> None:
    deadline = time.monotonic() + settle_s
    while started:
        for service, log_from in started:
            if not service.running:
                book.remove({service.name})
                reason = last_line(Path(service.log), since=log_from)
                raise ServiceError(f"{service.name} stopped at once: {reason} (its log: {service.log})")
        if time.monotonic() >= deadline:
            return
        time.sleep(_POLL_S)
