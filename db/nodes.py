"""Nodes and rollouts: written by the scheduler alone, in bulk."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Row, bindparam, func, insert, select, text, update

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


_SETTLE = (
    update(nodes)
    .where(nodes.c.tree_id == bindparam("of_tree"), nodes.c.key == bindparam("of_key"))
    .values(
        status=bindparam("status"),
        text=func.coalesce(bindparam("text", type_=nodes.c.text.type), nodes.c.text),
        quality=bindparam("quality"),
        diversity=bindparam("diversity"),
        complexity=bindparam("complexity"),
        reward=bindparam("reward"),
        tags=bindparam("tags"),
        reason=bindparam("reason"),
        pool_version=func.coalesce(bindparam("pool_version", type_=nodes.c.pool_version.type), nodes.c.pool_version),
        judgements=bindparam("judgements"),
        spread=bindparam("spread"),
        calls=nodes.c.calls.concat(bindparam("calls", type_=nodes.c.calls.type)),
        settled_at=func.now(),
    )
)


def settle(connection: Connection, rows: Sequence[NodeRow]) -> None:
    """Writes what became of nodes: status, text, scores, reason; their calls are added to those they have."""
    if rows:
        connection.execute(
            _SETTLE,
            [
                {
                    "of_tree": row.tree_id,
                    "of_key": row.key,
                    "status": row.status,
                    "text": row.text,
                    "quality": row.quality,
                    "diversity": row.diversity,
                    "complexity": row.complexity,
                    "reward": row.reward,
                    "tags": list(row.tags),
                    "reason": row.reason,
                    "pool_version": row.pool_version,
                    "judgements": row.judgements,
                    "spread": row.spread,
                    "calls": list(row.calls),
                }
                for row in rows
            ],
        )


def roll_out(connection: Connection, rows: Sequence[RolloutRow], statistics: Sequence[NodeRow]) -> None:
    """Appends rollouts and writes the visits and value sums that follow from them."""
    if not rows:
        return
    connection.execute(
        insert(rollouts),
        [
            {
                "tree_id": row.tree_id,
                "ordinal": row.ordinal,
                "leaf_key": row.leaf_key,
                "reward": row.reward,
                "terminal": row.terminal,
            }
            for row in rows
        ],
    )
    connection.execute(
        update(nodes)
        .where(nodes.c.tree_id == bindparam("of_tree"), nodes.c.key == bindparam("of_key"))
        .values(visits=bindparam("new_visits"), value_sum=bindparam("new_value_sum")),
        [
            {"of_tree": s.tree_id, "of_key": s.key, "new_visits": s.visits, "new_value_sum": s.value_sum}
            for s in statistics
        ],
    )


def of_trees(connection: Connection, tree_ids: Sequence[int]) -> list[NodeRow]:
    """All nodes of these trees, parents before children."""
    query = select(nodes).where(nodes.c.tree_id.in_(tree_ids))
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
        tags=tuple(row.tags),
        visits=row.visits,
        value_sum=row.value_sum,
        reason=row.reason,
        calls=tuple(row.calls),
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


def texts(connection: Connection, tree_id: int, keys: Sequence[str]) -> Mapping[str, str]:
    """The texts of these nodes, those without one left out."""
    query = select(nodes.c.key, nodes.c.text).where(nodes.c.tree_id == tree_id, nodes.c.key.in_(keys))
    return {row.key: row.text for row in connection.execute(query) if row.text is not None}


def reward(connection: Connection, tree_id: int, key: str) -> float | None:
    """A node's own score, if it has one."""
    query = select(nodes.c.reward).where(nodes.c.tree_id == tree_id, nodes.c.key == key)
    found: float | None = connection.execute(query).scalar_one_or_none()
    return found


_LINEAGE = text(
    """
    WITH RECURSIVE up AS (
        SELECT tree_id, key, parent_key, depth, operator, text
        FROM nodes WHERE tree_id = :tree AND key = :key
        UNION ALL
        SELECT n.tree_id, n.key, n.parent_key, n.depth, n.operator, n.text
        FROM nodes n JOIN up ON n.tree_id = up.tree_id AND n.key = up.parent_key
    )
    SELECT operator, text FROM up ORDER BY depth
    """
)


def lineage(connection: Connection, tree_id: int, key: str) -> list[tuple[str | None, str]]:
    """(operator, text) from the root down to this node."""
    rows = connection.execute(_LINEAGE, {"tree": tree_id, "key": key})
    return [(row.operator, row.text or "") for row in rows]


_ON_PATHS = text(
    """
    WITH RECURSIVE up AS (
        SELECT o.tree_id, o.leaf_key AS key FROM rollouts o JOIN trees t ON t.id = o.tree_id
        WHERE t.run_id = :run AND t.status = 'grown'
        UNION
        SELECT n.tree_id, n.parent_key FROM nodes n JOIN up ON n.tree_id = up.tree_id AND n.key = up.key
        WHERE n.parent_key IS NOT NULL
    )
    SELECT count(*) FROM up JOIN nodes n ON n.tree_id = up.tree_id AND n.key = up.key
    WHERE n.parent_key IS NOT NULL AND n.status = 'scored'
    """
)


def count_on_paths(connection: Connection, run_id: int) -> int:
    """Evolved, scored nodes on paths from root to a rolled-out leaf, over all grown trees."""
    return int(connection.execute(_ON_PATHS, {"run": run_id}).scalar_one())


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
