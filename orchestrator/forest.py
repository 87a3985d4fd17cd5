"""The trees in hand: core trees beside their rows, and the translation between the two."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from db.records import NodeRow, RolloutRow, TreeRow
from orchestrator.search import Node, Origin, Rollout, Status, Tree, plant, replay
from orchestrator.search.tree import is_unjudged
from orchestrator.seeds import Seed

_EVOLVING = (Status.PROPOSED, Status.GENERATED, Status.SCORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """Evolved nodes that may end in the harvest, and those that no judge was asked about yet."""

    evolving: int
    unjudged: int


@dataclass(slots=True, kw_only=True)
class Growing:
    """A tree in hand, the row it belongs to, and by node the calls that it took, replayed ones included.

    `budget` is how many evolutions the tree's share of calls has allowed so far. `stake` is forgotten when the tree
    changes.
    """

    row: TreeRow
    tree: Tree
    calls: Counter[str] = field(default_factory=Counter)
    named: set[tuple[str | None, int, str]] = field(default_factory=set)
    budget: int = 0
    stake: Stake | None = None

    def at_stake(self) -> Stake:
        if self.stake is None:
            evolved = [node for node in self.tree.nodes.values() if node.parent is not None]
            self.stake = Stake(
                evolving=sum(node.status in _EVOLVING for node in evolved),
                unjudged=sum(is_unjudged(self.tree, node) for node in evolved),
            )
        return self.stake

    def count(self, rows: Iterable[NodeRow]) -> None:
        """Counts the calls behind what became of nodes. One that judged a whole litter is named by each of it."""
        for row in rows:
            node = self.tree.node(row.key)
            mine = {(node.parent, node.iteration, call) for call in row.calls} - self.named
            self.named |= mine
            self.calls[row.key] += len(mine)


def planted(row: TreeRow, run_seed: int) -> tuple[Growing, NodeRow]:
    """A fresh tree for this seed, and the row of its root."""
    tree = plant(seed=run_seed, ordinal=row.ordinal)
    return Growing(row=row, tree=tree), node_row(row.id, tree, tree.node(tree.root), text=Seed(**row.seed).text)


def restored(
    rows: Sequence[TreeRow],
    nodes: Iterable[NodeRow],
    rollouts: Iterable[RolloutRow],
    in_flight: Mapping[int, set[str]],
    run_seed: int,
) -> list[Growing]:
    """Trees as they stood: from their rows, and the keys that outstanding tasks are about."""
    node_rows_of: dict[int, list[NodeRow]] = {row.id: [] for row in rows}
    rollouts_of: dict[int, list[Rollout]] = {row.id: [] for row in rows}
    for node in nodes:
        node_rows_of[node.tree_id].append(node)
    for rollout in rollouts:
        rollouts_of[rollout.tree_id].append(core_rollout(rollout))
    grown = [
        Growing(
            row=row,
            tree=replay(
                seed=run_seed,
                nodes=map(core_node, node_rows_of[row.id]),
                rollouts=rollouts_of[row.id],
                in_flight=in_flight.get(row.id, ()),
            ),
        )
        for row in rows
    ]
    for growing in grown:
        growing.count(node_rows_of[growing.row.id])
    return grown


def node_row(tree_id: int, tree: Tree, node: Node, *, text: str | None = None) -> NodeRow:
    tally = tree.tally(node.key)
    return NodeRow(
        tree_id=tree_id,
        key=node.key,
        parent_key=node.parent,
        ordinal=node.ordinal,
        depth=node.depth,
        operator=node.operator,
        origin=node.origin.value,
        iteration=node.iteration,
        status=node.status.value,
        text=text,
        visits=tally.visits,
        value_sum=tally.value_sum,
    )


def core_node(row: NodeRow) -> Node:
    return Node(
        key=row.key,
        parent=row.parent_key,
        ordinal=row.ordinal,
        depth=row.depth,
        operator=row.operator,
        origin=Origin(row.origin),
        iteration=row.iteration,
        status=Status(row.status),
        reward=row.reward,
    )


def rollout_row(tree_id: int, rollout: Rollout) -> RolloutRow:
    return RolloutRow(
        tree_id=tree_id,
        ordinal=rollout.ordinal,
        leaf_key=rollout.leaf,
        reward=rollout.reward,
        terminal=rollout.terminal,
    )


def core_rollout(row: RolloutRow) -> Rollout:
    return Rollout(ordinal=row.ordinal, leaf=row.leaf_key, reward=row.reward, terminal=row.terminal)
