"""Questions about a run: counts, means, rates, reasons. They are answered from rows, so they cannot drift."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

_DIMENSIONS = (
    "avg(quality) AS quality, avg(diversity) AS diversity, avg(complexity) AS complexity, avg(reward) AS reward"
)


def _one(connection: Connection, query: str, run_id: int) -> dict[str, Any]:
    return dict(connection.execute(text(query), {"run": run_id}).mappings().one())


def node_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    """Nodes by status, roots included."""
    rows = connection.execute(
        text(
            "SELECT n.status, count(*) AS n FROM nodes n JOIN trees t ON t.id = n.tree_id "
            "WHERE t.run_id = :run GROUP BY n.status"
        ),
        {"run": run_id},
    )
    return {row.status: row.n for row in rows}


def tree_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    rows = connection.execute(
        text("SELECT status, count(*) AS n FROM trees WHERE run_id = :run GROUP BY status"), {"run": run_id}
    )
    return {row.status: row.n for row in rows}


def example_counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    rows = connection.execute(
        text("SELECT status, count(*) AS n FROM examples WHERE run_id = :run GROUP BY status"), {"run": run_id}
    )
    return {row.status: row.n for row in rows}


def call_sums(connection: Connection, run_id: int) -> Mapping[str, Any]:
    """calls, tokens_in, tokens_out, nusd (NULL as soon as one price is unknown) of what this run paid for."""
    return _one(
        connection,
        "SELECT count(*) AS calls, coalesce(sum(tokens_in), 0)::bigint AS tokens_in, "
        "coalesce(sum(tokens_out), 0)::bigint AS tokens_out, "
        "CASE WHEN bool_or(nusd IS NULL) THEN NULL ELSE coalesce(sum(nusd), 0)::bigint END AS nusd "
        "FROM calls WHERE run_id = :run",
        run_id,
    )


def role_spend(connection: Connection, run_id: int) -> list[Mapping[str, Any]]:
    rows = connection.execute(
        text(
            "SELECT role, count(*) AS calls, sum(tokens_in)::bigint AS tokens_in, "
            "sum(tokens_out)::bigint AS tokens_out, avg(latency_s) AS mean_latency_s, "
            "array_agg(DISTINCT model ORDER BY model) AS models, "
            "CASE WHEN bool_or(nusd IS NULL) THEN NULL ELSE sum(nusd)::bigint END AS nusd "
            "FROM calls WHERE run_id = :run GROUP BY role ORDER BY role"
        ),
        {"run": run_id},
    )
    return [dict(row) for row in rows.mappings()]


def seed_means(connection: Connection, run_id: int) -> Mapping[str, float | None]:
    """Mean scores of the roots that were scored."""
    return _one(
        connection,
        f"SELECT {_DIMENSIONS} FROM nodes n JOIN trees t ON t.id = n.tree_id "
        "WHERE t.run_id = :run AND n.parent_key IS NULL AND n.status = 'scored'",
        run_id,
    )


def harvest_means(connection: Connection, run_id: int) -> Mapping[str, float | None]:
    """Mean scores of the harvest: the examples that are accepted or still wait for their response."""
    return _one(
        connection,
        f"SELECT {_DIMENSIONS} FROM examples e JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key "
        "WHERE e.run_id = :run AND e.status IN ('accepted', 'pending')",
        run_id,
    )


def evolved_means(connection: Connection, run_id: int) -> Mapping[str, float | None]:
    """Mean scores of all evolved nodes so far; what a live display shows before there is a harvest."""
    return _one(
        connection,
        f"SELECT {_DIMENSIONS} FROM nodes n JOIN trees t ON t.id = n.tree_id "
        "WHERE t.run_id = :run AND n.parent_key IS NOT NULL AND n.status = 'scored'",
        run_id,
    )


def unanswered(connection: Connection, run_id: int) -> Mapping[str, int]:
    """Attempts that may have been paid for without an answer of their own, by fate."""
    rows = connection.execute(
        text("SELECT fate, count(*) AS n FROM attempts WHERE run_id = :run GROUP BY fate"), {"run": run_id}
    )
    return {row.fate: row.n for row in rows}


def waiting(connection: Connection, run_id: int) -> Mapping[str, Any] | None:
    """How many tasks were tried in vain and are not done yet, and the latest cause; None when there is none."""
    row = connection.execute(
        text(
            "SELECT count(*) AS tasks, (array_agg(error ORDER BY not_before DESC))[1] AS cause FROM tasks "
            "WHERE run_id = :run AND state IN ('ready', 'leased') AND error IS NOT NULL"
        ),
        {"run": run_id},
    ).one()
    return dict(row._mapping) if row.tasks else None


_REASONS = """
    SELECT reason, count(*) AS n FROM (
        SELECT n.reason FROM nodes n JOIN trees t ON t.id = n.tree_id
        WHERE t.run_id = :run AND n.status IN ('rejected', 'failed', 'unscored')
        UNION ALL
        SELECT reason FROM instructions WHERE run_id = :run AND status = 'rejected'
        UNION ALL
        SELECT reason FROM examples WHERE run_id = :run AND status IN ('rejected', 'failed')
    ) AS reasons GROUP BY reason ORDER BY n DESC, reason
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


def rates(connection: Connection, run_id: int, window_s: float) -> Mapping[str, float]:
    """calls_per_s, tokens_per_s and nodes_per_s over the last `window_s` seconds (or since the run began)."""
    row = connection.execute(
        text(
            """
            SELECT least(:window, greatest(extract(epoch FROM coalesce(finished_at, now()) - created_at), 1))::float8
                AS span,
              (SELECT count(*) FROM calls c WHERE c.run_id = r.id
                 AND c.created_at > coalesce(finished_at, now()) - make_interval(secs => :window)) AS calls,
              (SELECT coalesce(sum(tokens_in + tokens_out), 0) FROM calls c WHERE c.run_id = r.id
                 AND c.created_at > coalesce(finished_at, now()) - make_interval(secs => :window)) AS tokens,
              (SELECT count(*) FROM nodes n JOIN trees t ON t.id = n.tree_id WHERE t.run_id = r.id
                 AND n.settled_at > coalesce(finished_at, now()) - make_interval(secs => :window)) AS nodes
            FROM runs r WHERE r.id = :run
            """
        ),
        {"run": run_id, "window": window_s},
    ).one()
    return {
        "calls_per_s": float(row.calls) / row.span,
        "nodes_per_s": float(row.nodes) / row.span,
        "tokens_per_s": float(row.tokens) / row.span,
    }


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
