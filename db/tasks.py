"""The queue: rows of work, claimed under a lease, fenced by its token.

::

    ready -> leased -> done   -> (applied and deleted by the scheduler)
             leased -> ready     (lease lost, or a retry with `not_before`)
             leased -> failed -> (applied, kept with its reason)

Every write of a worker names the lease token, which grows with each claim; a stale token changes nothing.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Double, Row, Select, case, delete, func, select, text, tuple_, update

from db import amounts
from db.errors import StaleLease
from db.records import Json, Lease, NewTask, TaskRow
from db.schema import tasks
from db.schema.base import seconds
from db.totals import listed

_NOW = func.now()
_ENDED = {"ended_at": _NOW}
SILENT = "its worker stopped beating"
STUCK = "its worker was stuck in it beyond the deadline"

_ENQUEUE = text(
    """
    INSERT INTO tasks (run_id, tree_id, key, kind, payload, reserved_calls, reserved_tokens, reserved_nusd, deadline_s,
                       hinted_at)
    SELECT :run, v.*, now() FROM json_to_recordset(CAST(:rows AS json)) AS v (
        tree_id bigint, key text, kind text, payload jsonb, reserved_calls bigint, reserved_tokens bigint,
        reserved_nusd bigint, deadline_s float8
    )
    ON CONFLICT DO NOTHING RETURNING id, kind
    """
)


def enqueue(connection: Connection, run_id: int, new: Sequence[NewTask]) -> list[tuple[int, str]]:
    """Adds tasks; one that exists already (same run and key) is left alone. Returns (id, kind) of those added."""
    added: list[tuple[int, str]] = []
    for rows in listed(map(_values, new)):
        added += [(row.id, row.kind) for row in connection.execute(_ENQUEUE, {"run": run_id, "rows": rows})]
    return added


def _values(task: NewTask) -> Json:
    return {
        "tree_id": task.tree_id,
        "key": task.key,
        "kind": task.kind,
        "payload": task.payload,
        "reserved_calls": task.reserved.calls,
        "reserved_tokens": task.reserved.tokens,
        "reserved_nusd": task.reserved.nusd,
        "deadline_s": task.deadline_s,
    }


_CLAIM = text(
    """
    WITH claimable AS (
        SELECT t.id FROM tasks t JOIN runs r ON r.id = t.run_id
        WHERE t.id = ANY (:ids) AND t.state = 'ready' AND t.not_before <= now()
          AND t.attempts < :max_attempts AND r.status = 'running'
        ORDER BY t.id FOR UPDATE OF t SKIP LOCKED
    )
    UPDATE tasks SET
        state = 'leased', attempts = attempts + 1, lease_token = lease_token + 1, worker = :worker,
        lease_until = now() + make_interval(secs => :lease_s), deadline = now() + make_interval(secs => deadline_s)
    FROM claimable WHERE tasks.id = claimable.id
    RETURNING tasks.id, lease_token, run_id, tree_id, kind, payload, attempts, deadline_s
    """
)


def claim_all(
    connection: Connection, task_ids: Sequence[int], *, worker: str, lease_s: float, max_attempts: int
) -> dict[int, Lease]:
    """Takes those tasks that are ready, due, and whose run is running. A doubled or late hint finds nothing to take.

    An attempt begins here, so a task that kills its worker runs out of attempts too.
    """
    if not task_ids:
        return {}
    given = {"ids": list(task_ids), "worker": worker, "lease_s": lease_s, "max_attempts": max_attempts}
    return {row.id: _lease(row) for row in connection.execute(_CLAIM, given)}


def claim(connection: Connection, task_id: int, *, worker: str, lease_s: float, max_attempts: int) -> Lease | None:
    """Takes one task; None if there is nothing to take."""
    taken = claim_all(connection, [task_id], worker=worker, lease_s=lease_s, max_attempts=max_attempts)
    return taken.get(task_id)


def _lease(row: Row[tuple[object, ...]]) -> Lease:
    return Lease(
        task_id=row.id,
        token=row.lease_token,
        run_id=row.run_id,
        tree_id=row.tree_id,
        kind=row.kind,
        payload=row.payload,
        attempts=row.attempts,
        deadline_s=row.deadline_s,
    )


def beat(connection: Connection, held: Iterable[tuple[int, int]], *, lease_s: float) -> set[int]:
    """Extends the leases (task id, token) that are still ours, up to their deadlines; returns their task ids."""
    pairs = list(held)
    if not pairs:
        return set()
    ours = _locked(tuple_(tasks.c.id, tasks.c.lease_token).in_(pairs), tasks.c.state == "leased")
    rows = connection.execute(
        update(tasks)
        .where(tasks.c.id.in_(ours), tasks.c.deadline > _NOW)
        .values(lease_until=func.least(_NOW + seconds(lease_s), tasks.c.deadline))
        .returning(tasks.c.id)
    )
    return {row.id for row in rows}


def _locked(*which: ColumnElement[bool], skip: bool = False) -> Select[tuple[int]]:
    """These tasks' ids, locked by order of id: whoever locks several does it so, or two would wait for each other."""
    return select(tasks.c.id).where(*which).order_by(tasks.c.id).with_for_update(skip_locked=skip)


_FINISH = text(
    """
    WITH held AS (
        SELECT t.id, given.result FROM tasks t
        JOIN unnest(CAST(:ids AS bigint[]), CAST(:tokens AS bigint[]), CAST(:results AS jsonb[]))
            AS given(id, token, result) ON given.id = t.id AND given.token = t.lease_token
        WHERE t.state = 'leased' ORDER BY t.id FOR UPDATE OF t
    )
    UPDATE tasks SET state = 'done', result = held.result, lease_until = NULL, error = NULL, ended_at = now()
    FROM held WHERE tasks.id = held.id
    RETURNING tasks.id, tasks.lease_token
    """
)


def finish_all(connection: Connection, ended: Sequence[tuple[Lease, Json]]) -> set[tuple[int, int]]:
    """Stores results; returns those leases (task id, token) that were still held."""
    if not ended:
        return set()
    given = {
        "ids": [lease.task_id for lease, _ in ended],
        "tokens": [lease.token for lease, _ in ended],
        "results": [json.dumps(result) for _, result in ended],
    }
    return {(row.id, row.lease_token) for row in connection.execute(_FINISH, given)}


def finish(connection: Connection, lease: Lease, result: Json) -> None:
    """Stores the result. Raises StaleLease when the lease has gone to somebody else."""
    if not finish_all(connection, [(lease, result)]):
        raise StaleLease(stale(lease))


def stale(lease: Lease) -> str:
    return f"task {lease.task_id}: lease {lease.token} is not held any more"


def retry(connection: Connection, lease: Lease, *, error: str, delay_s: float, max_attempts: int) -> str:
    """Gives the task back for another attempt after a delay, or fails it when attempts are spent. Returns its state."""
    if lease.attempts >= max_attempts:
        fail(connection, lease, error=error)
        return "failed"
    _fenced(connection, lease, _given_back(error, delay_s))
    return "ready"


def give_back(connection: Connection, lease: Lease, *, error: str, delay_s: float) -> None:
    """Makes the task ready again after a delay, the attempt not counted: the world was at fault, not the task."""
    _fenced(connection, lease, {**_given_back(error, delay_s), "attempts": tasks.c.attempts - 1})


def give_all_back(connection: Connection, held: Iterable[tuple[int, int]], *, error: str) -> int:
    """Makes the leased tasks (id, token) that are still ours ready at once, no attempt counted; returns how many."""
    ours = _locked(tuple_(tasks.c.id, tasks.c.lease_token).in_(list(held)), tasks.c.state == "leased")
    values = {**_given_back(error, delay_s=0), "attempts": tasks.c.attempts - 1}
    return connection.execute(update(tasks).where(tasks.c.id.in_(ours)).values(**values)).rowcount


def _given_back(error: str, delay_s: float) -> dict[str, object]:
    due = _NOW + seconds(delay_s)
    return {"state": "ready", "error": error[:500], "lease_until": None, "not_before": due, "hinted_at": None}


def fail(connection: Connection, lease: Lease, *, error: str) -> None:
    """No retry mends this: the task keeps its reason."""
    _fenced(connection, lease, {"state": "failed", "error": error[:500], "lease_until": None, **_ENDED})


def _fenced(connection: Connection, lease: Lease, values: Mapping[str, object]) -> None:
    changed = connection.execute(
        update(tasks)
        .where(tasks.c.id == lease.task_id, tasks.c.lease_token == lease.token, tasks.c.state == "leased")
        .values(**values)
    )
    if changed.rowcount != 1:
        raise StaleLease(stale(lease))


def sweep(connection: Connection, run_id: int, *, max_attempts: int, hint_age_s: float) -> list[tuple[int, str]]:
    """Frees expired leases and returns (id, kind) of every due task whose hint is old enough to be lost.

    Two clocks end a lease: its worker has stopped beating, or has been at it for longer than the deadline.
    """
    expired = _locked(tasks.c.run_id == run_id, tasks.c.state == "leased", tasks.c.lease_until < _NOW, skip=True)
    spent = tasks.c.attempts >= max_attempts
    connection.execute(
        update(tasks)
        .where(tasks.c.id.in_(expired))
        .values(
            state=case((spent, "failed"), else_="ready"),
            ended_at=case((spent, _NOW)),
            error=case((tasks.c.deadline <= _NOW, STUCK), else_=SILENT),
            lease_until=None,
            hinted_at=None,
        )
    )
    return _forgotten(connection, run_id, hint_age_s)


def _forgotten(connection: Connection, run_id: int, hint_age_s: float) -> list[tuple[int, str]]:
    due = _locked(
        tasks.c.run_id == run_id,
        tasks.c.state == "ready",
        tasks.c.not_before <= _NOW,
        tasks.c.hinted_at.is_(None) | (tasks.c.hinted_at < _NOW - seconds(hint_age_s)),
        skip=True,
    )
    rows = connection.execute(
        update(tasks).where(tasks.c.id.in_(due)).values(hinted_at=_NOW).returning(tasks.c.id, tasks.c.kind)
    )
    return [(row.id, row.kind) for row in rows]


def complaint(connection: Connection, run_id: int, prefix: str) -> str | None:
    """The error of a task that was given back with an error of this kind, if there is one, and who was told it: it may
    be that machine's key alone that is wrong.
    """
    found = connection.execute(
        select(tasks.c.error, tasks.c.worker)
        .where(tasks.c.run_id == run_id, tasks.c.state == "ready", tasks.c.error.startswith(prefix, autoescape=True))
        .limit(1)
    ).first()
    if found is None:
        return None
    return f"{found.error}; worker {found.worker} was told so" if found.worker else str(found.error)


def forgive(connection: Connection, run_id: int) -> None:
    """Forgets the errors of waiting tasks and makes them due, for a run that is taken up again.

    So it does with those that failed before anybody took note and that cost nothing, such as training.
    """
    free = tasks.c.applied_at.is_(None) & (tasks.c.reserved_calls == 0) & (tasks.c.state == "failed")
    connection.execute(
        update(tasks).where(tasks.c.run_id == run_id, free).values(state="ready", attempts=0, ended_at=None)
    )
    connection.execute(
        update(tasks)
        .where(tasks.c.run_id == run_id, tasks.c.state == "ready")
        .values(error=None, not_before=_NOW, hinted_at=None)
    )


def withdraw(connection: Connection, run_id: int, reason: str) -> None:
    """Fails what nobody has begun yet; what is in hand is let finish."""
    ready = _locked(tasks.c.run_id == run_id, tasks.c.state == "ready")
    connection.execute(update(tasks).where(tasks.c.id.in_(ready)).values(state="failed", error=reason, **_ENDED))


def finished(connection: Connection, run_id: int, limit: int) -> list[TaskRow]:
    """Tasks whose result or failure waits to be applied, oldest first."""
    rows = connection.execute(
        select(tasks)
        .where(tasks.c.run_id == run_id, tasks.c.state.in_(("done", "failed")), tasks.c.applied_at.is_(None))
        .order_by(tasks.c.id)
        .limit(limit)
    )
    return [_task(row) for row in rows]


def unapplied(connection: Connection, run_ids: Collection[int]) -> int:
    """How many tasks of these runs have ended and were not applied."""
    ended = tasks.c.state.in_(("done", "failed")), tasks.c.applied_at.is_(None)
    query = select(func.count()).select_from(tasks).where(tasks.c.run_id.in_(list(run_ids)), *ended)
    return int(connection.execute(query).scalar_one())


def outstanding(connection: Connection, run_id: int) -> list[TaskRow]:
    """All tasks not yet applied."""
    rows = connection.execute(select(tasks).where(tasks.c.run_id == run_id, tasks.c.applied_at.is_(None)))
    return [_task(row) for row in rows]


def any_open(connection: Connection, run_id: int) -> bool:
    """Whether the run has a task that was not applied yet."""
    query = select(tasks.c.id).where(tasks.c.run_id == run_id, tasks.c.applied_at.is_(None)).limit(1)
    return connection.execute(query).first() is not None


def _task(row: Row[tuple[object, ...]]) -> TaskRow:
    return TaskRow(
        id=row.id,
        run_id=row.run_id,
        tree_id=row.tree_id,
        key=row.key,
        kind=row.kind,
        payload=row.payload,
        state=row.state,
        attempts=row.attempts,
        reserved=amounts.of(row, "reserved"),
        result=row.result,
        error=row.error,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How an ended task went: moments in seconds since 1970, and the token of its last lease. Never claimed: None."""

    token: int
    created_s: float
    due_s: float
    claimed_s: float | None
    ended_s: float


def times_of(connection: Connection, ids: Sequence[int]) -> dict[int, Times]:
    def at(moment: ColumnElement[object]) -> ColumnElement[float]:
        return func.extract("epoch", moment).cast(Double)

    claimed = tasks.c.deadline - seconds(tasks.c.deadline_s)
    rows = connection.execute(
        select(
            tasks.c.id,
            tasks.c.lease_token.label("token"),
            at(tasks.c.created_at).label("created_s"),
            at(tasks.c.not_before).label("due_s"),
            at(claimed).label("claimed_s"),
            at(func.coalesce(tasks.c.ended_at, _NOW)).label("ended_s"),
        ).where(tasks.c.id.in_(ids))
    )
    return {row.id: Times(**{name: value for name, value in row._mapping.items() if name != "id"}) for row in rows}


def close(connection: Connection, applied: Sequence[TaskRow]) -> None:
    """Closes tasks in the transaction that applies them: done ones are deleted, failed ones kept with their reason."""
    done = [task.id for task in applied if task.state == "done"]
    failed = [task.id for task in applied if task.state == "failed"]
    connection.execute(delete(tasks).where(tasks.c.id.in_(done)))
    connection.execute(
        update(tasks)
        .where(tasks.c.id.in_(failed))
        .values(applied_at=_NOW, reserved_calls=0, reserved_tokens=0, reserved_nusd=0)
    )
