"""The ledger: one row per paid response, found again by what was asked."""

import json
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter

from sqlalchemy import Connection, func, select, text

from db.among import arrays, insertion
from db.records import CallRow
from db.schema import calls

_COLUMNS = (
    *(("key", "text"), ("run_id", "bigint"), ("task_id", "bigint"), ("role", "text"), ("endpoint", "text")),
    *(("model", "text"), ("tokens_in", "int"), ("tokens_out", "int"), ("nusd", "bigint"), ("latency_s", "float8")),
    *(("outcome", "text"), ("response", "jsonb")),
)
_INSERT = insertion("calls", _COLUMNS, then="ON CONFLICT (key) DO NOTHING RETURNING key")
_FIND = text(f"SELECT {', '.join(name for name, _ in _COLUMNS)} FROM calls WHERE key = ANY (:keys)")


def find(connection: Connection, keys: Collection[str]) -> Mapping[str, CallRow]:
    """The rows under these keys, whatever became of the calls: who reads one must look at its outcome."""
    if not keys:
        return {}
    rows = connection.execute(_FIND, {"keys": sorted(keys)})
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
    values = arrays(sorted(rows, key=attrgetter("key")), _COLUMNS)
    values["response"] = [json.dumps(response, ensure_ascii=False) for response in values["response"]]
    return set(connection.execute(_INSERT, values).scalars())
