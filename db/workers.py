"""The register of worker processes: who they are, and when they last showed a sign of life."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.schema import workers

# A worker beats every few seconds; one that has been silent for this long is not counted as alive.
SILENT_S = 30


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


def register(connection: Connection, row: WorkerRow) -> None:
    values = {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "version": row.version,
        "queues": list(row.queues),
        "slots": row.slots,
        "busy": row.busy,
    }
    connection.execute(insert(workers).values(**values).on_conflict_do_nothing())


def beat(connection: Connection, worker: str, *, busy: int, tasks_done: int) -> None:
    connection.execute(
        update(workers).where(workers.c.id == worker).values(busy=busy, tasks_done=tasks_done, beat_at=func.now())
    )


def leave(connection: Connection, worker: str) -> None:
    connection.execute(update(workers).where(workers.c.id == worker).values(left_at=func.now(), busy=0))


def alive(connection: Connection, *, hosts: Sequence[str] = ()) -> list[WorkerRow]:
    """Workers that have beaten lately and have not left."""
    silent = func.extract("epoch", func.now() - workers.c.beat_at)
    query = select(workers, silent.label("silent_s")).where(workers.c.left_at.is_(None), silent < SILENT_S)
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
