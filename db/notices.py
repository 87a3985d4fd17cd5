"""What is to be told of a run to whoever sleeps, and whether it was.

A notice is written in the transaction of what it tells of, once for each channel, so that each has its own tries. Who
tells it, and to which address, is a matter of the machines that orchestrators run on: no address is in any row.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, exists, func, insert, select, text, update
from sqlalchemy.engine import CursorResult

from db.schema import notices, runs, tasks
from db.schema.base import seconds

CHANNELS = ("webhook", "command")
# What nobody has told for so long is news no more.
NEWS_S = 24 * 3600.0
_NOW = func.now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice that somebody tells now. `attempts` counts this one too, and fences what is written of it."""

    id: int
    run_id: int
    event: str
    channel: str
    reason: str | None
    at: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How the telling of a notice went: `state` is waiting, told or given_up."""

    event: str
    channel: str
    at: datetime
    state: str
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What was announced of a run while it was on, whether anybody was told or not: `stalled` or `endpoint_down`."""

    at: datetime
    event: str
    reason: str


def announce(connection: Connection, run_id: int, event: str, reason: str | None) -> None:
    """Notes that this is to be told: `done`, `stopped`, `paused`, `stalled` or `endpoint_down`."""
    rows = [{"run_id": run_id, "event": event, "channel": channel, "reason": reason} for channel in CHANNELS]
    connection.execute(insert(notices), rows)


def claim(connection: Connection, channels: Collection[str], *, lease_s: float) -> Notice | None:
    """Takes the oldest notice that is due, for `lease_s`: whoever dies over it leaves it to the next."""
    due = (
        select(notices.c.id)
        .where(notices.c.state == "waiting", notices.c.not_before <= _NOW, notices.c.channel.in_(channels))
        .where(notices.c.at > _NOW - seconds(NEWS_S))
        .order_by(notices.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    lease = _NOW + seconds(lease_s)
    row = connection.execute(
        update(notices)
        .where(notices.c.id == due.scalar_subquery())
        .values(attempts=notices.c.attempts + 1, not_before=lease)
        .returning(*notices.c)
    ).one_or_none()
    return None if row is None else _notice(row)


def _notice(row: Row[tuple[object, ...]]) -> Notice:
    return Notice(
        id=row.id,
        run_id=row.run_id,
        event=row.event,
        channel=row.channel,
        reason=row.reason,
        at=row.at,
        attempts=row.attempts,
    )


def told(connection: Connection, notice: Notice) -> None:
    _note(connection, notice, state="told", told_at=_NOW, error=None)


def untold(connection: Connection, notice: Notice, *, error: str, delay_s: float | None) -> None:
    """Notes a failure: once more after a delay, or never again where there is none."""
    if delay_s is None:
        _note(connection, notice, state="given_up", error=error)
    else:
        due = _NOW + seconds(delay_s)
        _note(connection, notice, not_before=due, error=error)


def _note(connection: Connection, notice: Notice, **values: object) -> None:
    """Changes nothing where somebody else has taken the notice over meanwhile."""
    mine = (notices.c.id == notice.id, notices.c.attempts == notice.attempts, notices.c.state == "waiting")
    connection.execute(update(notices).where(*mine).values(**values))


def of_run(connection: Connection, run_id: int) -> list[Told]:
    """Notices that somebody has told or tried to tell, in their order."""
    query = select(notices).where(notices.c.run_id == run_id, notices.c.attempts > 0).order_by(notices.c.id)
    return [
        Told(
            event=row.event,
            channel=row.channel,
            at=row.at,
            state=row.state,
            attempts=row.attempts,
            error=row.error,
        )
        for row in connection.execute(query)
    ]


def troubles(connection: Connection, run_id: int) -> list[Trouble]:
    """In their order, each once, however many channels there are."""
    query = select(notices).where(notices.c.run_id == run_id, notices.c.channel == CHANNELS[0])
    found = connection.execute(query.where(notices.c.event.in_(("stalled", "endpoint_down"))).order_by(notices.c.id))
    return [Trouble(at=row.at, event=row.event, reason=row.reason or "") for row in found]


def watch(connection: Connection, run_id: int, *, after_s: float) -> bool:
    """Marks and announces a run that has been driven for `after_s` without a task of its ending. Once until one does.

    A task that may take longer than that by its own deadline is waited for.
    """
    lately = _NOW - seconds(after_s)
    moving = exists().where(tasks.c.run_id == run_id, (tasks.c.state == "leased") & (tasks.c.deadline_s > after_s))
    ending = exists().where(
        tasks.c.run_id == run_id,
        tasks.c.state.in_(("done", "failed")),
        tasks.c.applied_at.is_(None),
        tasks.c.ended_at > lately,
    )
    changed: CursorResult[tuple[object, ...]] = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.status == "running", ~runs.c.stalled)
        .where(runs.c.driven_s - runs.c.moved_s > after_s, ~moving, ~ending)
        .values(stalled=True)
    )
    if changed.rowcount:
        announce(connection, run_id, "stalled", _cause(connection, run_id, after_s))
    return bool(changed.rowcount)


_WAITS = text(
    "SELECT error FROM tasks WHERE run_id = :run AND state IN ('ready', 'leased') AND error IS NOT NULL "
    "ORDER BY not_before DESC LIMIT 1"
)


def _cause(connection: Connection, run_id: int, after_s: float) -> str:
    """What the latest task that was given back says, or that nobody works on any."""
    error = connection.scalars(_WAITS, {"run": run_id}).first()
    because = error or "no task was tried in vain: look for workers that serve its queues"
    return f"no task has ended for {how_long(after_s)}; {because}"


def how_long(seconds: float) -> str:
    """As notices say it: in minutes, and in seconds where it is less than one."""
    return f"{round(seconds / 60, 1):g} minutes" if seconds >= 60 else f"{round(seconds, 1):g} seconds"
