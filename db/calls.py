"""The ledger: one row per paid response, found again by what was asked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from db.records import CallRow
from db.schema import calls

_COLUMNS = [column for column in calls.c if column.name in CallRow.__dataclass_fields__]


def find(connection: Connection, keys: Collection[str]) -> Mapping[str, CallRow]:
    """The rows under these keys, whatever became of the calls: who reads one must look at its outcome."""
    if not keys:
        return {}
    rows = connection.execute(select(*_COLUMNS).where(calls.c.key.in_(sorted(keys))))
    return {row["key"]: CallRow(**row) for row in rows.mappings()}


def longest_prompts(connection: Connection, task_ids: Sequence[int]) -> Mapping[str, int]:
    """The most tokens in that a call of these tasks had, by role."""
    query = select(calls.c.role, func.max(calls.c.tokens_in).label("most")).where(calls.c.task_id.in_(task_ids))
    return {row.role: row.most for row in connection.execute(query.group_by(calls.c.role))}


def insert(connection: Connection, rows: Sequence[CallRow]) -> set[str]:
    """Adds rows; under a key that is taken the older row stands. Returns the keys that were added.

    They go in by order of key: two writers with keys in common would deadlock otherwise.
    """
    if not rows:
        return set()
    statement = postgres_insert(calls).on_conflict_do_nothing(index_elements=[calls.c.key]).returning(calls.c.key)
    values = [asdict(row) for row in sorted(rows, key=lambda row: row.key)]
    return set(connection.execute(statement, values).scalars())
