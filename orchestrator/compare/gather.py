"""What came of one recipe's run, read from its rows."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from db import examples, judgements, nodes, runs
from db.records import NodeRow, Run
from orchestrator.compare.outcome import Marks, Outcome, TreeOutcome

_BATCH = 200
_EVOLVED = ("scored", "rejected")

# By (tree id, node key).
Scores = Mapping[tuple[int, str], float]


def outcome_of(connection: Connection, arm: str, run: Run) -> Outcome:
    """The trees of an arm's run in the order of its seeds."""
    rows = runs.trees_of(connection, run.id)
    held_out = {
        (said.tree_id, said.node_key): said.reward
        for said in judgements.of_run(connection, run.id, "held_out")
        if said.reward is not None
    }
    accepted: dict[int, set[str]] = {}
    for example in examples.of_run(connection, run.id):
        if example.status == "accepted":
            accepted.setdefault(example.tree_id, set()).add(example.node_key)
    trees: list[TreeOutcome] = []
    rewards: list[float] = []
    for start in range(0, len(rows), _BATCH):
        batch = [row.id for row in rows[start : start + _BATCH]]
        found: dict[int, list[NodeRow]] = {tree_id: [] for tree_id in batch}
        for node in nodes.of_trees(connection, batch):
            found[node.tree_id].append(node)
        trees += [tree_outcome(mine, accepted.get(tree_id, set()), held_out) for tree_id, mine in found.items()]
        rewards += [node.reward for mine in found.values() for node in mine if node.reward is not None]
    return Outcome(
        recipe=arm,
        run=run.name,
        trees=tuple(trees),
        rewards={"search": tuple(rewards), "held_out": tuple(held_out.values())},
        paid=run.spent.calls,
        replayed=run.calls_replayed,
        seconds=run.driven_s,
        reason=run.reason if run.status == "stopped" else None,
    )


def tree_outcome(rows: Sequence[NodeRow], harvested: set[str], held_out: Scores) -> TreeOutcome:
    """One tree. `harvested` are the keys of its nodes that were chosen; a tree that was never opened has no rows."""
    evolved = [row for row in rows if row.parent_key is not None]
    statuses = [row.status for row in evolved]
    return TreeOutcome(
        root=next((_marks(row, held_out) for row in rows if row.parent_key is None), Marks()),
        harvest=tuple(_marks(row, held_out) for row in evolved if row.key in harvested),
        calls=calls_of(evolved),
        scored=statuses.count("scored"),
        rejected=statuses.count("rejected"),
        lost=sum(status not in _EVOLVED for status in statuses),
    )


def _marks(row: NodeRow, held_out: Scores) -> Marks:
    return Marks(search=row.reward, held_out=held_out.get((row.tree_id, row.key)))


def calls_of(rows: Sequence[NodeRow]) -> int:
    """The calls behind these nodes, paid or replayed.

    One that judged a litter together is named by each of its nodes, and is one; the same question asked for another
    litter is another call.
    """
    return len({(row.parent_key, row.iteration, call) for row in rows for call in row.calls})
