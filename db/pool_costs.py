"""What every round of a pool brought and what its calls cost, replayed ones as if this run had paid for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, text

# Of a prompt that was lost for one of these there is no answer that anybody paid for.
_UNANSWERED = ("call_failed", "task_failed", "budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundYield:
    """Of one round: prompts, of them lost and, of these, answered; texts generated, left by heuristics and gate, with a
    good instance; seconds of gate and embedder."""

    ordinal: int
    prompts: int
    lost: int
    lost_answered: int
    generated: int
    after_heuristics: int
    after_gate: int
    with_instance: int
    filter_s: float
    embed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Calls together: tokens in and out, billionths of a dollar (None: a price is not known), summed latencies."""

    calls: int = 0
    tokens: int = 0
    nusd: int | None = 0
    seconds: float = 0.0


_ROUNDS = text(
    """
    WITH good AS (
        SELECT DISTINCT ordinal FROM examples
        WHERE run_id = :run AND ordinal IS NOT NULL AND status = 'accepted'
    ), made AS (
        SELECT i.round, count(*) AS generated,
               count(*) FILTER (WHERE i.reason IS NULL OR i.reason = 'duplicate') AS after_heuristics,
               count(*) FILTER (WHERE i.status = 'kept') AS after_gate, count(good.ordinal) AS with_instance
        FROM instructions i LEFT JOIN good ON good.ordinal = i.ordinal
        WHERE i.run_id = :run AND i.origin = 'generated' GROUP BY i.round
    )
    SELECT o.ordinal, o.prompts, o.filter_s, o.embed_s,
           coalesce((SELECT sum(value::bigint)::bigint FROM jsonb_each_text(o.prompts_lost)), 0) AS lost,
           coalesce((SELECT sum(value::bigint)::bigint FROM jsonb_each_text(o.prompts_lost)
                     WHERE NOT key = ANY (:unanswered)), 0) AS lost_answered,
           coalesce(made.generated, 0) AS generated, coalesce(made.after_heuristics, 0) AS after_heuristics,
           coalesce(made.after_gate, 0) AS after_gate, coalesce(made.with_instance, 0) AS with_instance
    FROM rounds o LEFT JOIN made ON made.round = o.ordinal WHERE o.run_id = :run ORDER BY o.ordinal
    """
)

_SUMS = """
    count(*) AS calls, coalesce(sum(c.tokens_in + c.tokens_out), 0)::bigint AS tokens,
    CASE WHEN bool_or(c.nusd IS NULL) THEN NULL ELSE coalesce(sum(c.nusd), 0)::bigint END AS nusd,
    coalesce(sum(c.latency_s), 0)::float8 AS seconds
"""

# All texts of a completion name its call, which is one.
_USED = text(
    f"""
    WITH used AS (
        SELECT DISTINCT 'generate' AS stage, round, slot, unnest(calls) AS key
        FROM instructions WHERE run_id = :run AND origin = 'generated'
        UNION ALL
        SELECT 'instance', round, slot, unnest(instance_calls)
        FROM instructions WHERE run_id = :run AND origin = 'generated'
    )
    SELECT used.stage, used.round, {_SUMS} FROM used JOIN calls c ON c.key = used.key GROUP BY 1, 2
    """
)

_OF_LOST = text(
    f"""
    SELECT {_SUMS} FROM calls c WHERE c.run_id = :run AND c.role = 'generator' AND NOT EXISTS (
        SELECT FROM (SELECT unnest(calls) AS key FROM instructions WHERE run_id = :run) AS used WHERE used.key = c.key
    )
    """
)


def rounds(connection: Connection, run_id: int) -> Sequence[RoundYield]:
    """The rounds in their order."""
    found = connection.execute(_ROUNDS, {"run": run_id, "unanswered": list(_UNANSWERED)})
    return [RoundYield(**row._mapping) for row in found]


def calls_by_round(connection: Connection, run_id: int) -> Mapping[tuple[int, str], Calls]:
    """What the texts of each round took, by (round, `generate` or `instance`); completions that were lost left out."""
    return {(row.round, row.stage): _calls(row) for row in connection.execute(_USED, {"run": run_id})}


def calls_of_lost(connection: Connection, run_id: int) -> Calls:
    """What this run paid for completions of which no text was taken. Rows do not say of which round they were."""
    return _calls(connection.execute(_OF_LOST, {"run": run_id}).one())


def _calls(row: Row[tuple[object, ...]]) -> Calls:
    return Calls(calls=row.calls, tokens=row.tokens, nusd=row.nusd, seconds=row.seconds)
