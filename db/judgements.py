"""Judgements beside the nodes' own scores: appended by the scheduler, never changed."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, func, insert, or_, select

from db.records import JudgementRow
from db.schema import judgements, nodes, trees


def add(connection: Connection, rows: Sequence[JudgementRow]) -> None:
    """Inserts judgements. One that exists raises: it would be a bug."""
    if rows:
        connection.execute(insert(judgements), [{**asdict(row), "calls": list(row.calls)} for row in rows])


def of_run(connection: Connection, run_id: int, judge: str) -> list[JudgementRow]:
    """All that this judge (`search` or `held_out`) has said in a run."""
    query = select(judgements).join(trees, trees.c.id == judgements.c.tree_id)
    query = query.where(trees.c.run_id == run_id, judgements.c.judge == judge)
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


def first_rewards(connection: Connection, run_id: int) -> dict[tuple[int, str], tuple[float, int]]:
    """The rewards of nodes that were judged more than once, and of how many judgements they are the means.

    Keys are (tree id, node key). Nodes that only the held-out judge has seen again are not among them.
    """
    query = select(nodes.c.tree_id, nodes.c.key, nodes.c.reward, nodes.c.judgements).join(
        trees, trees.c.id == nodes.c.tree_id
    )
    again = select(judgements.c.node_key).where(
        judgements.c.tree_id == nodes.c.tree_id,
        judgements.c.node_key == nodes.c.key,
        judgements.c.judge == "search",
        judgements.c.reward.is_not(None),
    )
    query = query.where(trees.c.run_id == run_id, nodes.c.reward.is_not(None))
    query = query.where(or_(nodes.c.judgements > 1, again.exists()))
    return {(row.tree_id, row.key): (row.reward, row.judgements) for row in connection.execute(query)}


def noise(connection: Connection, run_id: int) -> float | None:
    """The standard deviation of one judgement of the search's judge, from nodes that it saw twice; None without any."""
    difference = judgements.c.reward - nodes.c.reward
    query = select(func.sqrt(func.avg(difference * difference) / 2))
    query = query.join(nodes, (nodes.c.tree_id == judgements.c.tree_id) & (nodes.c.key == judgements.c.node_key))
    query = query.join(trees, trees.c.id == nodes.c.tree_id)
    query = query.where(trees.c.run_id == run_id, judgements.c.judge == "search", judgements.c.reward.is_not(None))
    found: float | None = connection.execute(query).scalar_one()
    return found
