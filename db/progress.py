"""How far a run has come: what an estimate of its end is made from. Each question reads a bounded number of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db import totals

# Trees that are looked at to learn how many nodes of a tree may be harvested, how large trees become, and how far those
# that grow have come.
_SAMPLE, _COHORT, _OPEN_ONES = 50, 150, 150


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTree:
    """A tree that grows: its evolved nodes that are no longer under way, its rollouts, the highest iteration begun."""

    settled: int
    rollouts: int
    iteration: int


# OFFSET 0, here and below: the nodes of a tree are looked up by their index, whatever Postgres believes of trees.
_OPEN = text(
    f"""
    WITH chosen AS (
        SELECT id FROM trees WHERE run_id = :run AND status = 'growing' ORDER BY hashint8(id) LIMIT {_OPEN_ONES}
    )
    SELECT n.settled, n.iteration, (SELECT count(*) FROM rollouts o WHERE o.tree_id = t.id) AS rollouts
    FROM chosen t CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status NOT IN ('proposed', 'generated')) AS settled,
               coalesce(max(iteration), -1) AS iteration
        FROM (SELECT iteration, status FROM nodes WHERE tree_id = t.id AND parent_key IS NOT NULL OFFSET 0) AS mine
    ) AS n
    """
)


def open_trees(connection: Connection, run_id: int) -> list[OpenTree]:
    """All that grow or, of many, some that are like the others."""
    return [OpenTree(**row._mapping) for row in connection.execute(_OPEN, {"run": run_id})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Evolved nodes of a tree that are no longer under way, and whether there will be no more of them."""

    nodes: int
    ended: bool


_SIZES = text(
    f"""
    WITH first AS (
        SELECT id, status FROM trees WHERE run_id = :run AND status <> 'waiting' ORDER BY ordinal LIMIT {_COHORT}
    )
    SELECT n.nodes, s.status = 'grown' AS ended
    FROM first s CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status NOT IN ('proposed', 'generated')) AS nodes
        FROM (SELECT status FROM nodes WHERE tree_id = s.id AND parent_key IS NOT NULL OFFSET 0) AS mine
    ) AS n
    """
)


def sizes(connection: Connection, run_id: int) -> list[Size]:
    """Of the first trees that were begun. One that a cap cut might have become larger."""
    return [Size(**row._mapping) for row in connection.execute(_SIZES, {"run": run_id})]


_WARMING = text(
    """
    SELECT extract(epoch FROM n.settled_at - r.created_at)::float8
    FROM runs r JOIN trees t ON t.run_id = r.id AND t.ordinal = 0
    JOIN nodes n ON n.tree_id = t.id AND n.parent_key IS NULL WHERE r.id = :run
    """
)


def warming_s(connection: Connection, run_id: int) -> float | None:
    """How long it took until the first thing was done: the seed of the first tree was scored. None before that."""
    found: float | None = connection.execute(_WARMING, {"run": run_id}).scalar_one_or_none()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvestable:
    """What trees have for the harvest: how many trees were looked at, and their nodes together."""

    trees: int
    nodes: int


_HARVESTABLE = text(
    f"""
    WITH first AS (
        SELECT id FROM trees WHERE run_id = :run AND status = ANY (:status) ORDER BY ordinal LIMIT {_SAMPLE}
    )
    SELECT count(*) AS trees, coalesce(sum(least(n.nodes, :most)), 0)::bigint AS nodes
    FROM first s CROSS JOIN LATERAL (
        SELECT count(*) AS nodes FROM (
            SELECT visits FROM nodes WHERE tree_id = s.id AND parent_key IS NOT NULL AND status = 'scored' OFFSET 0
        ) AS mine WHERE visits > 0 OR NOT :on_paths
    ) AS n
    """
)


def harvestable(
    connection: Connection, run_id: int, status: Sequence[str], *, on_paths: bool, most: int | None
) -> Harvestable:
    """Of the first trees in such a state: scored nodes, at most so many of a tree, on the paths of rollouts or all."""
    values = {"run": run_id, "status": list(status), "on_paths": on_paths, "most": 2**31 - 1 if most is None else most}
    return Harvestable(**connection.execute(_HARVESTABLE, values).one()._mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What calls took: how many they were, their seconds summed, tokens, nano-dollars of known prices."""

    calls: int = 0
    seconds: float = 0.0
    tokens: int = 0
    nusd: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(
            calls=self.calls + other.calls,
            seconds=self.seconds + other.seconds,
            tokens=self.tokens + other.tokens,
            nusd=self.nusd + other.nusd,
        )


def taken_by_role(connection: Connection, run_id: int) -> Mapping[str, Taken]:
    """By all calls of the run so far."""
    found: dict[str, Taken] = {}
    for one in totals.calls(connection, run_id):
        more = Taken(calls=one.calls, seconds=one.seconds, tokens=one.tokens_in + one.tokens_out, nusd=one.nusd)
        found[one.role] = found.get(one.role, Taken()) + more
    return found


_EVALUATIONS = text(
    """
    SELECT (SELECT count(*) FROM tasks WHERE run_id = :run AND kind = 'evaluate' AND state IN ('ready', 'leased')),
           (SELECT coalesce(sum(done), 0)::bigint FROM task_totals WHERE run_id = :run AND kind = 'evaluate')
    """
)


def evaluations(connection: Connection, run_id: int) -> tuple[int, int]:
    """Tasks of judging that are open, and that were done."""
    still, done = connection.execute(_EVALUATIONS, {"run": run_id}).one()
    return int(still), int(done)
