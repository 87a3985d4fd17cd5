"""What Prometheus is told, held against the rows: a question for each series, asked without the program's own code."""

from collections.abc import Mapping
from math import isclose

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

Series = Mapping[tuple[str, tuple[str, ...]], float]
_STATES = """
    CASE WHEN k.state = 'ready' AND r.status <> 'running' THEN 'held'
         WHEN k.state = 'ready' AND k.not_before <= now() THEN 'ready'
         WHEN k.state = 'ready' THEN 'retrying'
         WHEN k.state = 'leased' THEN 'leased'
         WHEN k.applied_at IS NULL THEN 'unapplied' ELSE 'dead' END
"""
_CALLS = "calls WHERE run_id IS NOT NULL"  # a run's: what was asked outside of any, or of one that was removed, is none
_LENGTHS = "'0.1', '0.25', '0.5', '1.0', '2.5', '5.0', '10.0', '30.0', '60.0', '120.0', '300.0', '600.0', '+Inf'"


def _upto(column: str) -> str:
    """How many tasks were at most so long."""
    return f"""
        SELECT (ARRAY[{_LENGTHS}])[place], kind, sum(sum(n)) OVER (PARTITION BY kind ORDER BY place)
        FROM minutes, unnest({column}) WITH ORDINALITY AS lengths (n, place) GROUP BY kind, place
    """


# Values of the labels, in the order of the labels' names, and the value.
RECOUNTS = {
    "calls_total": f"SELECT endpoint, outcome, role, count(*) FROM {_CALLS} GROUP BY 1, 2, 3",
    "call_tokens_total": (
        f"SELECT 'in', endpoint, role, sum(tokens_in) FROM {_CALLS} GROUP BY 2, 3"
        f" UNION ALL SELECT 'out', endpoint, role, sum(tokens_out) FROM {_CALLS} GROUP BY 2, 3"
    ),
    "call_dollars_total": f"SELECT endpoint, role, coalesce(sum(nusd), 0) / 1e9 FROM {_CALLS} GROUP BY 1, 2",
    "call_seconds_total": f"SELECT endpoint, role, sum(latency_s) FROM {_CALLS} GROUP BY 1, 2",
    "nodes_total": (
        "SELECT coalesce(reason, ''), status, count(*) FROM nodes WHERE status NOT IN ('proposed', 'generated')"
        " GROUP BY 1, 2"
    ),
    "nodes_open": (
        "SELECT count(*) FROM nodes n JOIN trees t ON t.id = n.tree_id JOIN runs r ON r.id = t.run_id"
        " WHERE n.status IN ('proposed', 'generated') AND t.status <> 'cut' AND r.finished_at IS NULL"
    ),
    "texts_total": (
        "SELECT coalesce(reason, ''), status, count(*) FROM instructions WHERE origin = 'generated' GROUP BY 1, 2"
    ),
    "examples": "SELECT coalesce(reason, ''), status, count(*) FROM examples GROUP BY 1, 2",
    "runs": "SELECT status, count(*) FROM runs GROUP BY 1",
    "attempts": "SELECT fate, count(*) FROM attempts GROUP BY 1",
    "tasks_ended_total": (
        "SELECT kind, 'done', sum(done) FROM minutes GROUP BY 1 UNION ALL"
        " SELECT kind, 'failed', sum(failed) FROM minutes GROUP BY 1"
    ),
    "task_retries_total": "SELECT kind, sum(retries) FROM minutes GROUP BY 1",
    "task_wait_seconds_sum": "SELECT kind, sum(wait_s) FROM minutes GROUP BY 1",
    "task_run_seconds_sum": "SELECT kind, sum(run_s) FROM minutes GROUP BY 1",
    "task_wait_seconds_count": "SELECT kind, sum(n) FROM minutes, unnest(waits) AS n GROUP BY 1",
    "task_run_seconds_count": "SELECT kind, sum(n) FROM minutes, unnest(runs) AS n GROUP BY 1",
    "task_wait_seconds_bucket": _upto("waits"),
    "task_run_seconds_bucket": _upto("runs"),
    "tasks": f"SELECT k.kind, {_STATES}, count(*) FROM tasks k JOIN runs r ON r.id = k.run_id GROUP BY 1, 2",
}
_NOW = "another moment later: there is nothing to hold it against"
_LIMITER = "kept by the limiter, not in rows"
_OWN = "of one process, not in rows"
# What has no recount, and why.
NOT_RECOUNTED = {
    **dict.fromkeys(("task_oldest_ready_seconds", "scheduler_lag_seconds", "scrape_seconds"), _NOW),
    **dict.fromkeys(("database_up", "broker_up", "database_dead_rows", "database_connections"), _NOW),
    **dict.fromkeys(("workers", "worker_slots", "worker_slots_busy"), "who lives is a matter of seconds, and of beats"),
    **dict.fromkeys(("budget_left", "budget_share_left"), "told from the run's own row, which `laws` recounts"),
    **dict.fromkeys(("endpoint_breaker", "endpoint_pace", "endpoint_in_flight", "endpoint_paused_seconds"), _LIMITER),
    **dict.fromkeys(("endpoint_requests_total", "endpoint_retries_total"), _LIMITER),
    **dict.fromkeys(("endpoint_limited_total", "endpoint_failures_total", "endpoint_wait_seconds_total"), _LIMITER),
    **dict.fromkeys(("slots", "slots_busy", "tasks_handled_total"), _OWN),
    **dict.fromkeys(("database_pool_in_use", "database_pool_size"), _OWN),
}


def read(page: str) -> Series:
    """By name and the values of the labels, in the order of the labels' names."""
    return {
        (
            sample.name.removeprefix("instructree_"),
            tuple(sample.labels[key] for key in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def of(series: Series, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (found, labels), value in series.items() if found == name}


def counted(engine: Engine, query: str) -> dict[tuple[str, ...], float]:
    with engine.connect() as connection:
        return {tuple(row[:-1]): float(row[-1]) for row in connection.execute(text(query))}


def differences(engine: Engine, series: Series) -> list[str]:
    """Every series that is not its recount. What is absent counts as zero."""
    found = []
    for name, query in RECOUNTS.items():
        told, true = of(series, name), counted(engine, query)
        for key in sorted(told.keys() | true.keys()):
            if not isclose(told.get(key, 0.0), true.get(key, 0.0), rel_tol=1e-6, abs_tol=1e-6):
                found.append(f"{name}{list(key)} is told as {told.get(key)}, the rows say {true.get(key)}")
    return found
