"""Questions about a run: counts, means, rates, reasons. What may be long is answered from sums that are written with
its rows (`db.totals`), the rest from the rows themselves; so nothing can drift.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from db import totals
from db.errors import WITHDRAWN

# Open nodes are in trees that grow, or were cut while they did. OFFSET 0: these are looked up by their index.
_NODES = """
    SELECT status, sum(count)::bigint AS n FROM (
        SELECT status, count FROM totals WHERE run_id = :run AND what IN ('seeds', 'evolved')
        UNION ALL
        SELECT n.status, count(*) FROM trees t
        CROSS JOIN LATERAL (SELECT n.status FROM nodes n WHERE n.tree_id = t.id OFFSET 0) AS n
        WHERE t.run_id = :run AND t.status IN ('growing', 'cut') AND n.status IN ('proposed', 'generated')
        GROUP BY n.status
    ) AS parts GROUP BY status
"""


def node_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    """Nodes by status, roots included."""
    return {row.status: row.n for row in connection.execute(text(_NODES), {"run": run_id})}


def tree_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    return _by_status(connection, run_id, "trees")


def example_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    return _by_status(connection, run_id, "examples")


def text_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    return _by_status(connection, run_id, "texts")


def _by_status(connection: Connection, run_id: int, what: str) -> Mapping[str, int]:
    query = """
        SELECT status, sum(count)::bigint AS n FROM totals WHERE run_id = :run AND what = :what
        GROUP BY status HAVING sum(count) <> 0
    """
    return {row.status: row.n for row in connection.execute(text(query), {"run": run_id, "what": what})}


def call_sums(connection: Connection, run_id: int) -> Mapping[str, Any]:
    """calls, tokens_in, tokens_out, nusd (NULL as soon as one price is unknown) of what this run paid for."""
    return _together(totals.calls(connection, run_id))


def _together(found: list[totals.Calls]) -> dict[str, Any]:
    return {
        "calls": sum(one.calls for one in found),
        "tokens_in": sum(one.tokens_in for one in found),
        "tokens_out": sum(one.tokens_out for one in found),
        "nusd": None if any(one.unpriced for one in found) else sum(one.nusd for one in found),
    }


def role_spend(connection: Connection, run_id: int) -> list[Mapping[str, Any]]:
    """By role: what `call_sums` has, mean_latency_s (seconds), and the models that answered."""
    by_role: dict[str, list[totals.Calls]] = {}
    for one in totals.calls(connection, run_id):
        by_role.setdefault(one.role, []).append(one)
    return [
        {
            "role": role,
            **(spent := _together(found)),
            "mean_latency_s": sum(one.seconds for one in found) / spent["calls"],
            "models": sorted({one.model for one in found}),
        }
        for role, found in sorted(by_role.items())
    ]


def _means(connection: Connection, run_id: int, what: str, *status: str) -> Mapping[str, float | None]:
    """Mean scores, from sums of decimal numbers."""
    means = ", ".join(f"(sum({name}) / nullif(sum(count), 0))::float8 AS {name}" for name in totals.SCORES)
    query = f"SELECT {means} FROM totals WHERE run_id = :run AND what = :what AND status = ANY (:status)"
    found = connection.execute(text(query), {"run": run_id, "what": what, "status": list(status)})
    return dict(found.mappings().one())


def seed_means(connection: Connection, run_id: int) -> Mapping[str, float | None]:
    """Mean scores of the roots that were scored."""
    return _means(connection, run_id, "seeds", "scored")


def harvest_means(connection: Connection, run_id: int) -> Mapping[str, float | None]:
    """Mean scores of the harvest: the examples that are accepted or still wait for their response."""
    return _means(connection, run_id, "examples", "accepted", "pending")


def evolved_means(connection: Connection, run_id: int) -> Mapping[str, float | None]:
    """Mean scores of all evolved nodes so far; what a live display shows before there is a harvest."""
    return _means(connection, run_id, "evolved", "scored")


def unanswered(connection: Connection, run_id: int) -> Mapping[str, int]:
    """Attempts that may have been paid for without an answer of their own, by fate."""
    rows = connection.execute(
        text("SELECT fate, count(*) AS n FROM attempts WHERE run_id = :run GROUP BY fate"), {"run": run_id}
    )
    return {row.fate: row.n for row in rows}


def waiting(connection: Connection, run_id: int) -> Mapping[str, Any] | None:
    """How many tasks were tried in vain and are not done yet, and the latest cause; None when there is none.

    A task whose call was withdrawn, for a pause, was not tried.
    """
    row = connection.execute(
        text(
            "SELECT count(*) AS tasks, (array_agg(error ORDER BY not_before DESC))[1] AS cause FROM tasks "
            "WHERE run_id = :run AND state IN ('ready', 'leased') AND NOT starts_with(error, :withdrawn)"
        ),
        {"run": run_id, "withdrawn": f"{WITHDRAWN}: "},
    ).one()
    return dict(row._mapping) if row.tasks else None


_REASONS = """
    SELECT reason, sum(count)::bigint AS n FROM totals
    WHERE run_id = :run AND what <> 'trees' AND status IN ('rejected', 'failed', 'unscored')
    GROUP BY reason HAVING sum(count) <> 0 ORDER BY n DESC, reason
"""


def reasons(connection: Connection, run_id: int) -> Mapping[str, int]:
    """Why nodes, texts of a pool and examples came to nothing, most frequent first."""
    return {row.reason: row.n for row in connection.execute(text(_REASONS), {"run": run_id})}


def failed_tasks(connection: Connection, run_id: int) -> Mapping[str, int]:
    """Errors of tasks that no attempt could carry out."""
    rows = connection.execute(
        text(
            "SELECT coalesce(error, 'unknown') AS error, count(*) AS n FROM tasks "
            "WHERE run_id = :run AND state = 'failed' GROUP BY 1 ORDER BY n DESC"
        ),
        {"run": run_id},
    )
    return {row.error: row.n for row in rows}


def queues(connection: Connection, run_id: int) -> Mapping[str, Mapping[str, Any]]:
    """Per kind: ready, leased, and how long the oldest ready task has been due, in seconds."""
    rows = connection.execute(
        text(
            "SELECT kind, count(*) FILTER (WHERE state = 'ready') AS ready, "
            "count(*) FILTER (WHERE state = 'leased') AS leased, "
            "coalesce(extract(epoch FROM now() - min(not_before) FILTER (WHERE state = 'ready')), 0)::float8 "
            "AS oldest_s "
            "FROM tasks WHERE run_id = :run AND state IN ('ready', 'leased') GROUP BY kind"
        ),
        {"run": run_id},
    )
    return {row.kind: {"ready": row.ready, "leased": row.leased, "oldest_s": max(0.0, row.oldest_s)} for row in rows}


def elapsed_s(connection: Connection, run_id: int) -> float:
    """Wall time of the run up to its end, or to now."""
    query = "SELECT extract(epoch FROM coalesce(finished_at, now()) - created_at)::float8 FROM runs WHERE id = :run"
    return float(connection.execute(text(query), {"run": run_id}).scalar_one())


def node_costs(connection: Connection, tree_ids: list[int]) -> Mapping[tuple[int, str], Mapping[str, Any]]:
    """Per node: calls, tokens_in, tokens_out, nusd; a call that served several siblings is shared among them."""
    rows = connection.execute(
        text(
            """
            WITH used AS (
                SELECT n.tree_id, n.key, u.call, count(*) OVER (PARTITION BY n.tree_id, u.call) AS sharers
                FROM nodes n, unnest(n.calls) AS u(call) WHERE n.tree_id = ANY (:trees)
            )
            SELECT used.tree_id, used.key, count(*) AS calls,
                   sum(c.tokens_in::float8 / sharers) AS tokens_in, sum(c.tokens_out::float8 / sharers) AS tokens_out,
                   CASE WHEN bool_or(c.nusd IS NULL) THEN NULL ELSE sum(c.nusd::float8 / sharers) END AS nusd
            FROM used JOIN calls c ON c.key = used.call GROUP BY used.tree_id, used.key
            """
        ),
        {"trees": tree_ids},
    )
    return {(row.tree_id, row.key): dict(row._mapping) for row in rows}
