"""The tree: nodes, what may happen to them, and the statistics of rollouts.

A `Tree` has one owner and changes in place; everything that crosses its border is a frozen value.

Life of a node::

    proposed -> generated -> scored | unscored
             -> rejected (a guard refused the text) | failed (there is no text)

The children of one expansion are a *litter*. They are judged together, once each has a text or is out.
"""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from orchestrator.search.ids import child_key, root_key

# A rubric judge sees so many siblings at once.
TOGETHER = 6
NO_LIMIT = 1 << 30


class Status(StrEnum):
    PROPOSED = "proposed"
    GENERATED = "generated"
    SCORED = "scored"
    UNSCORED = "unscored"
    REJECTED = "rejected"
    FAILED = "failed"


_UNSETTLED = (Status.PROPOSED, Status.GENERATED)


class Origin(StrEnum):
    """Why a node was proposed: it is the seed, a child of an expansion, or a step of a simulation."""

    SEED = "seed"
    EXPANSION = "expansion"
    SIMULATION = "simulation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction. `reward` is its own score; what was backed up through it is in its `Tally`."""

    key: str
    parent: str | None
    ordinal: int
    depth: int
    operator: str | None
    origin: Origin
    iteration: int
    status: Status
    reward: float | None = None

    @property
    def is_settled(self) -> bool:
        """Nothing more will be told of it."""
        return self.status not in _UNSETTLED


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is known of the subtree of a node: the rollouts through it, and how many evolutions below it are under way.

    `pending` counts nodes below this one that were issued and are not committed (WU-UCT's unobserved visits).
    """

    visits: int = 0
    value_sum: float = 0.0
    squares: float = 0.0
    best: float = -math.inf
    pending: int = 0

    def add(self, reward: float) -> None:
        self.visits += 1
        self.value_sum += reward
        self.squares += reward * reward
        self.best = max(self.best, reward)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One terminal evaluation, backed up along the path to `leaf`. Without a reward it counts for no statistic."""

    ordinal: int
    leaf: str
    reward: float | None
    terminal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand:
    """Evolve `parent` into these nodes (status proposed)."""

    parent: str
    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Score these siblings together."""

    parent: str | None
    nodes: tuple[str, ...]


Proposal = Expand | Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What `ask` decided: work to carry out, and rollouts that were backed up on the way."""

    proposals: tuple[Proposal, ...] = ()
    rollouts: tuple[Rollout, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """The proposed node has a text that passed the guards."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    key: str
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unscored:
    """The judge could not say. The node stays, counts for no statistic and leads nowhere."""

    key: str


Outcome = Grown | Rejected | Failed | Scored | Unscored

_AFTER: dict[type, tuple[Status, Status]] = {
    Grown: (Status.PROPOSED, Status.GENERATED),
    Rejected: (Status.PROPOSED, Status.REJECTED),
    Failed: (Status.PROPOSED, Status.FAILED),
    Scored: (Status.GENERATED, Status.SCORED),
    Unscored: (Status.GENERATED, Status.UNSCORED),
}


Litter = tuple[str, int, Origin]


@dataclass(slots=True, kw_only=True)
class Tree:
    """The search tree of one seed.

    `open` holds the nodes that are not settled, `in_flight` those of them whose proposal has gone out and not come
    back; `ripe`, by litter, the generated ones that wait for a judge; `arrived` the settled ones that are not yet
    committed, as they came. `issued` and `committed` are the evolved nodes in these orders: whatever a policy wants to
    know of a tree is a fold over the two (`orchestrator.search.memo`).
    """

    seed: int
    root: str
    nodes: dict[str, Node] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    rollouts: list[Rollout] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    ripe: dict[Litter, list[str]] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    memos: dict[Hashable, Any] = field(default_factory=dict)
    _unborn: dict[Litter, set[str]] = field(default_factory=dict)
    _born: dict[Litter, list[str]] = field(default_factory=dict)

    def node(self, key: str) -> Node:
        return self.nodes[key]

    def tally(self, key: str) -> Tally:
        return self.tallies[key]

    def children_of(self, key: str) -> list[Node]:
        """All children ever proposed, in order of their ordinal."""
        return [self.nodes[child] for child in self.children.get(key, ())]

    def scored_children(self, key: str) -> list[Node]:
        return [child for child in self.children_of(key) if child.reward is not None]

    def path(self, key: str) -> Iterator[Node]:
        """From this node up to the root."""
        at: str | None = key
        while at is not None:
            yield (node := self.nodes[at])
            at = node.parent

    def add(self, node: Node) -> None:
        """Takes in a node as it is; of a litter that is stored, `place` each once all of it is there."""
        self.nodes[node.key] = node
        self.tallies[node.key] = Tally()
        if not node.is_settled:
            self.open.add(node.key)
        if node.parent is not None:
            self.children.setdefault(node.parent, []).append(node.key)
            self.issued.append(node.key)
            self._count_pending(node, 1)

    def settle(self, node: Node) -> None:
        """Replaces a node that was heard of, and puts it where its next step is looked for."""
        self.nodes[node.key] = node
        if node.is_settled:
            self.open.discard(node.key)
        self.place(node)

    def commit(self, key: str) -> None:
        """From now on selection knows what came of this node."""
        self.committed.append(key)
        self._count_pending(self.nodes[key], -1)

    def forget(self, node: Node) -> None:
        """Takes a proposed node out as if it had never been."""
        del self.nodes[node.key], self.tallies[node.key]
        self.open.discard(node.key)
        self.children[node.parent or self.root].remove(node.key)
        self.issued.remove(node.key)
        self._count_pending(node, -1)
        self._unborn.get(litter_of(node), set()).discard(node.key)
        self._ripen(litter_of(node))
        self.memos.clear()

    def _count_pending(self, node: Node, by: int) -> None:
        at = node.parent
        while at is not None:
            self.tallies[at].pending += by
            at = self.nodes[at].parent

    def place(self, node: Node) -> None:
        """Puts a node where its next step is looked for; of a litter, those without a text first."""
        litter = litter_of(node)
        if node.parent is None:
            if node.status is Status.GENERATED and node.key not in self.in_flight:
                self.ripe[litter] = [node.key]
            return
        if node.status is Status.PROPOSED:
            self._unborn.setdefault(litter, set()).add(node.key)
            return
        self._unborn.get(litter, set()).discard(node.key)
        if node.is_settled:
            self.arrived.append(node.key)
        elif node.key not in self.in_flight:
            self._born.setdefault(litter, []).append(node.key)
        self._ripen(litter)

    def _ripen(self, litter: Litter) -> None:
        """Siblings are judged together, so they wait until each of them has a text or is out."""
        if not self._unborn.get(litter):
            self._unborn.pop(litter, None)
            if born := self._born.pop(litter, None):
                self.ripe.setdefault(litter, []).extend(born)


def litter_of(node: Node) -> Litter:
    return (node.parent or "", node.iteration, node.origin)


def plant(*, seed: int, ordinal: int) -> Tree:
    """A tree of one node: the seed instruction, which has its text and waits for its scores."""
    root = Node(
        key=root_key(seed, ordinal),
        parent=None,
        ordinal=0,
        depth=0,
        operator=None,
        origin=Origin.SEED,
        iteration=0,
        status=Status.GENERATED,
    )
    tree = Tree(seed=seed, root=root.key)
    tree.add(root)
    tree.place(root)
    return tree


def propose(
    tree: Tree, parent: Node, operators: Sequence[str], *, iteration: int, origin: Origin = Origin.EXPANSION
) -> Expand:
    """A litter of this parent, one child an operator, sent out."""
    siblings = tree.children.get(parent.key)
    # Not their number: one that was released has left a gap, and no key may be given twice.
    start = tree.nodes[siblings[-1]].ordinal + 1 if siblings else 0
    children = tuple(
        Node(
            key=child_key(parent.key, operator, start + i),
            parent=parent.key,
            ordinal=start + i,
            depth=parent.depth + 1,
            operator=operator,
            origin=origin,
            iteration=iteration,
            status=Status.PROPOSED,
        )
        for i, operator in enumerate(operators)
    )
    for child in children:
        tree.in_flight.add(child.key)
        tree.add(child)
        tree.place(child)
    return Expand(parent=parent.key, children=children)


def evaluations(tree: Tree, together: int = TOGETHER) -> tuple[Evaluate, ...]:
    """The litters whose texts are all there, sent out to be judged, at most so many in one go."""
    found: list[Evaluate] = []
    for keys in tree.ripe.values():
        # One that was taken back may have been scored all the same.
        waiting = [node for node in map(tree.node, keys) if node.status is Status.GENERATED]
        ordered = [node.key for node in sorted(waiting, key=lambda node: node.ordinal)]
        tree.in_flight.update(ordered)
        for start in range(0, len(ordered), together):
            found.append(Evaluate(parent=waiting[0].parent, nodes=tuple(ordered[start : start + together])))
    tree.ripe.clear()
    return tuple(found)


def tell(tree: Tree, outcome: Outcome) -> bool:
    """Records what came of a node. A repeat, or news about a node that is past it, changes nothing and returns False.

    Raises:
        KeyError: no such node was ever proposed.
    """
    node = tree.nodes[outcome.key]
    before, after = _AFTER[type(outcome)]
    if node.status is not before:
        return False
    reward = outcome.reward if isinstance(outcome, Scored) else None
    tree.in_flight.discard(node.key)
    tree.settle(replace(node, status=after, reward=reward))
    return True


def release(tree: Tree, key: str) -> None:
    """Takes back a proposal that will not be carried out: a proposed node vanishes, a generated one waits again."""
    node = tree.nodes[key]
    if key not in tree.in_flight:
        return
    tree.in_flight.discard(key)
    if node.status is Status.PROPOSED:
        tree.forget(node)
    else:
        tree.ripe.setdefault(litter_of(node), []).append(key)


def back_up(tree: Tree, leaf: str, *, terminal: bool) -> Rollout:
    """Adds the leaf's reward to every node on the path from it to the root, and keeps the rollout."""
    rollout = Rollout(ordinal=len(tree.rollouts), leaf=leaf, reward=tree.node(leaf).reward, terminal=terminal)
    tree.rollouts.append(rollout)
    credit(tree, rollout)
    return rollout


def credit(tree: Tree, rollout: Rollout) -> None:
    """Adds one rollout to the statistics."""
    if rollout.reward is None:
        return
    for node in tree.path(rollout.leaf):
        tree.tallies[node.key].add(rollout.reward)


def is_unjudged(tree: Tree, node: Node) -> bool:
    """Whether nobody has been asked to score this node yet."""
    if node.status is Status.GENERATED:
        return node.key not in tree.in_flight
    return node.status is Status.PROPOSED
