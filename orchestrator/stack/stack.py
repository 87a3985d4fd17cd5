"""The local stack as a whole: started once, found again by the next command, stopped by `down`.

The caller starts the services, brings the database's schema up, then starts the programs: three steps, since a worker
must not meet a database without tables. Every step may be repeated at any time, by several commands at once.
"""

import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.stack import model, postgres, valkey
from orchestrator.stack.faults import explained
from orchestrator.stack.folders import home, locate_home, private_folder
from orchestrator.stack.model import LocalModel, ModelServer
from orchestrator.stack.postgres_files import places
from orchestrator.stack.process import Process, StopPlan, stop, strays
from orchestrator.stack.programs import Programs, is_program, replace_programs
from orchestrator.stack.server import Server, begin, finish
from orchestrator.stack.state import Book, Kind, Say, Service, opened, read_state

_ORDER: tuple[Kind, ...] = ("program", "model", "valkey", "postgres")
_PLANS: Mapping[Kind, StopPlan] = {
    "program": ((signal.SIGTERM, 20.0),),
    "model": ModelServer.stop_plan,
    "valkey": valkey.ValkeyServer.stop_plan,
    "postgres": postgres.PostgresServer.stop_plan,
}


def _silent(_: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Which servers there should be; what is not named here is left as it is. Two models share the cores."""

    postgres: bool = True
    valkey: bool = True
    models: tuple[LocalModel, ...] = (LocalModel(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What runs, and where to reach it. An address is None, or missing, where the server does not run here.

    `redis_url` holds a password. `model_urls` are base URLs by the model's alias.
    """

    home: Path
    database_url: str | None
    redis_url: str | None
    model_urls: Mapping[str, str]
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    name: str
    pid: int
    port: int | None
    alive: bool
    healthy: bool
    log: Path


def ensure_services(needs: Needs, *, say: Say = _silent) -> Stack:
    """Starts the servers that are needed and do not answer; returns when all of them do.

    Raises ServiceError: one is not installed, cannot be placed, started or reached, or the disk is full.
    """
    with explained(locate_home()):
        folder = home()
        with opened(folder, say) as book:
            private_folder(folder / "logs")
            attempts = [begin(server, book, say) for server in _servers(needs, folder)]
            for attempt in attempts:
                finish(attempt, book, say)
            return _stack(folder, book.state.services)


def ensure_programs(programs: Programs, *, say: Say = _silent) -> Stack:
    """Starts the orchestrator and the workers, replacing those that run with other settings or older code.

    Raises ServiceError if one dies at once; what it said is in the message.
    """
    with explained(locate_home()):
        folder = home()
        with opened(folder, say) as book:
            private_folder(folder / "logs")
            replace_programs(programs, book, say)
            return _stack(folder, book.state.services)


def find() -> Stack | None:
    """What runs of this home's stack, or None if nothing does. Changes nothing and waits for nobody."""
    folder = locate_home()
    with explained(folder):
        state = read_state(folder)
        services = () if state is None else state.services
        return _stack(folder, services) if any(service.running for service in services) else None


def down(*, say: Say = _silent) -> tuple[str, ...]:
    """Stops every process of this home's stack, programs first, the database last; returns the names of those that ran.

    Data and logs stay. Processes that the state does not know are found by their mark and stopped as well.
    """
    folder = locate_home()
    with explained(folder):
        if not folder.is_dir():
            return ()
        with opened(folder, say) as book:
            stopped = [name for kind in _ORDER for name in _stop_kind(kind, book, say)]
            book.remove({service.name for service in book.state.services})
            _remove_socket_folder(folder)
            return tuple(stopped)


def died() -> tuple[str, ...]:
    """The names of what was started and runs no more though nobody stopped it.

    Waits for a command that is just stopping the stack.
    """
    folder = locate_home()
    with explained(folder):
        if not folder.is_dir():
            return ()
        with opened(folder, _silent) as book:
            return tuple(service.name for service in book.state.services if not service.running)


def statuses() -> tuple[ServiceStatus, ...]:
    """How each process that the state knows of is, also one that died since. For `doctor`."""
    folder = locate_home()
    with explained(folder):
        state = read_state(folder)
        return () if state is None else tuple(_status(folder, service) for service in state.services)


def _servers(needs: Needs, folder: Path) -> list[Server]:
    """Slowest first: they come up side by side."""
    servers: list[Server] = [ModelServer(home=folder, wanted=wanted) for wanted in needs.models]
    if needs.postgres:
        servers.append(postgres.PostgresServer(home=folder))
    if needs.valkey:
        servers.append(valkey.ValkeyServer(home=folder))
    return servers


def _stack(folder: Path, services: tuple[Service, ...]) -> Stack:
    running = {service.name: service for service in services if service.running}
    broker = running.get("valkey")
    return Stack(
        home=folder,
        database_url=postgres.database_url(folder) if "postgres" in running else None,
        redis_url=valkey.redis_url(folder, broker.port) if broker is not None and broker.port else None,
        model_urls={
            service.name.removeprefix("model-"): model.base_url(service.port)
            for service in running.values()
            if service.kind == "model" and service.port
        },
        services=tuple(running.values()),
    )


def _stop_kind(kind: Kind, book: Book, say: Say) -> list[str]:
    known = {
        service.name: [service.process] for service in book.state.services if service.kind == kind and service.running
    }
    data = places(book.home).data if kind == "postgres" else None
    if known:
        say(f"stopping {', '.join(known)} ...")
        stop([process for processes in known.values() for process in processes], _PLANS[kind])
    lost = {name: left for name, left in strays(book.home, server=data).items() if _kind_of(name) == kind}
    stop(_all(lost), _PLANS[kind])
    return sorted(known.keys() | lost.keys())


def _all(groups: Mapping[str, list[Process]]) -> list[Process]:
    return [process for group in groups.values() for process in group]


def _kind_of(name: str) -> Kind:
    if is_program(name):
        return "program"
    if name.startswith("model-"):
        return "model"
    return "valkey" if name == "valkey" else "postgres"


def _remove_socket_folder(folder: Path) -> None:
    """Only one in the system's temporary folder: nobody else would ever remove it."""
    where = places(folder)
    if where.socket.parent != where.base:
        with suppress(OSError):
            shutil.rmtree(where.socket)


def _status(folder: Path, service: Service) -> ServiceStatus:
    running = service.running
    return ServiceStatus(
        name=service.name,
        pid=service.pid,
        port=service.port,
        alive=running,
        healthy=running and _answers(folder, service),
        log=Path(service.log),
    )


def _answers(folder: Path, service: Service) -> bool:
    if service.kind == "postgres":
        return postgres.answers(folder)
    if service.kind == "valkey":
        return service.port is not None and valkey.answers(folder, service.port)
    if service.kind == "model":
        return service.port is not None and model.answers(service.port, service.name.removeprefix("model-"))
    return True
