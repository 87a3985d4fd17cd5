"""Questions about a run that widens a pool: counts, reasons, signals, samples. All are answered from rows.

What can be long is answered with a bounded sample: a page or a display never holds all texts of a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """Seeds given; texts generated, left by the heuristics, kept by the gate, with a good instance, trained on.

    unsettled: kept texts whose instances are not there yet. accepted, rejected, failed: instances.
    """

    seeds: int
    generated: int
    after_heuristics: int
    kept: int
    unsettled: int
    with_instance: int
    trained: int
    accepted: int
    rejected: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCounts:
    """Rounds begun, those of them that are done, prompts lost by reason, and seconds of filtering and embedding."""

    begun: int
    done: int
    by_status: Mapping[str, int]
    prompts: int
    prompts_lost: Mapping[str, int]
    filter_s: float
    embed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Steps of training taken, those of them that were marked (`not_finite` and the like), the last good one's figures.

    diversity, diversity_random: means over all batches, of the mean cosine distance inside each and inside random ones
        of the same instructions. None where there is no such batch.
    """

    batches: int
    steps: int
    marked: Mapping[str, int]
    loss: float | None
    gradient_norm: float | None
    brings: float | None
    diversity: float | None
    diversity_random: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedMoves:
    """How often an instruction entered the seed pool and one left it; the pool's size follows from the seeds given."""

    entered: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How often something ended in `status` for `reason`."""

    status: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedText:
    """A generated text that was refused; for a near-copy, what it was too near to."""

    ordinal: int
    round: int
    reason: str
    text: str
    similarity: float | None = None
    nearest: int | None = None
    nearest_origin: str | None = None
    nearest_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedInstance:
    """An instance that is not good, of the instruction with this ordinal. `status` is rejected or failed."""

    ordinal: int
    status: str
    reason: str
    instruction: str
    input: str
    output: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedMove:
    """One entry into the seed pool, or one leave, after a round, with the text that moved."""

    round: int
    event: str
    ordinal: int
    origin: str
    reason: str
    text: str


def _one(connection: Connection, query: str, run_id: int) -> Row[Any]:
    return connection.execute(text(query), {"run": run_id}).one()


# A near-copy is refused by the gate; every other reason is a heuristic's.
_COUNTS = """
    SELECT i.*, e.*, t.trained FROM (
        SELECT count(*) FILTER (WHERE origin = 'seed') AS seeds,
               count(*) FILTER (WHERE origin = 'generated') AS generated,
               count(*) FILTER (WHERE origin = 'generated' AND (reason IS NULL OR reason = 'duplicate'))
                   AS after_heuristics,
               count(*) FILTER (WHERE origin = 'generated' AND status = 'kept') AS kept,
               count(*) FILTER (WHERE origin = 'generated' AND status = 'kept' AND settled_at IS NULL) AS unsettled
        FROM instructions WHERE run_id = :run
    ) AS i, (
        SELECT count(DISTINCT ordinal) FILTER (WHERE status = 'accepted') AS with_instance,
               count(*) FILTER (WHERE status = 'accepted') AS accepted,
               count(*) FILTER (WHERE status = 'rejected') AS rejected,
               count(*) FILTER (WHERE status = 'failed') AS failed
        FROM examples WHERE run_id = :run AND ordinal IS NOT NULL
    ) AS e, (
        SELECT count(DISTINCT member) AS trained FROM batches, unnest(members) AS member
        WHERE run_id = :run AND seconds IS NOT NULL AND reason IS NULL
    ) AS t
"""


def counts(connection: Connection, run_id: int) -> PoolCounts:
    """A batch that training marked has moved nothing, so its members count as not trained on."""
    return PoolCounts(**_one(connection, _COUNTS, run_id)._mapping)


def seeds(connection: Connection, run_id: int) -> int:
    """How many seeds the pool began with."""
    query = "SELECT count(*) FROM instructions WHERE run_id = :run AND origin = 'seed'"
    return int(_one(connection, query, run_id)[0])


def round_counts(connection: Connection, run_id: int) -> RoundCounts:
    statuses = connection.execute(
        text(
            "SELECT status, count(*) AS n, sum(prompts) AS prompts, sum(filter_s) AS filter_s, sum(embed_s) AS embed_s "
            "FROM rounds WHERE run_id = :run GROUP BY status"
        ),
        {"run": run_id},
    ).all()
    lost = connection.execute(
        text(
            "SELECT l.key AS reason, sum(l.value::bigint)::bigint AS n "
            "FROM rounds, jsonb_each_text(prompts_lost) AS l WHERE run_id = :run GROUP BY 1 ORDER BY n DESC, 1"
        ),
        {"run": run_id},
    )
    by_status = {row.status: row.n for row in statuses}
    return RoundCounts(
        begun=sum(by_status.values()),
        done=by_status.get("done", 0),
        by_status=by_status,
        prompts=sum(int(row.prompts) for row in statuses),
        prompts_lost={row.reason: row.n for row in lost},
        filter_s=sum(row.filter_s for row in statuses),
        embed_s=sum(row.embed_s for row in statuses),
    )


def lessons(connection: Connection, run_id: int) -> Lessons:
    found = _one(
        connection,
        "SELECT count(*) AS batches, count(seconds) AS steps, avg(diversity) AS diversity, "
        "avg(diversity_random) AS diversity_random, coalesce(sum(seconds), 0) AS seconds "
        "FROM batches WHERE run_id = :run",
        run_id,
    )
    last = connection.execute(
        text(
            "SELECT loss, gradient_norm, (SELECT sum(tokens * brings) / nullif(sum(tokens), 0) FROM lessons AS l "
            "WHERE l.run_id = b.run_id AND l.round = b.round AND l.batch = b.ordinal AND brings IS NOT NULL) AS brings "
            "FROM batches AS b WHERE run_id = :run AND seconds IS NOT NULL AND reason IS NULL "
            "ORDER BY step DESC LIMIT 1"
        ),
        {"run": run_id},
    ).one_or_none()
    marked = connection.execute(
        text(
            "SELECT reason, count(*) AS n FROM batches WHERE run_id = :run AND reason IS NOT NULL "
            "GROUP BY reason ORDER BY n DESC, reason"
        ),
        {"run": run_id},
    )
    return Lessons(
        **found._mapping,
        marked={row.reason: row.n for row in marked},
        loss=last.loss if last else None,
        gradient_norm=last.gradient_norm if last else None,
        brings=last.brings if last else None,
    )


def seed_moves(connection: Connection, run_id: int) -> SeedMoves:
    query = (
        "SELECT count(*) FILTER (WHERE event = 'entered') AS entered, "
        "count(*) FILTER (WHERE event = 'left') AS \"left\" FROM seed_events WHERE run_id = :run"
    )
    return SeedMoves(**_one(connection, query, run_id)._mapping)


def kept_recently(connection: Connection, run_id: int, window_s: float) -> int:
    """How many texts were kept in the last `window_s` seconds."""
    query = text(
        """
        SELECT count(*) FROM runs r JOIN instructions i ON i.run_id = r.id
        WHERE r.id = :run AND i.origin = 'generated' AND i.status = 'kept'
          AND i.created_at > coalesce(r.finished_at, now()) - make_interval(secs => :window)
        """
    )
    return int(connection.execute(query, {"run": run_id, "window": window_s}).scalar_one())


def text_reasons(connection: Connection, run_id: int) -> list[Refusal]:
    """Why generated texts were refused, the most frequent reason first."""
    return _refusals(connection, "instructions WHERE run_id = :run AND status = 'rejected'", run_id)


def instance_reasons(connection: Connection, run_id: int) -> list[Refusal]:
    """Why instances are not good, the most frequent reason first."""
    return _refusals(
        connection, "examples WHERE run_id = :run AND ordinal IS NOT NULL AND status IN ('rejected', 'failed')", run_id
    )


def _refusals(connection: Connection, rows: str, run_id: int) -> list[Refusal]:
    query = f"SELECT status, reason, count(*) AS count FROM {rows} GROUP BY 1, 2 ORDER BY count DESC, status, reason"
    return [Refusal(**row._mapping) for row in connection.execute(text(query), {"run": run_id})]


# A sample that is the same each time it is drawn, and does not prefer the beginning of a run.
AT_RANDOM = "md5(:run || ':' || {})"


def refused_texts(connection: Connection, run_id: int, *, each: int) -> list[RefusedText]:
    """At most `each` texts for each reason, at random but always the same, the most frequent reason first."""
    query = f"""
        WITH drawn AS (
            SELECT ordinal, round, reason, text, similarity, nearest, count(*) OVER (PARTITION BY reason) AS often,
                   row_number() OVER (PARTITION BY reason ORDER BY {AT_RANDOM.format("ordinal")}) AS place
            FROM instructions WHERE run_id = :run AND status = 'rejected'
        )
        SELECT s.ordinal, s.round, s.reason, s.text, s.similarity, s.nearest,
               n.origin AS nearest_origin, n.text AS nearest_text
        FROM drawn s LEFT JOIN instructions n ON n.run_id = :run AND n.ordinal = s.nearest
        WHERE place <= :each ORDER BY often DESC, s.reason, s.ordinal
    """
    rows = connection.execute(text(query), {"run": run_id, "each": each})
    return [RefusedText(**row._mapping) for row in rows]


def refused_instances(connection: Connection, run_id: int, *, each: int) -> list[RefusedInstance]:
    """At most `each` instances for each reason, drawn as `refused_texts` are."""
    query = f"""
        WITH drawn AS (
            SELECT ordinal, instance, status, reason, instruction, input, output,
                   count(*) OVER (PARTITION BY status, reason) AS often,
                   row_number() OVER (PARTITION BY status, reason
                                      ORDER BY {AT_RANDOM.format("ordinal || ':' || instance")}) AS place
            FROM examples WHERE run_id = :run AND ordinal IS NOT NULL AND status IN ('rejected', 'failed')
        )
        SELECT ordinal, status, reason, instruction, input, output FROM drawn
        WHERE place <= :each ORDER BY often DESC, status, reason, ordinal, instance
    """
    rows = connection.execute(text(query), {"run": run_id, "each": each})
    return [RefusedInstance(**row._mapping) for row in rows]


def moves(connection: Connection, run_id: int, *, most: int) -> list[SeedMove]:
    """The latest `most` changes of the seed pool, in the order in which they happened."""
    query = """
        SELECT * FROM (
            SELECT e.id, e.round, e.event, e.ordinal, i.origin, e.reason, i.text
            FROM seed_events e JOIN instructions i ON i.run_id = e.run_id AND i.ordinal = e.ordinal
            WHERE e.run_id = :run ORDER BY e.id DESC LIMIT :most
        ) AS latest ORDER BY id
    """
    return [
        SeedMove(
            round=row.round, event=row.event, ordinal=row.ordinal, origin=row.origin, reason=row.reason, text=row.text
        )
        for row in connection.execute(text(query), {"run": run_id, "most": most})
    ]
