"""One way to bring up a server, whichever it is: reuse a healthy one, else mend, launch, and wait until it answers."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from db.errors import ServiceError
from orchestrator.stack import ports
from orchestrator.stack.faults import DISK_FULL_TEXT, disk_full
from orchestrator.stack.process import (
    Launch,
    StopPlan,
    alive,
    last_line,
    launch,
    log_size,
    log_text,
    stop,
    strays,
    wait_for,
)
from orchestrator.stack.state import Book, Kind, Say, Service

_ATTEMPTS = 4
_PAUSE_S = 0.2
_PATIENCE_S = 20.0  # for a living server that does not answer, perhaps for being busy, before it is replaced


class Server(Protocol):
    """A server of the stack. `port` is None throughout for one without a port."""

    kind: ClassVar[Kind]
    has_port: ClassVar[bool]
    start_patience_s: ClassVar[float]
    stop_plan: ClassVar[StopPlan]

    @property
    def name(self) -> str: ...

    @property
    def greeting(self) -> str:
        """What to tell the user while it starts."""

    @property
    def folder(self) -> Path:
        """Where its data goes, for the message about a full disk."""

    @property
    def data_folder(self) -> Path | None:
        """Data folder of a PostgreSQL server."""

    def fingerprint(self) -> tuple[str, ...]:
        """All that it is started with: another value means that a running one is to be replaced."""

    def prepare(self) -> None:
        """Files it needs, made once and completely or not at all; called with no such server running."""

    def order(self, port: int | None) -> Launch: ...

    def healthy(self, port: int | None) -> bool: ...

    def mend(self, log: str) -> bool:
        """Whether, going by what the dying server wrote, another attempt is worth it; mends what has to be mended.

        Not asked about a port that was taken: that is tried again with another.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A server that was launched and has yet to answer, or one that answers already."""

    server: Server
    service: Service
    log_from: int
    answers: bool


def begin(server: Server, book: Book, say: Say) -> Attempt:
    """Finds the healthy server or launches one, without waiting for it."""
    known = book.get(server.name)
    fingerprint = book.fingerprint(*server.fingerprint())
    if known is not None and known.running:
        same = known.fingerprint == fingerprint
        if same and wait_for(lambda: not known.running or server.healthy(known.port), _PATIENCE_S) and known.running:
            return Attempt(server=server, service=known, log_from=0, answers=True)
        stop([known.process], server.stop_plan)
    clear(server, book)
    say(f"{server.greeting} ...")
    server.prepare()
    return _launch(server, book, preferred=book.state.ports.get(server.name))


def clear(server: Server, book: Book) -> None:
    """Ends what is left of earlier servers of this name: children of a killed one, one that the state does not know."""
    lost = strays(book.home, names=[server.name], server=server.data_folder)
    stop(lost.get(server.name, []), server.stop_plan)


def finish(attempt: Attempt, book: Book, say: Say) -> Service:
    """Waits until it answers. Raises ServiceError with the server's own last word if it dies or stays silent."""
    for left in reversed(range(_ATTEMPTS)):
        if attempt.answers or _answers(attempt):
            return attempt.service
        log = Path(attempt.service.log)
        failure = _failure(attempt, log)
        stop([attempt.service.process], attempt.server.stop_plan)
        clear(attempt.server, book)
        book.remove({attempt.server.name})
        text = log_text(log, since=attempt.log_from)
        if not left or not (port_taken(text) or attempt.server.mend(text)):
            raise failure
        say(f"{attempt.server.greeting}, again ...")
        time.sleep(_PAUSE_S)
        attempt = _launch(attempt.server, book, preferred=None if port_taken(text) else attempt.service.port)
    raise AssertionError("the last attempt returns or raises")


def _launch(server: Server, book: Book, *, preferred: int | None) -> Attempt:
    port = ports.free_port(preferred) if server.has_port else None
    order = server.order(port)
    log_from = log_size(order.log)
    process = launch(order)
    service = Service(
        name=server.name,
        kind=server.kind,
        pid=process.pid,
        born=process.born,
        port=port,
        fingerprint=book.fingerprint(*server.fingerprint()),
        log=str(order.log),
    )
    book.put(service)
    return Attempt(server=server, service=service, log_from=log_from, answers=False)


def _answers(attempt: Attempt) -> bool:
    server, service = attempt.server, attempt.service
    done = wait_for(lambda: not alive(service.process) or server.healthy(service.port), server.start_patience_s)
    return done and alive(service.process)


def _failure(attempt: Attempt, log: Path) -> ServiceError:
    text = log_text(log, since=attempt.log_from)
    if DISK_FULL_TEXT in text:
        return disk_full(attempt.server.folder)
    if port_taken(text):
        return ServiceError(
            f"{attempt.server.name} finds port {attempt.service.port} of 127.0.0.1 taken by another program, and so "
            f"every other that was tried: free some ports, then try again (its log: {log})"
        )
    what = "does not answer" if alive(attempt.service.process) else "stopped at once"
    return ServiceError(f"{attempt.server.name} {what}: {last_line(log, since=attempt.log_from)} (its log: {log})")


def require_room(folder: Path, size: int) -> None:
    """Raises ServiceError before anything is written if the disk has less than `size` bytes left."""
    if shutil.disk_usage(folder).free < size:
        raise disk_full(folder)


def port_taken(log: str) -> bool:
    """Whether a server died because something bound its port after it had been found free."""
    return any(text in log for text in ("Address already in use", "couldn't bind"))
