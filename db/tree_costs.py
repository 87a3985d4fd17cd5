"""What every tree of a run cost, from its seed to its rows, replayed calls as if this run had paid for them."""

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeCost:
    """Of one grown tree: its calls, tokens in and out, billionths of a dollar (None: a price is not known), summed
    latencies, and accepted rows.
    """

    calls: int
    tokens: int
    nusd: int | None
    seconds: float
    rows: int


_COSTS = text(
    """
    WITH grown AS (
        SELECT id, ordinal FROM trees WHERE run_id = :run AND status = 'grown'
    ), used AS (
        SELECT n.tree_id, unnest(n.calls) AS key FROM nodes n JOIN grown g ON g.id = n.tree_id
        UNION SELECT e.tree_id, unnest(e.response_calls) FROM examples e JOIN grown g ON g.id = e.tree_id
        UNION SELECT j.tree_id, unnest(j.calls) FROM judgements j JOIN grown g ON g.id = j.tree_id
    )
    SELECT count(c.key) AS calls, coalesce(sum(c.tokens_in + c.tokens_out), 0)::bigint AS tokens,
           CASE WHEN count(c.nusd) = count(c.key) THEN coalesce(sum(c.nusd), 0)::bigint END AS nusd,
           coalesce(sum(c.latency_s), 0) AS seconds,
           (SELECT count(*) FROM examples e WHERE e.tree_id = g.id AND e.status = 'accepted') AS rows
    FROM grown g LEFT JOIN used u ON u.tree_id = g.id LEFT JOIN calls c ON c.key = u.key
    GROUP BY g.id, g.ordinal ORDER BY g.ordinal
    """
)


def of_run(connection: Connection, run_id: int) -> list[TreeCost]:
    """Grown trees in the order of their seeds. A call that several nodes of a tree name counts once."""
    return [TreeCost(**row._mapping) for row in connection.execute(_COSTS, {"run": run_id})]
