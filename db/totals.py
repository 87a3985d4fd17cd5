"""Sums that are written in the transaction of the rows they sum, so that what an operator asks costs the same in a run
of a hundred nodes and of a million.

`totals`: trees, settled nodes (seeds and evolved ones apart), generated texts and examples, by status and reason, with
the sums of their scores. Open nodes are few, so they are counted where somebody asks. `call_totals`: the answers of
tasks that are closed; those of outstanding tasks are counted where somebody asks. Scores and seconds are summed as
decimal numbers of fifteen digits: sums that do not depend on their order, and that `verify` recounts exactly.

Whoever writes here holds the row of the run, so nobody waits for a sum.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.records import Json

# Rows sent in one statement.
_TOGETHER = 1000
SCORES = ("quality", "diversity", "complexity", "reward")
_SUMMED = ("count", *SCORES)
_COUNTED = ("calls", "tokens_in", "tokens_out", "nusd", "unpriced", "seconds")


def sums(row: str) -> str:
    """The sums of rows with scores, as columns of `totals`."""
    return "count(*), " + ", ".join(f"coalesce(sum({row}.{name}::numeric), 0)" for name in SCORES)


def adding(source: str) -> str:
    """A statement that adds what a query finds: run, what, status, reason (not null), count and the sums of scores."""
    return f"""
        INSERT INTO totals (run_id, what, status, reason, {", ".join(_SUMMED)}) {source}
        ON CONFLICT (run_id, what, status, reason) DO UPDATE SET
            {", ".join(f"{name} = totals.{name} + excluded.{name}" for name in _SUMMED)}
    """


def moving(changed: str, what: str) -> str:
    """The source of `adding` for rows that went from one status and reason to another.

    `changed` names a query with run_id, was, was_reason, status, reason and scores.
    """
    scores = ", ".join(SCORES)
    negative = ", ".join(f"-{name}" for name in SCORES)
    return f"""
        SELECT run_id, '{what}', status, reason, sum(sign), {", ".join(f"coalesce(sum({name}), 0)" for name in SCORES)}
        FROM (
            SELECT run_id, was AS status, coalesce(was_reason, '') AS reason, -1 AS sign, {negative} FROM {changed}
            UNION ALL SELECT run_id, status, coalesce(reason, ''), 1, {scores} FROM {changed}
        ) AS both_ways (run_id, status, reason, sign, {scores}) GROUP BY run_id, status, reason
    """


_ADD = text(
    adding(
        """
        SELECT :run, CAST(:what AS text), v.status, v.reason, v.count, 0, 0, 0, 0
        FROM json_to_recordset(CAST(:rows AS json)) AS v (status text, reason text, count bigint)
        """
    )
)


def add(connection: Connection, run_id: int, what: str, fates: Iterable[tuple[str, str | None]]) -> None:
    """Counts new rows without scores, each by its status and reason."""
    counts = Counter((status, reason or "") for status, reason in fates)
    for rows in listed({"status": s, "reason": r, "count": count} for (s, r), count in counts.items()):
        connection.execute(_ADD, {"run": run_id, "what": what, "rows": rows})


def listed(rows: Iterable[Json]) -> Iterator[str]:
    """Rows for `json_to_recordset`, a thousand at a time: the statement is the same however many they are."""
    every = list(rows)
    for start in range(0, len(every), _TOGETHER):
        yield json.dumps(every[start : start + _TOGETHER])


_CALLS = """
    role, endpoint, model, outcome, count(*) AS calls, sum(tokens_in)::bigint AS tokens_in,
    sum(tokens_out)::bigint AS tokens_out, coalesce(sum(nusd), 0)::bigint AS nusd,
    count(*) FILTER (WHERE nusd IS NULL) AS unpriced, sum(latency_s::numeric) AS seconds
"""
_COUNT = f"""
    INSERT INTO call_totals (run_id, role, endpoint, model, outcome, {", ".join(_COUNTED)})
    SELECT run_id, {_CALLS} FROM calls WHERE run_id IS NOT NULL AND {{which}} = ANY (:which)
    GROUP BY run_id, role, endpoint, model, outcome
    ON CONFLICT (run_id, role, endpoint, model, outcome) DO UPDATE SET
        {", ".join(f"{name} = call_totals.{name} + excluded.{name}" for name in _COUNTED)}
"""
_OF_TASKS, _LATE = text(_COUNT.format(which="task_id")), text(_COUNT.format(which="key"))


def count_calls(connection: Connection, task_ids: Sequence[int]) -> None:
    """Counts the answers of tasks that are closing."""
    connection.execute(_OF_TASKS, {"which": list(task_ids)})


def count_late(connection: Connection, keys: Sequence[str]) -> None:
    """Counts answers whose tasks were closed before they came."""
    connection.execute(_LATE, {"which": list(keys)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Answers of one kind: how many, their tokens, what they cost in nano-dollars (`unpriced` is how many have no known
    price), and the seconds that they took, summed.
    """

    role: str
    endpoint: str
    model: str
    outcome: str
    calls: int
    tokens_in: int
    tokens_out: int
    nusd: int
    unpriced: int
    seconds: float


# OFFSET 0: each task's answers are looked up by their index, whatever Postgres believes of the queue's length.
_ADDED = ", ".join(f"sum({name}){'' if name == 'seconds' else '::bigint'} AS {name}" for name in _COUNTED)
_ALL_CALLS = f"""
    SELECT role, endpoint, model, outcome, {_ADDED} FROM (
        SELECT role, endpoint, model, outcome, {", ".join(_COUNTED)} FROM call_totals WHERE {{total}}
        UNION ALL
        SELECT {_CALLS}
        FROM tasks k CROSS JOIN LATERAL (SELECT c.* FROM calls c WHERE c.task_id = k.id OFFSET 0) AS c
        WHERE k.applied_at IS NULL AND {{task}} GROUP BY role, endpoint, model, outcome
    ) AS parts GROUP BY role, endpoint, model, outcome
"""
_EVERY = text(_ALL_CALLS.format(total="true", task="true"))
_OF_RUN = text(_ALL_CALLS.format(total="run_id = :run", task="k.run_id = :run"))


def calls(connection: Connection, run_id: int | None = None) -> list[Calls]:
    """The answers in the ledger, of one run or of all, those of outstanding tasks included."""
    query, named = (_EVERY, {}) if run_id is None else (_OF_RUN, {"run": run_id})
    return [Calls(**{**row._mapping, "seconds": float(row.seconds)}) for row in connection.execute(query, named)]


def everywhere(connection: Connection, *what: str) -> Mapping[tuple[str, str], int]:
    """How many there are in all runs together, by status and reason."""
    query = """
        SELECT status, reason, sum(count)::bigint FROM totals WHERE what = ANY (:what)
        GROUP BY 1, 2 HAVING sum(count) <> 0
    """
    rows = connection.execute(text(query), {"what": list(what)})
    return {(status, reason): count for status, reason, count in rows}
