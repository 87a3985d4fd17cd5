"""The report of a run, from its rows."""

from sqlalchemy import Connection

from db import examples, nodes, runs, views
from db.records import NodeRow, RolloutRow, Run
from orchestrator.report.model import NodeCost, RoleSpend, RunStory, TreeStory
from orchestrator.report.page import render


def report_of(connection: Connection, run: Run) -> str:
    """The whole page as one text."""
    return render(story_of(connection, run))


def story_of(connection: Connection, run: Run) -> RunStory:
    rows = runs.trees_of(connection, run.id)
    ids = [row.id for row in rows]
    nodes_of: dict[int, list[NodeRow]] = {key: [] for key in ids}
    rollouts_of: dict[int, list[RolloutRow]] = {key: [] for key in ids}
    for node in nodes.of_trees(connection, ids):
        nodes_of[node.tree_id].append(node)
    for rollout in nodes.rollouts_of(connection, ids):
        rollouts_of[rollout.tree_id].append(rollout)
    costs = {
        place: NodeCost(
            calls=cost["calls"],
            tokens_in=round(cost["tokens_in"]),
            tokens_out=round(cost["tokens_out"]),
            nusd=None if cost["nusd"] is None else round(cost["nusd"]),
        )
        for place, cost in views.node_costs(connection, ids).items()
    }
    return RunStory(
        run=run,
        trees=tuple(
            TreeStory(row=row, nodes=tuple(nodes_of[row.id]), rollouts=tuple(rollouts_of[row.id])) for row in rows
        ),
        examples=tuple(examples.of_run(connection, run.id)),
        spend=tuple(
            RoleSpend(**{**spend, "models": tuple(spend["models"])}) for spend in views.role_spend(connection, run.id)
        ),
        node_costs=costs,
        wall_s=views.elapsed_s(connection, run.id),
    )
