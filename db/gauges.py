"""The state of the whole installation, of all runs together, for whoever watches it. What grows without end is in
`db.totals`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


def now(connection: Connection) -> datetime:
    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Tasks of one kind that are not closed: due, waiting for their time after a failure, in hand; dead ones were kept
    with their reason. held: nobody may begin them, since their run is not running. unapplied: ended, not yet noticed.
    oldest_s: seconds since the oldest due one became so; lag_s: since the oldest unapplied one of a running run ended.
    """

    kind: str
    ready: int
    retrying: int
    held: int
    leased: int
    dead: int
    unapplied: int
    oldest_s: float
    lag_s: float

    @classmethod
    def empty(cls, kind: str) -> "Queue":
        return cls(kind=kind, ready=0, retrying=0, held=0, leased=0, dead=0, unapplied=0, oldest_s=0, lag_s=0)


_QUEUES = """
    SELECT kind,
           count(*) FILTER (WHERE state = 'ready' AND not_before <= now() AND r.status = 'running') AS ready,
           count(*) FILTER (WHERE state = 'ready' AND not_before > now() AND r.status = 'running') AS retrying,
           count(*) FILTER (WHERE state = 'ready' AND r.status <> 'running') AS held,
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


def nodes_open(connection: Connection) -> int:
    """Nodes that are not settled, of runs that have not ended: their trees still grow, so there are never many trees to
    look into. What a run that was cancelled left behind waits for nothing.
    """
    query = """
        SELECT count(*) FROM trees t JOIN runs r ON r.id = t.run_id
        CROSS JOIN LATERAL (SELECT n.status FROM nodes n WHERE n.tree_id = t.id OFFSET 0) AS n
        WHERE r.status IN ('running', 'paused') AND t.status = 'growing' AND n.status IN ('proposed', 'generated')
    """
    return int(connection.execute(text(query)).scalar_one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What running runs with a cap may still reserve: `amount` of them all, `share` of the one that has the smallest
    share of its own cap left, from 1 to 0. One that has nothing left hides no other: 0 is told where none has.
    """

    amount: float
    share: float


_LEFT = """
    SELECT unit, sum(remaining)::float8 AS amount,
           coalesce(min(remaining / nullif(cap, 0)) FILTER (WHERE remaining > 0), 0)::float8 AS share
    FROM runs CROSS JOIN LATERAL (VALUES
        ('calls', cap_calls::float8, (cap_calls - reserved_calls - spent_calls)::float8),
        ('tokens', cap_tokens, cap_tokens - reserved_tokens - spent_tokens),
        ('nusd', cap_nusd, cap_nusd - reserved_nusd - spent_nusd),
        ('seconds', cap_s, CASE WHEN driven_s < cap_s THEN cap_s - driven_s ELSE 0 END)
    ) AS capped (unit, cap, remaining)
    WHERE status = 'running' AND cap IS NOT NULL GROUP BY unit
"""


def left(connection: Connection) -> Mapping[str, Left]:
    """By unit (calls, tokens, nusd, seconds); those that no running run has a cap on are absent."""
    rows = connection.execute(text(_LEFT))
    return {row.unit: Left(amount=row.amount, share=row.share) for row in rows}


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
