"""How endpoints answered lately, from the ledger: bounded by a window of time and by a number of calls."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select, text

from db import runs
from db.changes import endpoints_now
from db.records import Json
from db.schema import runs as run_rows

WINDOW_S = 300.0
MOST_CALLS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Calls of one endpoint and model within a window. `p50`, `p90` and `p99` are seconds. `span_s`: how far back they
    reach, the whole window unless there were too many calls to look at. `bad` were cut, empty, refused or filtered.
    """

    endpoint: str
    model: str
    calls: int
    bad: int
    tokens: int
    p50: float
    p90: float
    p99: float
    span_s: float


_ANSWERS = text(
    """
    WITH lately AS (
        SELECT endpoint, model, tokens_in + tokens_out AS tokens, latency_s, outcome, created_at FROM calls
        WHERE id > (SELECT coalesce(max(id), 0) - :most FROM calls)
          AND created_at > now() - make_interval(secs => :window)
    ), reach AS (
        SELECT CASE WHEN count(*) < 0.9 * :most THEN CAST(:window AS float8)
                    ELSE greatest(extract(epoch FROM now() - min(created_at)), 1)::float8 END AS span_s FROM lately
    )
    SELECT endpoint, model, count(*) AS calls, count(*) FILTER (WHERE outcome <> 'ok') AS bad,
           sum(tokens)::bigint AS tokens, min(span_s) AS span_s,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_s) AS p50,
           percentile_cont(0.9) WITHIN GROUP (ORDER BY latency_s) AS p90,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_s) AS p99
    FROM lately, reach GROUP BY endpoint, model ORDER BY endpoint, model
    """
)


def answers(connection: Connection) -> list[Answers]:
    rows = connection.execute(_ANSWERS, {"window": WINDOW_S, "most": MOST_CALLS})
    return [Answers(**row._mapping) for row in rows]


def unanswered(connection: Connection) -> Mapping[str, Mapping[str, int]]:
    """By endpoint: attempts without an answer of their own in the ledger, by fate."""
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(text("SELECT endpoint, fate, count(*) AS n FROM attempts GROUP BY 1, 2")):
        found.setdefault(row.endpoint, {})[row.fate] = row.n
    return found


def in_use(connection: Connection) -> list[tuple[str, Mapping[str, Json]]]:
    """The endpoints that runs which have not ended go by now: (run, traits by name)."""
    going = run_rows.c.status.in_(("running", "paused"))
    newest = select(run_rows.c.id).where(going).order_by(run_rows.c.id.desc()).limit(100)
    found = [runs.by_id(connection, run_id) for run_id in connection.scalars(newest).all()]
    return [(run.name, endpoints_now(run)) for run in found]
