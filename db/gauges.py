"""The state of the whole installation, of all runs together, for whoever watches it.

What grows without end (calls, nodes) is read bit by bit: each question names the time up to which the answer is known
already. Rows get their time when their transaction begins, so what is younger than `SETTLED_S` may still be joined by
rows of an earlier time; it is counted anew each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

# No transaction that writes calls or nodes is open for so long.
SETTLED_S = 120
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Sums by key over rows of a span of time, which ends at `until`."""

    until: datetime
    sums: Mapping[Key, tuple[float, ...]]


# role, endpoint, outcome -> calls, tokens in, tokens out, nano-dollars (of known prices), seconds
_CALLS = """
    SELECT role, endpoint, outcome, count(*), sum(tokens_in), sum(tokens_out), coalesce(sum(nusd), 0), sum(latency_s)
    FROM calls WHERE {span} GROUP BY 1, 2, 3
"""
# status, reason -> nodes
_NODES = """
    SELECT status, coalesce(reason, ''), count(*) FROM nodes
    WHERE status IN ('scored', 'unscored', 'rejected', 'failed') AND {span} GROUP BY 1, 2
"""
# status, reason -> generated texts of pools
_TEXTS = """
    SELECT status, coalesce(reason, ''), count(*) FROM instructions
    WHERE origin = 'generated' AND {span} GROUP BY 1, 2
"""
_KINDS = {"calls": (_CALLS, "created_at", 3), "nodes": (_NODES, "settled_at", 2), "texts": (_TEXTS, "created_at", 2)}


def now(connection: Connection) -> datetime:
    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found


def counted(connection: Connection, what: str, after: datetime | None, until: datetime | None) -> Mapping[Key, Any]:
    """Sums over rows of `calls`, settled `nodes` or generated `texts` with a time after one and up to the other."""
    query, column, keys = _KINDS[what]
    spans = [f"{column} IS NOT NULL"]
    spans += [f"{column} > :after"] if after else []
    spans += [f"{column} <= :until"] if until else []
    rows = connection.execute(text(query.format(span=" AND ".join(spans))), {"after": after, "until": until})
    return {tuple(row[:keys]): tuple(float(value) for value in row[keys:]) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Tasks of one kind that are not closed: due, waiting for their time after a failure, in hand; dead ones were kept
    with their reason. oldest_s: how long the oldest due one has been so. unapplied: ended, not yet noticed.
    """

    kind: str
    ready: int
    retrying: int
    leased: int
    dead: int
    unapplied: int
    oldest_s: float
    lag_s: float

    @classmethod
    def empty(cls, kind: str) -> "Queue":
        return cls(kind=kind, ready=0, retrying=0, leased=0, dead=0, unapplied=0, oldest_s=0, lag_s=0)


_QUEUES = """
    SELECT kind,
           count(*) FILTER (WHERE state = 'ready' AND not_before <= now()) AS ready,
           count(*) FILTER (WHERE state = 'ready' AND not_before > now()) AS retrying,
           count(*) FILTER (WHERE state = 'leased') AS leased,
           count(*) FILTER (WHERE state = 'failed' AND applied_at IS NOT NULL) AS dead,
           count(*) FILTER (WHERE state IN ('done', 'failed') AND applied_at IS NULL) AS unapplied,
           coalesce(extract(epoch FROM now() - min(not_before)
                    FILTER (WHERE state = 'ready' AND not_before <= now() AND r.status = 'running')), 0)::float8
               AS oldest_s,
           coalesce(extract(epoch FROM now() - min(ended_at)
                    FILTER (WHERE state IN ('done', 'failed') AND applied_at IS NULL AND r.status = 'running')), 0
           )::float8 AS lag_s
    FROM tasks k JOIN runs r ON r.id = k.run_id GROUP BY kind
"""


def queues(connection: Connection) -> list[Queue]:
    return [Queue(**row._mapping) for row in connection.execute(text(_QUEUES))]


def runs_by_status(connection: Connection) -> Mapping[str, int]:
    return _pairs(connection, "SELECT status, count(*) FROM runs GROUP BY status")


def examples_by_fate(connection: Connection) -> Mapping[tuple[str, str], int]:
    """By status and reason."""
    rows = connection.execute(text("SELECT status, coalesce(reason, ''), count(*) FROM examples GROUP BY 1, 2"))
    return {(status, reason): count for status, reason, count in rows}


def nodes_open(connection: Connection) -> int:
    """Nodes that are not settled: their trees still grow, so there are never many trees to look into."""
    query = """
        SELECT count(*) FROM trees t JOIN nodes n ON n.tree_id = t.id
        WHERE t.status = 'growing' AND n.status IN ('proposed', 'generated')
    """
    return int(connection.execute(text(query)).scalar_one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What running runs with a cap may still reserve, summed; None where no run has that cap."""

    calls: int | None
    tokens: int | None
    nusd: int | None
    seconds: float | None


_LEFT = """
    SELECT sum(cap_calls - reserved_calls - spent_calls)::bigint AS calls,
           sum(cap_tokens - reserved_tokens - spent_tokens)::bigint AS tokens,
           sum(cap_nusd - reserved_nusd - spent_nusd)::bigint AS nusd,
           sum(CASE WHEN cap_s IS NOT NULL THEN greatest(cap_s - driven_s, 0) END)::float8 AS seconds
    FROM runs WHERE status = 'running'
"""


def left(connection: Connection) -> Left:
    return Left(**connection.execute(text(_LEFT)).one()._mapping)


def attempts_by_fate(connection: Connection) -> Mapping[str, int]:
    """Requests that may have to be paid for without an answer in the ledger."""
    return _pairs(connection, "SELECT fate, count(*) FROM attempts GROUP BY fate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Living workers of one version: processes, slots, busy slots."""

    version: str
    workers: int
    slots: int
    busy: int


_HANDS = """
    SELECT version, count(*) AS workers, sum(slots)::bigint AS slots, sum(busy)::bigint AS busy FROM workers
    WHERE left_at IS NULL AND beat_at > now() - make_interval(secs => :silent_s)
      AND NOT queues @> ARRAY[:orchestrator] GROUP BY version
"""


def hands(connection: Connection, *, silent_s: float, orchestrator: str) -> list[Hands]:
    rows = connection.execute(text(_HANDS), {"silent_s": silent_s, "orchestrator": orchestrator})
    return [Hands(**row._mapping) for row in rows]


def dead_rows(connection: Connection) -> Mapping[str, int]:
    """By table, as Postgres estimates it."""
    return _pairs(connection, "SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'public'")


def connections(connection: Connection) -> Mapping[str, int]:
    """Connections to this database, by state."""
    query = """
        SELECT coalesce(state, 'none'), count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1
    """
    return _pairs(connection, query)


def _pairs(connection: Connection, query: str) -> Mapping[str, int]:
    return {name: int(count) for name, count in connection.execute(text(query))}
