"""What people said of examples. A fate is the run's and stays; the latest verdict says whether the row is exported."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, text

from db.schema import verdicts

Said = Literal["keep", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    verdict: Said
    reason: str
    made_by: str
    created_at: datetime


def give(connection: Connection, run_id: int, example_id: int, verdict: Said, *, reason: str, made_by: str) -> None:
    """Adds a verdict to the history of an example."""
    values = {"run_id": run_id, "example_id": example_id, "verdict": verdict, "reason": reason, "made_by": made_by}
    connection.execute(insert(verdicts).values(**values))


def of_example(connection: Connection, example_id: int) -> list[Verdict]:
    """Its history, the latest first."""
    query = text(
        "SELECT verdict, reason, made_by, created_at FROM verdicts WHERE example_id = :example ORDER BY id DESC"
    )
    return [Verdict(**row._mapping) for row in connection.execute(query, {"example": example_id})]


# The latest verdict on each example of a run.
LATEST = """
    SELECT DISTINCT ON (example_id) example_id, verdict, reason FROM verdicts
    WHERE run_id = :run ORDER BY example_id, id DESC
"""
# Where `e` is an example and `v` the latest verdict on it: whether it is a row of the data set. A rejected one that was
# kept by hand is, if it ever got an output; nobody's word makes an answer that is not there.
EXPORTED = """(
    (e.status = 'accepted' AND v.verdict IS DISTINCT FROM 'drop')
    OR (e.status = 'rejected' AND v.verdict = 'keep' AND coalesce(e.output, '') <> '')
)"""


def counts(connection: Connection, run_id: int) -> Mapping[str, int]:
    """What verdicts changed: accepted rows `dropped`, rejected ones `kept`, and rejected ones kept `without_output`."""
    query = text(
        f"""
        SELECT count(*) FILTER (WHERE e.status = 'accepted' AND v.verdict = 'drop') AS dropped,
               count(*) FILTER (WHERE e.status = 'rejected' AND {EXPORTED}) AS kept,
               count(*) FILTER (WHERE e.status IN ('rejected', 'failed') AND v.verdict = 'keep' AND NOT {EXPORTED})
                   AS without_output
        FROM ({LATEST}) AS v JOIN examples e ON e.id = v.example_id
        """
    )
    return dict(connection.execute(query, {"run": run_id}).mappings().one())
