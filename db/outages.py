"""Endpoints that are down: what waiting tasks say of them, whether they answer, and what is remembered of it."""

from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import Connection, text, update

from db.records import Outage
from db.schema import runs

# A task that has been due for so many seconds is taken by no worker: what it says of an endpoint may be long past.
_HEARD_S = 60.0
_COMPLAINTS = text(
    """
    SELECT DISTINCT ON (m.endpoint) m.endpoint, t.error
    FROM tasks t JOIN unnest(CAST(:marks AS text[]), CAST(:endpoints AS text[])) WITH ORDINALITY
        AS m (mark, endpoint, place) ON starts_with(t.error, m.mark)
    WHERE t.run_id = :run AND t.error IS NOT NULL AND (
        t.state = 'leased' OR t.state = 'ready' AND t.not_before > now() - make_interval(secs => :heard)
    )
    ORDER BY m.endpoint, m.place, t.not_before DESC
    """
)


def complaints(connection: Connection, run_id: int, marks: Mapping[str, str]) -> dict[str, str]:
    """By endpoint, an error of a waiting task that begins with one of its marks (mark: endpoint). A task that workers
    have left waiting does not count.

    That of the first mark of an endpoint which some error begins with, and of those the latest.
    """
    given = {"run": run_id, "marks": list(marks), "endpoints": list(marks.values()), "heard": _HEARD_S}
    return {row.endpoint: row.error for row in connection.execute(_COMPLAINTS, given)}


_ANSWERED = text(
    """
    SELECT c.endpoint, greatest(extract(epoch FROM now() - max(c.created_at)), 0)::float8 AS ago
    FROM calls c JOIN unnest(CAST(:endpoints AS text[]), CAST(:within AS float8[])) AS e (endpoint, within)
        ON c.endpoint = e.endpoint AND c.created_at > now() - make_interval(secs => e.within)
    WHERE c.created_at > now() - make_interval(secs => :longest) GROUP BY c.endpoint
    """
)


def answered(connection: Connection, within_s: Mapping[str, float]) -> dict[str, float]:
    """Of some endpoints those that have answered anybody, each within so many seconds: how many seconds ago they last
    did.
    """
    longest = max(within_s.values())
    given = {"endpoints": list(within_s), "within": list(within_s.values()), "longest": longest}
    return {row.endpoint: row.ago for row in connection.execute(_ANSWERED, given)}


def note(connection: Connection, run_id: int, outages: Mapping[str, Outage]) -> None:
    """Remembers these of the run, and no others."""
    stored = {name: asdict(outage) for name, outage in outages.items()}
    connection.execute(update(runs).where(runs.c.id == run_id).values(outages=stored))
