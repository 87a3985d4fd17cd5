"""Removing an ended run's rows, a bounded batch in each transaction: whoever is killed in between can go on.

A run is marked first, and its own row goes last. What it was answered stays in the ledger, where any run finds it by
what was asked, or is forgotten as far as no other run names it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, text, update

from db.records import Run
from db.runs import name_alone
from db.schema import notices, runs, trees

# The reason of a run whose rows are being removed, or were half removed.
MARK = "being removed"
# How many go in one transaction.
_ROWS, _TREES, _CALLS = 5_000, 50, 20_000
# Whatever points to a row goes before it: it would be taken along, however much it is.
_BY_TREE = ("rollouts", "judgements", "nodes")
_BEFORE_TREES = ("tasks", "verdicts", "examples")
_BEHIND_TREES = (
    *("lessons", "seed_events", "batches", "instructions", "rounds"),
    *("attempts", "minutes", "task_totals", "totals", "call_totals"),
)


@dataclass(frozen=True, slots=True)
class Calls:
    """A batch of calls: the id of its last, and how many of it were changed."""

    last: int
    changed: int


def mark(connection: Connection, run_id: int) -> None:
    """From here on the run is a cancelled one, whatever it was, and nobody is told of it any more."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(status="cancelled", reason=MARK))
    connection.execute(delete(notices).where(notices.c.run_id == run_id))


def wait_for_turn(connection: Connection, run_id: int) -> None:
    """Waits until nobody else is removing rows of this run; nobody will be until this transaction ends."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))


def remove_some(connection: Connection, run_id: int) -> dict[str, int]:
    """Removes a batch of the run's rows. Returns how many of which table; nothing when only calls are left of it."""
    for table in _BEFORE_TREES:
        if count := _delete(connection, table, run_id):
            return {table: count}
    if found := _delete_trees(connection, run_id):
        return found
    for table in _BEHIND_TREES:
        if count := _delete(connection, table, run_id):
            return {table: count}
    return {}


def _delete(connection: Connection, table: str, run_id: int) -> int:
    some = f"SELECT ctid FROM {table} WHERE run_id = :run LIMIT {_ROWS}"
    query = text(f"DELETE FROM {table} WHERE ctid = ANY (ARRAY ({some}))")
    return connection.execute(query, {"run": run_id}).rowcount


def _delete_trees(connection: Connection, run_id: int) -> dict[str, int]:
    """Whole trees: a node cannot go before those below it."""
    first = select(trees.c.id).where(trees.c.run_id == run_id).order_by(trees.c.ordinal).limit(_TREES)
    ids = list(connection.scalars(first))
    if not ids:
        return {}
    of_tree = {
        table: connection.execute(text(f"DELETE FROM {table} WHERE tree_id = ANY (:ids)"), {"ids": ids}).rowcount
        for table in _BY_TREE
    }
    return {**of_tree, "trees": connection.execute(delete(trees).where(trees.c.id.in_(ids))).rowcount}


# -- the ledger

# Which calls of a batch some row names.
_NAMED = """
    SELECT batch.key FROM batch JOIN (
        SELECT unnest(calls) AS key FROM nodes UNION ALL SELECT unnest(calls) FROM judgements
        UNION ALL SELECT unnest(response_calls) FROM examples
        UNION ALL SELECT unnest(calls || instance_calls) FROM instructions
    ) AS named USING (key)
"""
_BATCH = f"SELECT id, key FROM calls WHERE run_id = :run AND id > :after ORDER BY id LIMIT {_CALLS}"
_RELEASE = "UPDATE calls SET run_id = NULL WHERE id IN (SELECT id FROM batch)"
_FORGET = f"DELETE FROM calls WHERE id IN (SELECT id FROM batch WHERE key NOT IN ({_NAMED}))"


def release_some(connection: Connection, run_id: int, after: int) -> Calls | None:
    """Keeps a batch of the run's calls behind this id as nobody's. None when there is none."""
    return _change_some(connection, _RELEASE, run_id, after)


def forget_some(connection: Connection, run_id: int, after: int) -> Calls | None:
    """Removes, of a batch of the run's calls behind this id, those that no row names. None when there is none.

    The run's own rows have to be gone, and all other runs over (`others_on`).
    """
    connection.execute(text("SET LOCAL statement_timeout = 0"))  # it looks through the rows of all runs
    return _change_some(connection, _FORGET, run_id, after)


def _change_some(connection: Connection, change: str, run_id: int, after: int) -> Calls | None:
    query = f"""
        WITH batch AS MATERIALIZED ({_BATCH}), changed AS ({change} RETURNING id)
        SELECT (SELECT max(id) FROM batch) AS last, (SELECT count(*) FROM changed) AS changed
    """
    row = connection.execute(text(query), {"run": run_id, "after": after}).one()
    return None if row.last is None else Calls(row.last, row.changed)


def others_on(connection: Connection, run_id: int) -> list[str]:
    """The runs beside this one that are not over. None begins or goes on before this transaction ends."""
    connection.execute(text("LOCK TABLE runs IN SHARE MODE"))
    on = select(runs.c.name).where(runs.c.id != run_id, runs.c.finished_at.is_(None)).order_by(runs.c.id)
    return list(connection.scalars(on))


def remove_run(connection: Connection, run: Run) -> None:
    """Removes the run's own row. Nothing points to it any more but a call that came late, which stays as nobody's."""
    name_alone(connection, run.name)
    connection.execute(delete(runs).where(runs.c.id == run.id))
