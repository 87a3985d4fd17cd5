"""Attempts: what may have to be paid for although its answer is in no row.

A request is sent only after its attempt is committed here, and the row goes in the transaction that records its answer.
What a killed process, a time-out or a broken connection leaves behind counts as spent at its worst case, so a cap holds
whatever dies. A task may pay for what it has reserved; an attempt beyond that reserves more, or is not made.

Locks are taken in one order everywhere: runs, tasks, attempts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Row, select, text, update

from db import amounts, totals
from db.among import arrays, insertion
from db.records import AttemptRow, Spend
from db.schema import attempts, runs, tasks


class Refusal(StrEnum):
    """Why an attempt may not be made."""

    STALE = "stale"  # its task's lease has gone to somebody else
    HALTED = "halted"  # its run is paused or has ended
    UNCOVERED = "uncovered"  # beyond what its task has reserved: `cover` it, and ask again
    CAP = "cap"  # and no cap leaves room for more


@dataclass(slots=True)
class _Cover:
    """What a task has reserved, and what it has used of it."""

    token: int
    halted: bool
    reserved: Spend
    used: Spend

    def lacks(self, amount: Spend) -> Spend:
        short = self.used + amount - self.reserved
        return Spend(calls=max(short.calls, 0), tokens=max(short.tokens, 0), nusd=max(short.nusd, 0))


def _worst(attempt: AttemptRow) -> Spend:
    return Spend(calls=1, tokens=attempt.tokens, nusd=attempt.nusd or 0)


def open_all(connection: Connection, wanted: Sequence[AttemptRow]) -> dict[str, Refusal]:
    """Writes the attempts that may be made down as open; returns why the others (by id) may not.

    Doing it again is harmless: an attempt that is open already stays so, and one that was lost meanwhile is refused.
    """
    covers, known = _covers(connection, {attempt.task_id for attempt in wanted})
    new = [attempt for attempt in wanted if attempt.id not in known]
    refused: dict[str, Refusal] = {}
    opened: list[AttemptRow] = []
    for attempt in new:
        cover = covers.get(attempt.task_id)
        if cover is None or cover.token != attempt.lease_token:
            refused[attempt.id] = Refusal.STALE
        elif cover.halted:
            refused[attempt.id] = Refusal.HALTED
        elif cover.lacks(_worst(attempt)) != Spend():
            refused[attempt.id] = Refusal.UNCOVERED
        else:
            cover.used += _worst(attempt)
            opened.append(attempt)
    _insert(connection, opened)
    return refused


def cover(connection: Connection, attempt: AttemptRow) -> Refusal | None:
    """Reserves what an attempt needs beyond its task's reservation, and opens it; or says why not."""
    run = connection.execute(select(runs).where(runs.c.id == attempt.run_id).with_for_update(key_share=True)).one()
    covers, known = _covers(connection, {attempt.task_id})
    if attempt.id in known:
        return None
    found = covers.get(attempt.task_id)
    if found is not None and found.token == attempt.lease_token and not found.halted:
        more = found.lacks(_worst(attempt))
        if not amounts.caps_of(run).allow(amounts.of(run, "reserved") + amounts.of(run, "spent") + more):
            return Refusal.CAP
        _reserve_more(connection, attempt, more)
    return open_all(connection, [attempt]).get(attempt.id)


def _reserve_more(connection: Connection, attempt: AttemptRow, more: Spend) -> None:
    for table, row_id in ((runs, attempt.run_id), (tasks, attempt.task_id)):
        connection.execute(update(table).where(table.c.id == row_id).values(**amounts.plus(table, "reserved", more)))


_LEASED = text(
    """
    SELECT t.id, t.lease_token, t.reserved_calls, t.reserved_tokens, t.reserved_nusd, r.status AS run_status
    FROM tasks t JOIN runs r ON r.id = t.run_id
    WHERE t.id = ANY (:ids) AND t.state = 'leased'
    ORDER BY t.id FOR NO KEY UPDATE OF t
    """
)


def _covers(connection: Connection, task_ids: Collection[int]) -> tuple[dict[int, _Cover], set[str]]:
    """The leased among these tasks, locked, each with its reservation and what was paid or may have been.

    And the ids of the attempts of all these tasks that are open.
    """
    if not task_ids:
        return {}, set()
    leased = connection.execute(_LEASED, {"ids": sorted(task_ids)}).all()
    used, known = _used(connection, task_ids)
    covers = {
        row.id: _Cover(
            token=row.lease_token,
            halted=row.run_status != "running",
            reserved=amounts.of(row, "reserved"),
            used=used.get(row.id, Spend()),
        )
        for row in leased
    }
    return covers, known


_USED = text(
    """
    SELECT task_id, NULL AS open, count(*) AS calls, sum(tokens_in + tokens_out) AS tokens, sum(nusd) AS nusd
    FROM calls WHERE task_id = ANY (:ids) GROUP BY task_id
    UNION ALL
    SELECT task_id, CASE WHEN fate = 'open' THEN id END, 1, tokens, nusd FROM attempts WHERE task_id = ANY (:ids)
    """
)


def _used(connection: Connection, task_ids: Collection[int]) -> tuple[dict[int, Spend], set[str]]:
    """What each of these tasks has paid or may have, and the ids of its open attempts."""
    used: dict[int, Spend] = {}
    known: set[str] = set()
    for row in connection.execute(_USED, {"ids": sorted(task_ids)}):
        amount = Spend(calls=row.calls, tokens=int(row.tokens), nusd=int(row.nusd or 0))
        used[row.task_id] = used.get(row.task_id, Spend()) + amount
        known.update([row.open] if row.open else [])
    return used, known


_COLUMNS = (
    *(("id", "text"), ("key", "text"), ("run_id", "bigint"), ("task_id", "bigint")),
    *(("role", "text"), ("endpoint", "text"), ("tokens", "bigint"), ("nusd", "bigint")),
)
_INSERT = insertion("attempts", _COLUMNS, then="ON CONFLICT DO NOTHING")


def _insert(connection: Connection, opened: Sequence[AttemptRow]) -> None:
    if opened:
        connection.execute(_INSERT, arrays(opened, _COLUMNS))


# The runs first: rows are locked when everything else of a query has been done, so that those of `late` come before.
_LOCK = text(
    """
    WITH late AS MATERIALIZED (
        SELECT id FROM runs WHERE id IN (SELECT run_id FROM attempts WHERE id = ANY (:ids) AND settled)
        ORDER BY id FOR NO KEY UPDATE
    )
    SELECT a.id FROM attempts a CROSS JOIN (SELECT count(*) AS runs FROM late) AS locked
    WHERE a.id = ANY (:ids) AND locked.runs >= 0 ORDER BY a.id FOR UPDATE OF a
    """
)


def lock(connection: Connection, ids: Collection[str]) -> None:
    """Locks attempts, after the runs that have counted some of them as spent, because that sum will change.

    Without this a page with a late answer and a driver that settles another of its attempts wait for each other.
    """
    if not ids:
        return
    connection.execute(_LOCK, {"ids": list(ids)})


_GONE = text("DELETE FROM attempts WHERE id = ANY (:ids) RETURNING id, key, run_id, tokens, nusd, settled")


def close_all(connection: Connection, costs: Mapping[str, Spend]) -> None:
    """Takes attempts back whose cost is known: what their answers cost, or nothing where they were surely not paid.

    Where an attempt was counted as spent already, because its task had ended, the difference is given back, and its
    answer, which nobody has counted yet, is.
    """
    if not costs:
        return
    late = [row for row in connection.execute(_GONE, {"ids": sorted(costs)}).all() if row.settled]
    for row in late:
        _adjust(connection, row.run_id, costs[row.id] - _most(row))
    if answered := [row.key for row in late if costs[row.id].calls]:
        totals.count_late(connection, answered)


def doubled(connection: Connection, attempt_id: str, cost: Spend) -> None:
    """Keeps an attempt whose answer had been paid for already, at what it really cost."""
    unknown = (attempts.c.id == attempt_id, attempts.c.fate != "doubled")
    before = connection.execute(select(attempts).where(*unknown).with_for_update()).one_or_none()
    if before is None:
        return
    # A price that is not known stays unknown.
    values = {"fate": "doubled", "tokens": cost.tokens, "nusd": None if before.nusd is None else cost.nusd}
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(**values))
    if before.settled:
        _adjust(connection, before.run_id, cost - _most(before))


def _most(row: Row[tuple[object, ...]]) -> Spend:
    return Spend(calls=1, tokens=row.tokens, nusd=row.nusd or 0)


def _adjust(connection: Connection, run_id: int, amount: Spend) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(**amounts.plus(runs, "spent", amount)))


def settle(connection: Connection, task_ids: Sequence[int]) -> Spend:
    """What these tasks have spent: their answers, and their attempts without one, which are lost from here on.

    The attempts are locked first, so that an answer that arrives meanwhile is either counted here or waits for us.
    """
    connection.execute(
        select(attempts.c.id).where(attempts.c.task_id.in_(task_ids)).order_by(attempts.c.id).with_for_update()
    )
    connection.execute(
        update(attempts).where(attempts.c.task_id.in_(task_ids), attempts.c.fate == "open").values(fate="lost")
    )
    total = sum(_used(connection, task_ids)[0].values(), Spend())
    totals.count_calls(connection, task_ids)
    connection.execute(update(attempts).where(attempts.c.task_id.in_(task_ids)).values(settled=True))
    return total
