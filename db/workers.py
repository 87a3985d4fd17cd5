"""The register of worker processes: who they are, and when they last showed a sign of life."""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from sqlalchemy import Connection, func, not_, select, update
from sqlalchemy.dialects.postgresql import insert

from db.schema import workers

# What an orchestrator is registered under: it takes no tasks, but whoever looks after it wants to know that it lives.
ORCHESTRATOR = "orchestrator"
# A worker beats every few seconds; one that has been silent for this long is not counted as alive.
SILENT_S = 30


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
    busy: int
    tasks_done: int
    silent_s: float


def register(connection: Connection, process: Identity) -> None:
    values = {**asdict(process), "queues": list(process.queues), "busy": 0}
    connection.execute(insert(workers).values(**values).on_conflict_do_nothing())


def beat(connection: Connection, worker: str, *, busy: int, tasks_done: int) -> None:
    connection.execute(
        update(workers).where(workers.c.id == worker).values(busy=busy, tasks_done=tasks_done, beat_at=func.now())
    )


def leave(connection: Connection, worker: str) -> None:
    connection.execute(update(workers).where(workers.c.id == worker).values(left_at=func.now(), busy=0))


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
            busy=row.busy,
            tasks_done=row.tasks_done,
            silent_s=float(row.silent_s),
        )
        for row in connection.execute(query.order_by(workers.c.id))
    ]
