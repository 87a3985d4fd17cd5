"""The register of worker processes: who they are, and when they last showed a sign of life."""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version

from sqlalchemy import Connection, delete, func, not_, select, update
from sqlalchemy.dialects.postgresql import insert

from db.schema import workers

# What an orchestrator is registered under: it takes no tasks, but whoever looks after it wants to know that it lives.
ORCHESTRATOR = "orchestrator"
# Threads of one process; more of them wait for each other.
MOST_SLOTS = 1024
# For so long one that was refused is shown: it is started again and again by whoever looks after it.
REFUSED_S = 600
# A worker beats every few seconds; one that has been silent for this long is not counted as alive.
SILENT_S = 30
# So long after its last sign of life a process is forgotten: each start adds a row, and each beat reads them all.
_FORGOTTEN_S = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a process is, in the register and in its leases."""

    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int

    @classmethod
    def of_this_process(cls, queues: tuple[str, ...], slots: int) -> "Identity":
        host, pid = socket.gethostname(), os.getpid()
        return cls(
            id=f"{host}:{pid}:{os.urandom(3).hex()}",
            host=host,
            pid=pid,
            version=version("instructree"),
            queues=queues,
            slots=slots,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    slots_wanted: int | None
    busy: int
    tasks_done: int
    silent_s: float
    mark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A worker that was not let work, and when it last tried."""

    host: str
    pid: int
    version: str
    reason: str
    ago_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneRow:
    """A process that is no more. `at`: when it left or, where it never said so (`left`), when it last showed itself."""

    host: str
    drives: bool
    at: datetime
    left: bool


def register(connection: Connection, process: Identity) -> None:
    """Adds a process that begins, and forgets those that ended long ago."""
    _forget(connection)
    values = {**asdict(process), "queues": list(process.queues), "busy": 0}
    connection.execute(insert(workers).values(**values).on_conflict_do_nothing())


def _forget(connection: Connection) -> None:
    silent = func.extract("epoch", func.now() - workers.c.beat_at)
    old = select(workers.c.id).where(silent > _FORGOTTEN_S).with_for_update(skip_locked=True)
    connection.execute(delete(workers).where(workers.c.id.in_(old)))


def beat(
    connection: Connection, worker: str, *, busy: int, tasks_done: int, slots: int = 0, mark: str | None = None
) -> int | None:
    """Shows that it lives, and what it does. Returns how many slots it is to have, where somebody said so.

    `mark`: the key by which an orchestrator's broker can be told from another.
    """
    values = {"busy": busy, "tasks_done": tasks_done, "slots": slots, "mark": mark, "beat_at": func.now()}
    beaten = update(workers).where(workers.c.id == worker).values(**values)
    return connection.execute(beaten.returning(workers.c.slots_wanted)).scalar_one_or_none()


def want_slots(connection: Connection, ids: Sequence[str], slots: int) -> None:
    """Says how many tasks these workers are to take at once; each reads it at its next beat."""
    connection.execute(update(workers).where(workers.c.id.in_(ids)).values(slots_wanted=slots))


def refuse(connection: Connection, worker: str, reason: str) -> None:
    """Notes why a worker may take no more tasks."""
    connection.execute(update(workers).where(workers.c.id == worker).values(refused=reason))


def refuse_start(connection: Connection, process: Identity, reason: str) -> None:
    """Notes that a worker was not let begin: one row for all that this host tries with this version."""
    again = {"pid": process.pid, "queues": list(process.queues), "slots": process.slots, "refused": reason}
    shown = {**again, "beat_at": func.now(), "left_at": func.now(), "started_at": func.now()}
    _forget(connection)
    values = {"id": f"{process.host}:refused:{process.version}", "host": process.host, "version": process.version}
    row = insert(workers).values(**values, **shown, busy=0)
    connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=shown))


def refused(connection: Connection) -> list[RefusedRow]:
    """Workers that were refused work lately, the last one first."""
    since = func.extract("epoch", func.now() - workers.c.beat_at)
    query = select(workers, since.label("ago_s")).where(workers.c.refused.is_not(None), since < REFUSED_S)
    return [
        RefusedRow(host=row.host, pid=row.pid, version=row.version, reason=row.refused, ago_s=float(row.ago_s))
        for row in connection.execute(query.order_by(workers.c.beat_at.desc()))
    ]


def leave(connection: Connection, worker: str) -> None:
    connection.execute(update(workers).where(workers.c.id == worker).values(left_at=func.now(), busy=0))


def gone(connection: Connection, *, since: datetime) -> list[GoneRow]:
    """Workers and orchestrators that have ended since, in that order; those that were never let begin are none."""
    silent = func.extract("epoch", func.now() - workers.c.beat_at)
    at = func.coalesce(workers.c.left_at, workers.c.beat_at)
    over = workers.c.left_at.is_not(None) | (silent >= SILENT_S)
    query = select(workers, at.label("at")).where(over, at >= since, at > workers.c.started_at).order_by(at)
    return [
        GoneRow(host=row.host, drives=ORCHESTRATOR in row.queues, at=row.at, left=row.left_at is not None)
        for row in connection.execute(query)
    ]


def alive(connection: Connection, *, hosts: Sequence[str] = (), orchestrators: bool = False) -> list[WorkerRow]:
    """Workers (or orchestrators) that have beaten lately and have not left."""
    silent = func.extract("epoch", func.now() - workers.c.beat_at)
    query = select(workers, silent.label("silent_s")).where(workers.c.left_at.is_(None), silent < SILENT_S)
    drives = workers.c.queues.contains([ORCHESTRATOR])
    query = query.where(drives if orchestrators else not_(drives))
    if hosts:
        query = query.where(workers.c.host.in_(hosts))
    return [
        WorkerRow(
            id=row.id,
            host=row.host,
            pid=row.pid,
            version=row.version,
            queues=tuple(row.queues),
            slots=row.slots,
            slots_wanted=row.slots_wanted,
            busy=row.busy,
            tasks_done=row.tasks_done,
            silent_s=float(row.silent_s),
            mark=row.mark,
        )
        for row in connection.execute(query.order_by(workers.c.id))
    ]
