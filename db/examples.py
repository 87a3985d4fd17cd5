"""Examples: the harvested instructions of a run, each accepted, or rejected or failed with a reason."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, text

from db import totals
from db.records import ExampleRow
from db.schema import examples
from db.verdicts import EXPORTED, LATEST

_PROPOSED = totals.adding(
    f"""
    SELECT p.run_id, 'examples', p.status, coalesce(p.reason, ''), {totals.sums("n")} FROM proposed p
    JOIN nodes n ON n.tree_id = p.tree_id AND n.key = p.node_key GROUP BY 1, 2, 3, 4
    """
)
_PROPOSE = text(
    f"""
    WITH proposed AS (
        INSERT INTO examples (run_id, tree_id, node_key, instruction, status, reason)
        SELECT v.* FROM json_to_recordset(CAST(:rows AS json)) AS v (
            run_id bigint, tree_id bigint, node_key text, instruction text, status text, reason text
        )
        RETURNING run_id, tree_id, node_key, status, reason
    ) {_PROPOSED}
    """
)


def propose(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Adds harvested instructions: columns run_id, tree_id, node_key, instruction, status, reason."""
    for some in totals.listed(rows):
        connection.execute(_PROPOSE, {"rows": some})


def _settling(changes: str) -> str:
    """A statement that settles pending examples, and moves them in the sums."""
    moved = totals.moving("changed", "examples")
    return f"""
        WITH settled AS ({changes} RETURNING e.run_id, e.tree_id, e.node_key, e.status, e.reason),
        changed AS (
            SELECT s.run_id, 'pending' AS was, NULL AS was_reason, s.status, s.reason,
                   {", ".join(f"n.{name}::numeric" for name in totals.SCORES)}
            FROM settled s JOIN nodes n ON n.tree_id = s.tree_id AND n.key = s.node_key
        )
        {totals.adding(moved)}
    """


_SETTLE = text(
    _settling(
        """
        UPDATE examples e SET status = v.status, reason = v.reason, output = v.output, response_calls = v.calls
        FROM json_to_recordset(CAST(:rows AS json)) AS v (
            tree_id bigint, node_key text, status text, reason text, output text, calls text[]
        ) WHERE e.run_id = :run AND e.status = 'pending' AND e.tree_id = v.tree_id AND e.node_key = v.node_key
        """
    )
)
_FAIL_PENDING = text(
    _settling(
        "UPDATE examples e SET status = 'failed', reason = :reason WHERE e.run_id = :run AND e.status = 'pending'"
    )
)


def settle(connection: Connection, run_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Writes what became of pending examples: tree_id, node_key, status, reason, output, calls."""
    for some in totals.listed(rows):
        connection.execute(_SETTLE, {"run": run_id, "rows": some})


def fail_pending(connection: Connection, run_id: int, reason: str) -> None:
    """Nothing more will come for examples that still wait."""
    connection.execute(_FAIL_PENDING, {"run": run_id, "reason": reason})


def pending(connection: Connection, run_id: int) -> list[ExampleRow]:
    query = select(examples).where(examples.c.run_id == run_id, examples.c.status == "pending")
    return [_example(row) for row in connection.execute(query.order_by(examples.c.id))]


def of_run(connection: Connection, run_id: int) -> list[ExampleRow]:
    query = select(examples).where(examples.c.run_id == run_id)
    return [_example(row) for row in connection.execute(query.order_by(examples.c.id))]


def _example(row: Row[Any]) -> ExampleRow:
    return ExampleRow(
        id=row.id,
        run_id=row.run_id,
        tree_id=row.tree_id,
        node_key=row.node_key,
        status=row.status,
        reason=row.reason,
        instruction=row.instruction,
        input=row.input,
        output=row.output,
        response_calls=tuple(row.response_calls),
    )


# The rows of the data set: what the run accepted, and what people said of it since.
_CHOSEN = f"""
    latest AS ({LATEST}), chosen AS (
        SELECT e.* FROM examples e LEFT JOIN latest v ON v.example_id = e.id WHERE e.run_id = :run AND {EXPORTED}
    )
"""
# Of one example: calls `c`, each with the number of those that it is shared among.
_SHARES = """
    count(*) AS calls, sum(tokens_in / sharers) AS tokens_in, sum(tokens_out / sharers) AS tokens_out,
    CASE WHEN bool_or(nusd IS NULL) THEN NULL ELSE sum(nusd / sharers) END AS nusd,
    jsonb_object_agg(role, model) AS models
"""
# Row by row (LATERAL): as joins of sums they were made anew for each row, since Postgres takes the join of a tree's id
# and a node's key to find one row at most. A thousand examples took a minute that way.
_ROWS = text(
    f"""
    WITH {_CHOSEN}
    SELECT e.id, e.instruction, e.input, e.output, e.node_key, t.ordinal AS tree, t.seed, n.parent_key, n.depth,
           n.quality, n.diversity, n.complexity, n.reward, n.tags, lineage.operators,
           price.calls, price.tokens_in, price.tokens_out, price.nusd, price.models
    FROM chosen e
    JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key
    JOIN trees t ON t.id = e.tree_id
    CROSS JOIN LATERAL (
        WITH RECURSIVE up AS (
            SELECT n.parent_key, n.operator, n.depth
            UNION ALL
            SELECT above.parent_key, above.operator, above.depth
            FROM up JOIN nodes above ON above.tree_id = e.tree_id AND above.key = up.parent_key
        )
        SELECT array_agg(operator ORDER BY depth) FILTER (WHERE operator IS NOT NULL) AS operators FROM up
    ) AS lineage
    LEFT JOIN LATERAL (
        SELECT {_SHARES} FROM calls c CROSS JOIN LATERAL (
            SELECT greatest(count(*), 1)::float8 AS sharers FROM nodes s
            WHERE s.tree_id = n.tree_id AND s.parent_key IS NOT DISTINCT FROM n.parent_key AND c.key = ANY (s.calls)
        ) AS shared
        WHERE c.key = ANY (n.calls || e.response_calls) HAVING count(*) > 0
    ) AS price ON true
    ORDER BY t.ordinal, n.depth, e.id
    """
)


def exportable(connection: Connection, run_id: int) -> list[Row[Any]]:
    """Rows of the data set with seed, path of operators, models, scores, and their share of the calls that made them.

    A call that scored several siblings is shared among them; the price is NULL as soon as one call's price is unknown.
    """
    return list(connection.execute(_ROWS, {"run": run_id}))


_OF_POOL = text(
    f"""
    WITH {_CHOSEN}, made AS (
        SELECT i.*, count(*) OVER (PARTITION BY i.round, i.slot) AS siblings
        FROM instructions i WHERE i.run_id = :run AND i.origin = 'generated'
    ), good AS (
        SELECT e.*, count(*) OVER (PARTITION BY e.ordinal) AS instances FROM chosen e
    )
    SELECT g.ordinal, g.instance, g.instruction, g.input, g.output, m.round, m.shown, m.is_classification,
           price.calls, price.tokens_in, price.tokens_out, price.nusd, price.models
    FROM good g JOIN made m ON m.ordinal = g.ordinal
    LEFT JOIN LATERAL (
        SELECT {_SHARES} FROM calls c CROSS JOIN LATERAL (
            SELECT CASE WHEN c.key = ANY (m.calls) THEN m.siblings ELSE g.instances END::float8 AS sharers
        ) AS shared
        WHERE c.key = ANY (m.calls || g.response_calls) HAVING count(*) > 0
    ) AS price ON true
    ORDER BY g.ordinal, g.instance
    """
)


def exportable_of_pool(connection: Connection, run_id: int) -> list[Row[Any]]:
    """Rows of the data set with the demonstrations that they came of, and their share of the calls behind them.

    A completion is shared among all that it listed, a call for instances among the good ones.
    """
    return list(connection.execute(_OF_POOL, {"run": run_id}))
