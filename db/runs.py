"""Runs: their budget, their owner, and their trees."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from db import amounts, attempts, totals
from db.changes import STATUS, pauses, settings_changed
from db.errors import StaleLease
from db.records import Caps, Change, Json, Outage, Run, Spend, TreeRow
from db.schema import runs, tasks
from db.schema import trees as tree_rows
from db.schema.base import seconds

_NOW = func.now()
# Any fixed number: the first key of the locks on names.
_NAMES = 0x1D5C
# From here on it is counted how long nothing moves.
_MOVED = {"moved_s": runs.c.driven_s, "stalled": False}


def create(
    connection: Connection,
    *,
    name: str,
    recipe: str,
    config: Json,
    config_hash: str,
    caps: Caps,
    seeds: Sequence[Json],
    duplicates: int,
    trees: bool = True,
) -> Run:
    """Stores a run, and one tree per seed in the order of the seeds where it is to have trees."""
    values = {
        "name": name,
        "recipe": recipe,
        "config": config,
        "config_hash": config_hash,
        "status": "running",
        "phase": "growing",
        "seeds_given": len(seeds) + duplicates,
        "seeds_duplicate": duplicates,
        "cap_calls": caps.calls,
        "cap_tokens": caps.tokens,
        "cap_nusd": caps.nusd,
        "cap_s": caps.seconds,
    }
    row = connection.execute(insert(runs).values(**values).returning(*runs.c)).one()
    if trees:
        planted = [{"run_id": row.id, "ordinal": i, "seed": s, "status": "waiting"} for i, s in enumerate(seeds)]
        connection.execute(insert(tree_rows), planted)
        totals.add(connection, row.id, "trees", [("waiting", None)] * len(planted))
    return _run(row)


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(
        id=row.id,
        name=row.name,
        recipe=row.recipe,
        config=row.config,
        config_hash=row.config_hash,
        status=row.status,
        phase=row.phase,
        reason=row.reason,
        seeds_given=row.seeds_given,
        seeds_duplicate=row.seeds_duplicate,
        caps=amounts.caps_of(row),
        reserved=amounts.of(row, "reserved"),
        spent=amounts.of(row, "spent"),
        calls_replayed=row.calls_replayed,
        owner_token=row.owner_token,
        driven_s=row.driven_s,
        stalled=row.stalled,
        outages={name: Outage(**stored) for name, stored in row.outages.items()},
        created_at=row.created_at,
        finished_at=row.finished_at,
        changes=settings_changed(row.changes),
        pauses=pauses(row.changes),
    )


def name_alone(connection: Connection, name: str) -> None:
    """Waits until nobody else is about to begin a run of this name; nobody will be until this transaction ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_NAMES, func.hashtext(name))))


def by_name(connection: Connection, name: str) -> Run | None:
    row = connection.execute(select(runs).where(runs.c.name == name)).one_or_none()
    return None if row is None else _run(row)


def by_id(connection: Connection, run_id: int) -> Run:
    return _run(connection.execute(select(runs).where(runs.c.id == run_id)).one())


def lock(connection: Connection, run_id: int) -> Run:
    """The run as it is now, and stays until this transaction ends: for whoever decides by its status what to do."""
    return _run(connection.execute(select(runs).where(runs.c.id == run_id).with_for_update(key_share=True)).one())


def names(connection: Connection) -> list[str]:
    """All runs, newest first."""
    return list(connection.scalars(select(runs.c.name).order_by(runs.c.id.desc())))


def adopt(connection: Connection, *, owner: str, lease_s: float) -> Run | None:
    """Takes one running run that has no living owner. The token fences off whoever held it before."""
    free = (
        select(runs.c.id)
        .where(runs.c.status == "running")
        .where(runs.c.owner_until.is_(None) | (runs.c.owner_until < _NOW))
        .order_by(runs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(
        update(runs)
        .where(runs.c.id == free.scalar_subquery())
        .values(owner=owner, owner_token=runs.c.owner_token + 1, owner_until=_until(lease_s), driven_at=_NOW)
        .returning(*runs.c)
    ).one_or_none()
    return None if row is None else _run(row)


def _until(lease_s: float) -> ColumnElement[datetime]:
    return _NOW + seconds(lease_s)


def hold(connection: Connection, run: Run, *, lease_s: float) -> Run:
    """Locks the run's row for this transaction and extends our ownership when half of it has gone by.

    Rows that point to the run may be written meanwhile (the lock leaves its key alone): the ledger need not wait.
    Wall time is counted with it, at most one lease at a time: a machine that slept has not driven.

    Raises:
        StaleLease: somebody else has adopted the run.
    """
    mine = (runs.c.id == run.id, runs.c.owner_token == run.owner_token)
    row = connection.execute(select(runs).where(*mine).with_for_update(key_share=True)).one_or_none()
    if row is None:
        raise StaleLease(f"run {run.name} has another owner")
    ageing = or_(runs.c.owner_until < _until(lease_s / 2), runs.c.driven_at < _until(-1.0))
    extended = {"owner_until": _until(lease_s), "driven_s": _driven(lease_s), "driven_at": _NOW}
    aged = connection.execute(update(runs).where(*mine, ageing).values(**extended).returning(*runs.c)).one_or_none()
    return _run(aged or row)


def _driven(lease_s: float) -> ColumnElement[float]:
    since = func.coalesce(func.extract("epoch", _NOW - runs.c.driven_at), 0)
    return runs.c.driven_s + func.least(since, lease_s)


def let_go(connection: Connection, run: Run) -> None:
    """Gives the run up, so that the next orchestrator need not wait for our lease to end."""
    connection.execute(
        update(runs).where(runs.c.id == run.id, runs.c.owner_token == run.owner_token).values(owner_until=None)
    )


def set_status(connection: Connection, run_id: int, status: str, *, reason: str | None = None) -> None:
    """Notes the moment with it, where the status is another than before."""
    ended = status in ("done", "stopped", "cancelled", "failed")
    values = {"status": status, "reason": reason, "finished_at": _NOW if ended else None}
    noted = case((runs.c.status == status, runs.c.changes), else_=runs.c.changes.op("||")(_step(status, reason)))
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values, **_MOVED, outages={}, changes=noted))


def _step(status: str, reason: str | None) -> ColumnElement[Json]:
    """A change from the status of before to this one, as it is kept with the others."""
    said = type_coerce({"what": STATUS, "to": status, "reason": reason}, JSONB)
    return said.op("||")(func.jsonb_build_object(text("'at'"), _NOW, text("'from'"), runs.c.status))


def interrupt(connection: Connection, run_id: int) -> None:
    """Pauses a run that is going, because whoever watched it has left."""
    if lock(connection, run_id).status == "running":
        set_status(connection, run_id, "paused", reason="interrupted")


def set_phase(connection: Connection, run_id: int, phase: str) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(phase=phase))


def change(
    connection: Connection, run_id: int, caps: Caps, changed: Mapping[str, tuple[float | None, float | None]]
) -> tuple[Change, ...]:
    """Sets the limits of a run that goes on, and notes what was changed, each thing with its value before and after."""
    now = connection.execute(select(_NOW)).scalar_one()
    made = tuple(Change(at=now, what=what, before=was, after=is_) for what, (was, is_) in changed.items())
    caps_now = {"cap_calls": caps.calls, "cap_tokens": caps.tokens, "cap_nusd": caps.nusd, "cap_s": caps.seconds}
    noted = runs.c.changes.op("||")(type_coerce([one.row() for one in made], JSONB))
    connection.execute(update(runs).where(runs.c.id == run_id).values(**caps_now, changes=noted))
    return made


_MADE = text(
    "SELECT id, (SELECT count(*) FROM jsonb_array_elements(changes) AS one WHERE one ->> 'what' <> :status) "
    "FROM runs WHERE id = ANY (:ids)"
)


def changes_made(connection: Connection, run_ids: Collection[int]) -> dict[int, int]:
    """How many changes each of these runs has seen: whether what is known of its settings is still so."""
    return {row[0]: row[1] for row in connection.execute(_MADE, {"ids": list(run_ids), "status": STATUS})}


def reserve(connection: Connection, run_id: int, amount: Spend) -> None:
    """Sets the worst case aside. The table's own checks refuse what would break a cap."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(**amounts.plus(runs, "reserved", amount)))


def settle(connection: Connection, run_id: int, *, reserved: Spend, task_ids: Sequence[int], replayed: int) -> None:
    """Turns the reservation of closing tasks into what they spent: their answers, and attempts without one."""
    spent = attempts.settle(connection, task_ids)
    values = amounts.plus(runs, "reserved", reserved.times(-1)) | amounts.plus(runs, "spent", spent)
    values["calls_replayed"] = runs.c.calls_replayed + replayed
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values, **_MOVED))


def cancel(connection: Connection, run_id: int) -> None:
    """Ends a run for good: its tasks go, and with them what they had reserved. Workers find their leases void."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))
    open_tasks = tasks.c.run_id == run_id, tasks.c.applied_at.is_(None)
    ids = list(connection.scalars(select(tasks.c.id).where(*open_tasks).order_by(tasks.c.id).with_for_update()))
    row = by_id(connection, run_id)
    settle(connection, run_id, reserved=row.reserved, task_ids=ids, replayed=0)
    connection.execute(delete(tasks).where(*open_tasks))
    set_status(connection, run_id, "cancelled", reason="cancelled")


def trees_of(
    connection: Connection,
    run_id: int,
    *,
    status: Sequence[str] | None = None,
    after: int | None = None,
    most: int | None = None,
) -> list[TreeRow]:
    """Trees in their order: all, or those of some status, behind an ordinal, at most so many."""
    query = select(tree_rows).where(tree_rows.c.run_id == run_id).order_by(tree_rows.c.ordinal).limit(most)
    if status is not None:
        query = query.where(tree_rows.c.status.in_(status))
    if after is not None:
        query = query.where(tree_rows.c.ordinal > after)
    return [
        TreeRow(
            id=row.id,
            run_id=row.run_id,
            ordinal=row.ordinal,
            seed=row.seed,
            status=row.status,
            reason=row.reason,
        )
        for row in connection.execute(query)
    ]


_SET_TREES = text(
    f"""
    WITH changed AS (
        UPDATE trees t SET status = :status, reason = :reason, version = t.version + 1, harvestable = v.harvestable
        FROM json_to_recordset(CAST(:trees AS json)) AS v (id bigint, harvestable int) JOIN trees old USING (id)
        WHERE t.id = v.id
        RETURNING t.run_id, old.status AS was, old.reason AS was_reason, t.status, t.reason,
                  0 AS quality, 0 AS diversity, 0 AS complexity, 0 AS reward
    )
    {totals.adding(totals.moving("changed", "trees"))}
    """
)


def set_tree_status(
    connection: Connection, harvestable: Mapping[int, int], status: str, *, reason: str | None = None
) -> None:
    """Sets these trees' status, and how many nodes of each may be harvested by the paths of its rollouts."""
    for listed in totals.listed({"id": tree_id, "harvestable": count} for tree_id, count in harvestable.items()):
        connection.execute(_SET_TREES, {"trees": listed, "status": status, "reason": reason})


def harvestable(connection: Connection, run_id: int) -> int:
    """How many nodes of all grown trees may be harvested by the paths of their rollouts."""
    query = select(func.coalesce(func.sum(tree_rows.c.harvestable), 0)).where(tree_rows.c.run_id == run_id)
    return int(connection.execute(query).scalar_one())
