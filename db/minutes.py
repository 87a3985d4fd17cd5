"""What ended in each minute, by kind of task: kept when the tasks themselves are gone.

Written in the transaction that closes the tasks, so a task is counted once, whatever dies. Minutes grow without end, so
what ended in a whole run is summed up beside them, in `task_totals`. Whoever writes here holds the row of the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

# Upper bounds of the lengths that are counted apart, in seconds; what is longer comes last.
BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Tasks of one kind that ended: done, or failed for good; how often they were begun again on the way.

    wait_s, run_s: seconds from being due to being claimed for the last time, and from there to the end, summed. lag_s:
    from the end to the scheduler's noticing. waits, runs: how many were how long, by `BOUNDS_S`. Tasks that nobody ever
    began are in `failed` only.
    """

    kind: str
    done: int
    failed: int
    retries: int
    wait_s: float
    run_s: float
    lag_s: float
    waits: tuple[int, ...]
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute(Ended):
    minute: datetime


def _counted(seconds: str) -> str:
    """An array: how many rows lie in each class of length."""
    bounds = ", ".join(map(str, BOUNDS_S))
    place = f"width_bucket({seconds}, ARRAY[{bounds}]::float8[])"
    counts = (f"count(*) FILTER (WHERE {place} = {number})" for number in range(len(BOUNDS_S) + 1))
    return f"ARRAY[{', '.join(counts)}]"


def _adding(table: str, names: Iterable[str]) -> str:
    """What is counted now, added to what was there."""
    sums = [f"{name} = {table}.{name} + excluded.{name}" for name in names]
    lengths = [
        f"{name} = (SELECT array_agg(old + new ORDER BY place) FROM unnest({table}.{name}, excluded.{name}) "
        "WITH ORDINALITY AS both_of(old, new, place))"
        for name in _LENGTHS
    ]
    return f"DO UPDATE SET {', '.join(sums + lengths)}"


# Null for what nobody ever began.
_WAIT = "CASE WHEN claimed_at IS NOT NULL THEN greatest(extract(epoch FROM claimed_at - not_before), 0)::float8 END"
_RUN = "CASE WHEN claimed_at IS NOT NULL THEN greatest(extract(epoch FROM ended_at - claimed_at), 0)::float8 END"
_LAG = "greatest(extract(epoch FROM now() - ended_at), 0)::float8"
_PLAIN = ("done", "failed", "retries", "wait_s", "run_s", "lag_s")
_LENGTHS = ("waits", "runs")
# What they brought: answers in the ledger, their tokens, nano-dollars and seconds; evolutions.
_BROUGHT = ("calls", "tokens", "nusd", "call_s", "nodes")

_ENDED = f"""
    count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed'),
    sum(greatest(attempts - 1, 0)), coalesce(sum({_WAIT}), 0), coalesce(sum({_RUN}), 0), sum({_LAG}),
    {_counted(_WAIT)}, {_counted(_RUN)}
"""
_RECORD = text(
    f"""
    WITH closed AS (
        SELECT run_id, kind, state, attempts, not_before, ended_at, deadline - make_interval(secs => deadline_s)
            AS claimed_at, paid.*, CASE WHEN kind = 'expand' THEN jsonb_array_length(payload -> 'children') ELSE 0 END
            AS nodes
        FROM tasks, LATERAL (
            SELECT count(*) AS calls, coalesce(sum(c.tokens_in + c.tokens_out), 0) AS tokens,
                   coalesce(sum(c.nusd), 0) AS nusd, coalesce(sum(c.latency_s), 0) AS call_s
            FROM calls c WHERE c.task_id = tasks.id
        ) AS paid WHERE id = ANY (:ids) AND ended_at IS NOT NULL
    ), by_minute AS (
        INSERT INTO minutes (run_id, minute, kind, {", ".join(_BROUGHT + _PLAIN + _LENGTHS)})
        SELECT run_id, date_trunc('minute', ended_at), kind, {", ".join(f"sum({name})" for name in _BROUGHT)}, {_ENDED}
        FROM closed GROUP BY 1, 2, 3
        ON CONFLICT (run_id, minute, kind) {_adding("minutes", _BROUGHT + _PLAIN)}
    )
    INSERT INTO task_totals (run_id, kind, {", ".join(_PLAIN + _LENGTHS)})
    SELECT run_id, kind, {_ENDED} FROM closed GROUP BY 1, 2
    ON CONFLICT (run_id, kind) {_adding("task_totals", _PLAIN)}
    """
)


def record(connection: Connection, task_ids: Sequence[int]) -> None:
    """Counts tasks that are about to be closed."""
    connection.execute(_RECORD, {"ids": list(task_ids)})


def _sum(name: str) -> str:
    return f"coalesce(sum({name}), 0)::{'float8' if name.endswith('_s') else 'bigint'} AS {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """What so many seconds brought: answers in the ledger, their tokens, nano-dollars (of known prices) and seconds,
    and evolutions.
    """

    seconds: float
    calls: int
    tokens: int
    nusd: int
    call_s: float
    nodes: int

    def rates(self) -> Mapping[str, float]:
        return {f"{name}_per_s": getattr(self, name) / self.seconds for name in ("calls", "nodes", "tokens")}


_LATELY = text(
    f"""
    WITH span AS (
        SELECT id, created_at, until, date_trunc('minute', until) - interval '1 minute' AS since
        FROM (SELECT id, created_at, coalesce(finished_at, now()) AS until FROM runs WHERE id = :run) AS r
    )
    SELECT greatest(extract(epoch FROM until - greatest(since, created_at)), 1)::float8 AS seconds,
           {", ".join(_sum(name) for name in _BROUGHT)}
    FROM span LEFT JOIN minutes m ON m.run_id = span.id AND m.minute >= since GROUP BY until, since, created_at
    """
)


def lately(connection: Connection, run_id: int) -> Lately:
    """Of this minute and the one before it, or the last two of a run that is over."""
    return Lately(**connection.execute(_LATELY, {"run": run_id}).one()._mapping)


_SUMS = ", ".join(_sum(name) for name in _PLAIN)
_ARRAYS = ", ".join(
    f"ARRAY[{', '.join(f'sum({name}[{place}])::bigint' for place in range(1, len(BOUNDS_S) + 2))}] AS {name}"
    for name in _LENGTHS
)


def by_kind(connection: Connection) -> Mapping[str, Ended]:
    """All that ever ended here, of all runs."""
    rows = connection.execute(text(f"SELECT kind, {_SUMS}, {_ARRAYS} FROM task_totals GROUP BY kind"))
    return {row.kind: Ended(**_values(row)) for row in rows}


def of_run(connection: Connection, run_id: int, *, after: datetime | None = None) -> list[Minute]:
    """A run's minutes in their order, all of them or those that ended after a time."""
    names = ", ".join(("minute", "kind", *_PLAIN, *_LENGTHS))
    since = "AND minute > CAST(:after AS timestamptz) - interval '1 minute'" if after else ""
    query = text(f"SELECT {names} FROM minutes WHERE run_id = :run {since} ORDER BY minute, kind")
    return [Minute(**_values(row)) for row in connection.execute(query, {"run": run_id, "after": after})]


def _values(row: Row[Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row._mapping.items()}
