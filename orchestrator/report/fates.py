"""What became of nodes and examples, and why; and at which depth rollouts met a terminal node."""

from collections import Counter
from collections.abc import Iterable

from orchestrator.report.forest import Forest
from orchestrator.report.model import DepthShare, Fates, Reason

NODE_STATUSES = ("scored", "unscored", "rejected", "failed", "generated", "proposed")
EXAMPLE_STATUSES = ("accepted", "rejected", "failed", "pending")
_GOOD = ("scored", "accepted")


def node_fates(forest: Forest) -> Fates:
    """All nodes, seeds included."""
    return _fates(((node.status, node.reason) for node in forest.nodes.values()), NODE_STATUSES)


def example_fates(forest: Forest) -> Fates:
    """`total` is what was proposed for the data set; what is still pending is a part of it."""
    return _fates(((example.status, example.reason) for example in forest.examples.values()), EXAMPLE_STATUSES)


def _fates(ends: Iterable[tuple[str, str | None]], statuses: tuple[str, ...]) -> Fates:
    counted = Counter(ends)
    by_status = dict.fromkeys(statuses, 0)
    for (status, _), count in counted.items():
        by_status[status] = by_status.get(status, 0) + count
    reasons = [
        Reason(status=status, reason=reason, count=count)
        for (status, reason), count in counted.items()
        if reason is not None and status not in _GOOD
    ]
    reasons.sort(key=lambda found: (-found.count, found.status, found.reason))
    return Fates(total=sum(counted.values()), by_status=by_status, reasons=tuple(reasons))


def depth_shares(forest: Forest) -> tuple[DepthShare, ...]:
    """One for each depth that holds a node, the seed's depth 0 first."""
    nodes = Counter(node.depth for node in forest.nodes.values())
    scored = Counter(node.depth for node in forest.nodes.values() if node.status == "scored")
    ends = [
        (leaf, rollout.terminal)
        for tree in forest.trees
        for rollout in tree.rollouts
        if (leaf := forest.nodes.get((tree.row.id, rollout.leaf_key))) is not None
    ]
    rollouts = Counter(leaf.depth for leaf, _ in ends)
    terminal = Counter(leaf.depth for leaf, is_terminal in ends if is_terminal)
    places = {(leaf.tree_id, leaf.key): leaf.depth for leaf, is_terminal in ends if is_terminal}
    distinct = Counter(places.values())
    return tuple(
        DepthShare(
            depth=depth,
            nodes=nodes[depth],
            scored=scored[depth],
            rollouts=rollouts[depth],
            terminal_rollouts=terminal[depth],
            terminal_nodes=distinct[depth],
        )
        for depth in sorted(nodes)
    )
