"""Nodes and rollouts: written by the scheduler alone, in bulk."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, insert, null, select, text

from db import totals
from db.records import NodeRow, RolloutRow
from db.schema import nodes, rollouts, trees


def add(connection: Connection, rows: Sequence[NodeRow]) -> None:
    """Inserts proposed nodes (and roots). A key or (parent, ordinal) that exists raises: it would be a bug."""
    if rows:
        connection.execute(insert(nodes), [_values(row) for row in rows])


def _values(row: NodeRow) -> dict[str, object]:
    return {
        "tree_id": row.tree_id,
        "key": row.key,
        "parent_key": row.parent_key,
        "ordinal": row.ordinal,
        "depth": row.depth,
        "operator": row.operator,
        "origin": row.origin,
        "iteration": row.iteration,
        "status": row.status,
        "text": row.text,
        "calls": list(row.calls),
    }


_SUM = totals.adding(
    f"""
    SELECT t.run_id, CASE WHEN s.parent_key IS NULL THEN 'seeds' ELSE 'evolved' END, s.status, coalesce(s.reason, ''),
           {totals.sums("s")}
    FROM settled s JOIN trees t ON t.id = s.tree_id WHERE s.status NOT IN ('proposed', 'generated') GROUP BY 1, 2, 3, 4
    """
)
_SETTLE = text(
    f"""
    WITH settled AS (
        UPDATE nodes n SET status = v.status, text = coalesce(v.text, n.text), quality = v.quality,
            diversity = v.diversity, complexity = v.complexity, reward = v.reward, tags = v.tags, reason = v.reason,
            pool_version = coalesce(v.pool_version, n.pool_version), judgements = v.judgements, spread = v.spread,
            calls = n.calls || v.calls, settled_at = now()
        FROM json_to_recordset(CAST(:rows AS json)) AS v (
            tree_id bigint, key text, status text, text text, quality float8, diversity float8, complexity float8,
            reward float8, tags text[], reason text, pool_version bigint, judgements int, spread float8, calls text[]
        ) WHERE n.tree_id = v.tree_id AND n.key = v.key
        RETURNING n.tree_id, n.parent_key, n.status, n.reason, n.quality, n.diversity, n.complexity, n.reward
    ) {_SUM}
    """
)
_SETTLED = (
    *("tree_id", "key", "status", "text", "quality", "diversity", "complexity", "reward", "tags", "reason"),
    *("pool_version", "judgements", "spread", "calls"),
)


def settle(connection: Connection, rows: Sequence[NodeRow]) -> None:
    """Writes what became of nodes: status, text, scores, reason; their calls are added to those they have."""
    for values in totals.listed({name: getattr(row, name) for name in _SETTLED} for row in rows):
        connection.execute(_SETTLE, {"rows": values})


_CREDIT = text(
    """
    UPDATE nodes n SET visits = v.visits, value_sum = v.value_sum
    FROM json_to_recordset(CAST(:rows AS json)) AS v (tree_id bigint, key text, visits int, value_sum float8)
    WHERE n.tree_id = v.tree_id AND n.key = v.key
    """
)
_CREDITED = ("tree_id", "key", "visits", "value_sum")


def roll_out(connection: Connection, rows: Sequence[RolloutRow], statistics: Sequence[NodeRow]) -> None:
    """Appends rollouts and writes the visits and value sums that follow from them."""
    if rows:
        connection.execute(insert(rollouts), [asdict(row) for row in rows])
        for values in totals.listed({name: getattr(row, name) for name in _CREDITED} for row in statistics):
            connection.execute(_CREDIT, {"rows": values})


# Most of a node's room, and nothing that is counted.
_BODY = ("text", "tags", "calls")
_OUTLINE = [null().label(column.name) if column.name in _BODY else column for column in nodes.c]


def of_trees(connection: Connection, tree_ids: Sequence[int], *, outline: bool = False) -> list[NodeRow]:
    """All nodes of these trees, parents before children. An `outline` has no texts, tags and calls."""
    query = (select(*_OUTLINE) if outline else select(nodes)).where(nodes.c.tree_id.in_(tree_ids))
    rows = connection.execute(query.order_by(nodes.c.tree_id, nodes.c.depth, nodes.c.parent_key, nodes.c.ordinal))
    return [node_row(row) for row in rows]


def node_row(row: Row[tuple[object, ...]]) -> NodeRow:
    return NodeRow(
        tree_id=row.tree_id,
        key=row.key,
        parent_key=row.parent_key,
        ordinal=row.ordinal,
        depth=row.depth,
        operator=row.operator,
        origin=row.origin,
        iteration=row.iteration,
        status=row.status,
        text=row.text,
        quality=row.quality,
        diversity=row.diversity,
        complexity=row.complexity,
        reward=row.reward,
        tags=tuple(row.tags or ()),
        visits=row.visits,
        value_sum=row.value_sum,
        reason=row.reason,
        calls=tuple(row.calls or ()),
        pool_version=row.pool_version,
        judgements=row.judgements,
        spread=row.spread,
    )


def rollouts_of(connection: Connection, tree_ids: Sequence[int]) -> list[RolloutRow]:
    query = select(rollouts).where(rollouts.c.tree_id.in_(tree_ids))
    return [
        RolloutRow(
            tree_id=row.tree_id,
            ordinal=row.ordinal,
            leaf_key=row.leaf_key,
            reward=row.reward,
            terminal=row.terminal,
        )
        for row in connection.execute(query.order_by(rollouts.c.tree_id, rollouts.c.ordinal))
    ]


# A node's tree and key.
Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Said:
    """A node's text, and its own score if it has one."""

    text: str
    reward: float | None


_SAID = text(
    """
    SELECT n.tree_id, n.key, n.text, n.reward
    FROM unnest(CAST(:trees AS bigint[]), CAST(:keys AS text[])) AS wanted(tree_id, key)
    JOIN nodes n ON n.tree_id = wanted.tree_id AND n.key = wanted.key
    WHERE n.text IS NOT NULL
    """
)


def said(connection: Connection, places: Collection[Place]) -> Mapping[Place, Said]:
    """What these nodes say, those without a text left out."""
    if not places:
        return {}
    rows = connection.execute(_SAID, _split(places))
    return {(row.tree_id, row.key): Said(row.text, row.reward) for row in rows}


def _split(places: Collection[Place]) -> dict[str, list[int] | list[str]]:
    listed = list(places)
    return {"trees": [tree for tree, _ in listed], "keys": [key for _, key in listed]}


_LINEAGES = text(
    """
    WITH RECURSIVE up AS (
        SELECT wanted.tree_id, wanted.key AS below, n.parent_key, n.depth, n.operator, n.text
        FROM unnest(CAST(:trees AS bigint[]), CAST(:keys AS text[])) AS wanted(tree_id, key)
        JOIN nodes n ON n.tree_id = wanted.tree_id AND n.key = wanted.key
        UNION ALL
        SELECT n.tree_id, up.below, n.parent_key, n.depth, n.operator, n.text
        FROM up JOIN nodes n ON n.tree_id = up.tree_id AND n.key = up.parent_key
    )
    SELECT tree_id, below, operator, text FROM up ORDER BY depth
    """
)


def lineages(connection: Connection, places: Collection[Place]) -> Mapping[Place, list[tuple[str | None, str]]]:
    """(operator, text) from the root down to each of these nodes."""
    found: dict[Place, list[tuple[str | None, str]]] = {}
    if places:
        for row in connection.execute(_LINEAGES, _split(places)):
            found.setdefault((row.tree_id, row.below), []).append((row.operator, row.text or ""))
    return found


def of_pool(connection: Connection, run_id: int) -> list[NodeRow]:
    """The nodes that the run's diversity gate let pass, in that order."""
    query = select(nodes).join(trees, trees.c.id == nodes.c.tree_id)
    query = query.where(trees.c.run_id == run_id, nodes.c.pool_version.is_not(None))
    return [node_row(row) for row in connection.execute(query.order_by(nodes.c.pool_version))]


def roots_of(connection: Connection, tree_ids: Sequence[int]) -> dict[int, str]:
    """The keys of these trees' roots that have a score."""
    query = select(nodes.c.tree_id, nodes.c.key).where(
        nodes.c.tree_id.in_(tree_ids), nodes.c.parent_key.is_(None), nodes.c.reward.is_not(None)
    )
    return {row.tree_id: row.key for row in connection.execute(query)}
