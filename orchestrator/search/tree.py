"""The tree: nodes, what may happen to them, and the statistics of rollouts.

A `Tree` has one owner and changes in place; everything that crosses its border is a frozen value.

Life of a node::

    proposed -> generated -> scored | unscored
             -> rejected (a guard refused the text) | failed (there is no text)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from orchestrator.search.ids import root_key


class Status(StrEnum):
    PROPOSED = "proposed"
    GENERATED = "generated"
    SCORED = "scored"
    UNSCORED = "unscored"
    REJECTED = "rejected"
    FAILED = "failed"


class Origin(StrEnum):
    """Why a node was proposed: it is the seed, a child of an expansion, or a step of a simulation."""

    SEED = "seed"
    EXPANSION = "expansion"
    SIMULATION = "simulation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction. `visits` and `value_sum` count the rollouts through it; its own `reward` is not among them."""

    key: str
    parent: str | None
    ordinal: int
    depth: int
    operator: str | None
    origin: Origin
    iteration: int
    status: Status
    reward: float | None = None
    visits: int = 0
    value_sum: float = 0.0


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


@dataclass(slots=True, kw_only=True)
class Tree:
    """The search tree of one seed. `in_flight` holds the keys whose proposal has gone out and not come back."""

    seed: int
    root: str
    nodes: dict[str, Node]
    children: dict[str, list[str]] = field(default_factory=dict)
    rollouts: list[Rollout] = field(default_factory=list)
    in_flight: set[str] = field(default_factory=set)

    def node(self, key: str) -> Node:
        return self.nodes[key]

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
        self.nodes[node.key] = node
        if node.parent is not None:
            self.children.setdefault(node.parent, []).append(node.key)


def plant(*, seed: int, ordinal: int) -> Tree:
    """A tree of one node: the seed instruction, which has its text and waits for its scores."""
    key = root_key(seed, ordinal)
    root = Node(
        key=key,
        parent=None,
        ordinal=0,
        depth=0,
        operator=None,
        origin=Origin.SEED,
        iteration=0,
        status=Status.GENERATED,
    )
    return Tree(seed=seed, root=key, nodes={key: root})


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
    tree.nodes[node.key] = replace(node, status=after, reward=reward)
    tree.in_flight.discard(node.key)
    return True


def release(tree: Tree, key: str) -> None:
    """Takes back a proposal that will not be carried out: a proposed node vanishes, a generated one waits again."""
    node = tree.nodes[key]
    tree.in_flight.discard(key)
    if node.status is Status.PROPOSED and node.parent is not None:
        del tree.nodes[key]
        tree.children[node.parent].remove(key)


def back_up(tree: Tree, leaf: str, *, terminal: bool) -> Rollout:
    """Adds the leaf's reward to every node on the path from it to the root, and keeps the rollout."""
    reward = tree.node(leaf).reward
    rollout = Rollout(ordinal=len(tree.rollouts), leaf=leaf, reward=reward, terminal=terminal)
    tree.rollouts.append(rollout)
    credit(tree, rollout)
    return rollout


def credit(tree: Tree, rollout: Rollout) -> None:
    """Adds one rollout to the statistics."""
    if rollout.reward is None:
        return
    for node in list(tree.path(rollout.leaf)):
        tree.nodes[node.key] = replace(node, visits=node.visits + 1, value_sum=node.value_sum + rollout.reward)


def is_unjudged(tree: Tree, node: Node) -> bool:
    """Whether nobody has been asked to score this node yet."""
    if node.status is Status.GENERATED:
        return node.key not in tree.in_flight
    return node.status is Status.PROPOSED
