"""Judgements beside the nodes' own scores: appended by the scheduler, never changed."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, func, insert, select

from db.records import JudgementRow
from db.schema import judgements, nodes, trees


def add(connection: Connection, rows: Sequence[JudgementRow]) -> None:
    """Inserts judgements. One that exists raises: it would be a bug."""
    if rows:
        connection.execute(insert(judgements), [{**asdict(row), "calls": list(row.calls)} for row in rows])


def of_run(connection: Connection, run_id: int, judge: str) -> list[JudgementRow]:
    """All that this judge (`search` or `held_out`) has said in a run."""
    return _said(connection, trees.c.run_id == run_id, judge)


def of_trees(connection: Connection, tree_ids: Sequence[int], judge: str) -> list[JudgementRow]:
    """All that this judge has said of these trees."""
    return _said(connection, trees.c.id.in_(tree_ids), judge)


def _said(connection: Connection, whose: ColumnElement[bool], judge: str) -> list[JudgementRow]:
    query = select(judgements).join(trees, trees.c.id == judgements.c.tree_id)
    query = query.where(whose, judgements.c.judge == judge)
    order = (judgements.c.tree_id, judgements.c.node_key, judgements.c.sample)
    return [
        JudgementRow(
            tree_id=row.tree_id,
            node_key=row.node_key,
            judge=row.judge,
            sample=row.sample,
            quality=row.quality,
            diversity=row.diversity,
            complexity=row.complexity,
            reward=row.reward,
            reason=row.reason,
            calls=tuple(row.calls),
        )
        for row in connection.execute(query.order_by(*order))
    ]


def noise(connection: Connection, run_id: int) -> float | None:
    """The standard deviation of one judgement of the search's judge, from nodes that it saw twice; None without any."""
    difference = judgements.c.reward - nodes.c.reward
    query = select(func.sqrt(func.avg(difference * difference) / 2))
    query = query.join(nodes, (nodes.c.tree_id == judgements.c.tree_id) & (nodes.c.key == judgements.c.node_key))
    query = query.join(trees, trees.c.id == nodes.c.tree_id)
    query = query.where(trees.c.run_id == run_id, judgements.c.judge == "search", judgements.c.reward.is_not(None))
    found: float | None = connection.execute(query).scalar_one()
    return found
