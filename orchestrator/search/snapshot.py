"""A tree as plain JSON values, the same for the same tree: to compare, to keep, to load again."""

from typing import Any

from orchestrator.search.replay import replay
from orchestrator.search.tree import Node, Origin, Rollout, Status, Tree

Snapshot = dict[str, Any]


def snapshot(tree: Tree) -> Snapshot:
    """Everything a tree is: its nodes as they were issued, their statistics, its rollouts, and what is in flight."""
    return {
        "seed": tree.seed,
        "nodes": [_node(tree, tree.nodes[key]) for key in (tree.root, *tree.issued)],
        "rollouts": [_rollout(rollout) for rollout in tree.rollouts],
        "in_flight": sorted(tree.in_flight),
    }


def restore(saved: Snapshot) -> Tree:
    """The tree of a snapshot; statistics are counted again.

    Raises:
        KeyError, ValueError: it is not the snapshot of a tree.
    """
    return replay(
        seed=saved["seed"],
        nodes=[_node_of(node) for node in saved["nodes"]],
        rollouts=[Rollout(**rollout) for rollout in saved["rollouts"]],
        in_flight=saved["in_flight"],
    )


def _node(tree: Tree, node: Node) -> Snapshot:
    tally = tree.tallies[node.key]
    return {
        "key": node.key,
        "parent": node.parent,
        "ordinal": node.ordinal,
        "depth": node.depth,
        "operator": node.operator,
        "origin": node.origin.value,
        "iteration": node.iteration,
        "status": node.status.value,
        "reward": node.reward,
        "visits": tally.visits,
        "value_sum": tally.value_sum,
        "squares": tally.squares,
        "best": tally.best if tally.visits else None,
    }


def _node_of(saved: Snapshot) -> Node:
    return Node(
        key=saved["key"],
        parent=saved["parent"],
        ordinal=saved["ordinal"],
        depth=saved["depth"],
        operator=saved["operator"],
        origin=Origin(saved["origin"]),
        iteration=saved["iteration"],
        status=Status(saved["status"]),
        reward=saved["reward"],
    )


def _rollout(rollout: Rollout) -> Snapshot:
    return {
        "ordinal": rollout.ordinal,
        "leaf": rollout.leaf,
        "reward": rollout.reward,
        "terminal": rollout.terminal,
    }
