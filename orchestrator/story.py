"""The report of a run, from its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from db import examples, minutes, nodes, notices, pool_rows, pool_views, pools, runs, verdicts, views, workers
from db.records import NodeRow, RolloutRow, Run, TreeRow
from orchestrator.pool_status import is_pool, stages_of
from orchestrator.report.choice import shown
from orchestrator.report.happened import Happened
from orchestrator.report.model import NodeCost, NodeId, RoleSpend, RunStory, TreeStory
from orchestrator.report.oddities import MOST, strangest_texts
from orchestrator.report.page import render
from orchestrator.report.pool_model import OddExample, PoolStory
from orchestrator.report.pool_page import EACH, EXAMPLES, MOVES, render_pool

_TOGETHER = 500


def report_of(connection: Connection, run: Run) -> str:
    """The whole page as one text."""
    return render_pool(pool_story_of(connection, run)) if is_pool(run) else render(story_of(connection, run))


def story_of(connection: Connection, run: Run) -> RunStory:
    story = RunStory(
        run=run,
        trees=tuple(_trees(connection, runs.trees_of(connection, run.id), outline=True)),
        examples=tuple(examples.of_run(connection, run.id)),
        spend=_spend(connection, run),
        node_costs={},
        minutes=tuple(minutes.of_run(connection, run.id)),
        happened=happened_to(connection, run),
        verdicts=verdicts.counts(connection, run.id),
    )
    return _with_bodies(connection, story)


def happened_to(connection: Connection, run: Run) -> Happened:
    return Happened(
        changes=run.changes,
        pauses=run.pauses,
        troubles=notices.troubles(connection, run.id),
        gone=workers.gone(connection, since=run.created_at),
    )


def _with_bodies(connection: Connection, story: RunStory) -> RunStory:
    """Texts and prices only where they are shown: a run of a million nodes has millions of calls."""
    ids = shown(story)
    whole = {tree.row.id: tree for tree in _trees(connection, [t.row for t in story.trees if t.row.id in ids])}
    trees = tuple(whole.get(tree.row.id, tree) for tree in story.trees)
    return replace(story, trees=trees, node_costs=_costs(connection, ids))


def _trees(connection: Connection, rows: Sequence[TreeRow], *, outline: bool = False) -> Iterator[TreeStory]:
    """Some at a time: rows as they come from the database take more room than what is kept of them."""
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        ids = [row.id for row in some]
        nodes_of: dict[int, list[NodeRow]] = {key: [] for key in ids}
        rollouts_of: dict[int, list[RolloutRow]] = {key: [] for key in ids}
        for node in nodes.of_trees(connection, ids, outline=outline):
            nodes_of[node.tree_id].append(node)
        for rollout in nodes.rollouts_of(connection, ids):
            rollouts_of[rollout.tree_id].append(rollout)
        for row in some:
            yield TreeStory(row=row, nodes=tuple(nodes_of[row.id]), rollouts=tuple(rollouts_of[row.id]))


def _costs(connection: Connection, tree_ids: Sequence[int]) -> dict[NodeId, NodeCost]:
    return {
        place: NodeCost(
            calls=cost["calls"],
            tokens_in=round(cost["tokens_in"]),
            tokens_out=round(cost["tokens_out"]),
            nusd=None if cost["nusd"] is None else round(cost["nusd"]),
        )
        for place, cost in views.node_costs(connection, list(tree_ids)).items()
    }


def pool_story_of(connection: Connection, run: Run) -> PoolStory:
    return PoolStory(
        run=run,
        counts=pool_views.counts(connection, run.id),
        rounds=tuple(pools.rounds_of(connection, run.id)),
        batches=tuple(pools.batches_of(connection, run.id)),
        stages=stages_of(connection, run),
        text_reasons=tuple(pool_views.text_reasons(connection, run.id)),
        instance_reasons=tuple(pool_views.instance_reasons(connection, run.id)),
        refused_texts=tuple(pool_views.refused_texts(connection, run.id, each=EACH)),
        refused_instances=tuple(pool_views.refused_instances(connection, run.id, each=EACH)),
        moves=tuple(pool_views.moves(connection, run.id, most=MOVES)),
        moved=pool_views.seed_moves(connection, run.id),
        examples=tuple(pool_rows.made_examples(connection, run.id, most=EXAMPLES)),
        best=tuple(pool_rows.bringing_most(connection, run.id, most=MOST)),
        brought=pool_rows.brought(connection, run.id),
        strangest=_strangest(connection, run),
        spend=_spend(connection, run),
        minutes=tuple(minutes.of_run(connection, run.id)),
        happened=happened_to(connection, run),
        verdicts=verdicts.counts(connection, run.id),
    )


def _strangest(connection: Connection, run: Run) -> tuple[OddExample, ...]:
    """All texts are read for it, one after the other; those that are shown are read again."""
    why = dict(strangest_texts(pool_rows.texts(connection, run.id)))
    found = pool_rows.made_at(connection, run.id, list(why))
    return tuple(OddExample(example=one, why=why[one.ordinal, one.instance]) for one in found)


def _spend(connection: Connection, run: Run) -> tuple[RoleSpend, ...]:
    return tuple(
        RoleSpend(**{**spend, "models": tuple(spend["models"])}) for spend in views.role_spend(connection, run.id)
    )
