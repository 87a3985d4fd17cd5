"""The policies straight from their descriptions, slow and short: what landscapes and product are checked by.

Every policy is `choose(tree) -> (parent, operator)`; `grow` runs one with any number in flight. Nothing here is shared
with orchestrator/search, on purpose.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.search.landscapes import HARVEST, Draws, Point, World, mixed


@dataclass(slots=True, eq=False)
class Node:
    """One issued call, or the root. `score` is None while in flight and for duplicates."""

    parent: "Node | None"
    operator: int
    ordinal: int
    depth: int
    number: int
    point: Point | None = None
    score: float | None = None
    children: list["Node"] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    pending: int = 0

    @property
    def alive(self) -> bool:
        return self.score is not None

    def scored(self) -> list["Node"]:
        return [child for child in self.children if child.score is not None]


class Tree:
    """A tree under growth and the counters that the rules need."""

    def __init__(self, world: World, budget: int) -> None:
        self.world, self.budget = world, budget
        root = Node(None, 0, 0, 0, 0, world.root, world.root.judged, visits=1, total=world.root.judged)
        self.root, self.nodes = root, [root]
        self.gains: list[list[float]] = [[] for _ in range(world.operators)]
        self.in_flight = [0] * world.operators

    @property
    def issued(self) -> int:
        return len(self.nodes) - 1

    def issue(self, parent: Node, operator: int) -> Node:
        ordinal = sum(child.operator == operator for child in parent.children)
        node = Node(parent, operator, ordinal, parent.depth + 1, len(self.nodes))
        parent.children.append(node)
        self.nodes.append(node)
        self.in_flight[operator] += 1
        for one in lineage(parent):
            one.pending += 1
        return node

    def land(self, node: Node) -> None:
        parent = node.parent
        assert parent and parent.point and parent.score is not None
        node.point = self.world.child(parent.point, node.operator, node.ordinal)
        self.in_flight[node.operator] -= 1
        for one in lineage(parent):
            one.pending -= 1
        if node.point.duplicate:
            self.gains[node.operator].append(-0.1)
            return
        node.score = node.point.judged
        self.gains[node.operator].append(max(-0.3, min(0.4, node.score - parent.score)))
        for one in lineage(node):
            one.visits += 1
            one.total += node.score

    def expandable(self) -> list[Node]:
        return [node for node in self.nodes if node.alive and node.depth < self.world.depth_limit]


def lineage(node: Node | None) -> Iterable[Node]:
    while node:
        yield node
        node = node.parent


Choose = Callable[[Tree], tuple[Node, int]]


def thompson(tree: Tree, parent: Node) -> int:
    """policies.md, section 1: a Gaussian draw for each operator's gain in this tree."""
    if tree.world.operators == 1:
        return 0
    every = [gain for gains in tree.gains for gain in gains]
    overall = sum(every) / len(every) if every else 0.0

    def drawn(k: int) -> float:
        gains, uses = tree.gains[k], sum(child.operator == k for child in parent.children)
        z = random.Random(mixed(parent.number, tree.issued, k, tree.world.root.key)).gauss(0.0, 1.0)
        mean = (sum(gains) + 2 * overall) / (len(gains) + 2)
        return mean + 0.12 * z / math.sqrt(len(gains) + tree.in_flight[k] + 2) - 0.04 * uses

    return max(range(tree.world.operators), key=drawn)


def rotated(tree: Tree) -> int:
    return tree.issued % tree.world.operators


def front(*, open_below: int, a: float = 1.0, r: float = 0.85, kappa: float = 1.5) -> Choose:
    """The paced front of policies.md, section 1; 0 levels open below the front is the strict one."""

    def choose(tree: Tree) -> tuple[Node, int]:
        limit = tree.world.depth_limit
        n = tree.budget / limit
        level = min(limit - 1, tree.issued * limit // tree.budget)
        while True:
            lowest = max(1, level - open_below) if level else 0
            some = [node for node in tree.nodes if node.alive and lowest <= node.depth <= level]
            if some or level == 0:
                break
            level -= 1
        gains = [
            child.score - node.score
            for node in tree.nodes
            if node.depth == level and node.score is not None
            for child in node.children
            if child.score is not None
        ]
        gain = sum(gains) / len(gains) if gains else 0.0

        def value(node: Node) -> float:
            scores = [child.score for child in node.children if child.score is not None]
            assert node.score is not None
            if not scores:
                return node.score
            weight = len(scores) / (len(scores) + kappa)
            return (1 - weight) * node.score + weight * (sum(scores) / len(scores) - gain)

        width = max(1, round(a * math.sqrt(n) * r ** max(0, level - 1)))
        best = sorted(some, key=lambda node: (-value(node), node.number))[:width]
        parent = min(best, key=lambda node: len(node.children))
        return parent, thompson(tree, parent)

    return choose


def uct(*, c: float, correction: str = "wu", exponent: float = 0.5) -> Choose:
    """Mean backup, widening `children < visits ** exponent`; the corrections of search.md, 4.2."""
    loss = {"loss1": 1, "loss3": 3}.get(correction, 0)

    def choose(tree: Tree) -> tuple[Node, int]:
        node, limit = tree.root, tree.world.depth_limit
        while True:
            some = [child for child in node.scored() if child.depth < limit]
            known = correction != "uncorrected"
            wide = sum(child.alive or (known and child.point is None) for child in node.children)
            visits = node.visits + (node.pending if correction == "wu" else 0)
            if not some or wide < visits**exponent:
                return node, thompson(tree, node)

            def bound(child: Node, parent: Node = node) -> float:
                extra = child.pending if correction == "wu" else 0
                every = parent.visits + (parent.pending if correction == "wu" else 0) + loss * parent.pending
                mean = child.total / (child.visits + loss * child.pending)
                return mean + c * math.sqrt(math.log(every) / (child.visits + extra + loss * child.pending))

            node = max(some, key=bound)

    return choose


def beam(*, width: int) -> Choose:
    """Level by level, equally many children (budget / depth limit / width, at least 1) for each of the `width` best.

    The root alone has a whole level's. What is left of the budget begins a beam of its own at the root.
    """

    def choose(tree: Tree) -> tuple[Node, int]:
        limit = tree.world.depth_limit
        per_level = max(1, int(tree.budget / limit / width)) * width
        turn, level = divmod(tree.issued // per_level, limit)
        begun = 1 + turn * limit * per_level
        rows: list[list[Node]] = [[tree.root]] + [[] for _ in range(limit)]
        for node in tree.nodes[begun:]:
            if node.alive:
                rows[node.depth].append(node)
        while not rows[level]:
            level -= 1
        best = sorted(rows[level], key=lambda node: (-(node.score or 0.0), node.number))[:width]
        parent = min(best, key=lambda node: sum(child.number >= begun for child in node.children))
        return parent, thompson(tree, parent)

    return choose


def chains(*, eliminate: bool) -> Choose:
    """As many rounds as there are depths, then a new chain. A round is lost if its child is a duplicate or eliminated,
    which is to be judged no better than its parent; the next one tries the parent again, unless that is the root."""

    def choose(tree: Tree) -> tuple[Node, int]:
        head, rounds = tree.root, 0
        for node in tree.nodes[1:]:
            rounds += 1
            if node.score is not None and not (eliminate and node.score <= (head.score or 0.0)):
                head = node
            if rounds == tree.world.depth_limit or head is tree.root:
                head, rounds = tree.root, 0
        return head, rotated(tree)

    return choose


def best_of_n(tree: Tree) -> tuple[Node, int]:
    return tree.root, rotated(tree)


def random_parent(tree: Tree) -> tuple[Node, int]:
    draw = random.Random(mixed(tree.world.root.key, tree.issued, 77))
    parent = draw.choice(tree.expandable())
    return parent, rotated(tree)


def greedy(tree: Tree) -> tuple[Node, int]:
    parent = max(tree.expandable(), key=lambda node: (node.score or 0.0, -node.number))
    return parent, rotated(tree)


def grow(world: World, choose: Choose, budget: int, *, in_flight: int = 1) -> Tree:
    """A tree of `budget` calls, landed in order of arrival (latency .3 + Exp(1))."""
    tree, clock, flying = Tree(world, budget), 0.0, list[tuple[float, int, Node]]()
    draws = Draws()
    draws.at(mixed(world.root.key, 99))
    while tree.issued < budget or flying:
        if tree.issued < budget and len(flying) < in_flight:
            node = tree.issue(*choose(tree))
            heapq.heappush(flying, (clock + 0.3 + draws.exponential(1.0), node.number, node))
        else:
            clock, _, node = heapq.heappop(flying)
            tree.land(node)
    return tree


def estimates(tree: Tree, nodes: list[Node], sigma: float, kappa: float = 1.5) -> dict[int, float]:
    """policies.md, section 2: what a score is worth, seen beside its family."""
    families = [scores for node in tree.nodes if (scores := [child.score or 0.0 for child in node.scored()])]
    spread = sum(sum((score - sum(one) / len(one)) ** 2 for score in one) for one in families)
    freedom = sum(len(one) - 1 for one in families)
    v = spread / freedom if freedom else 0.0
    tau2 = max(v - sigma**2, 0.1 * v)
    u = tau2 / (tau2 + sigma**2) if tau2 + sigma**2 else 1.0
    at_depth: dict[int, list[float]] = {}
    for node in nodes:
        at_depth.setdefault(node.depth, []).append(node.score or 0.0)
    found = {}
    for node in nodes:
        family = [sibling.score or 0.0 for sibling in (node.parent.scored() if node.parent else [node])]
        level = at_depth[node.depth]
        pull = (kappa * sum(level) / len(level) + sum(family)) / (kappa + len(family))
        found[node.number] = u * (node.score or 0.0) + (1 - u) * pull
    return found


SIGMA = {"E": 0.05, "D": 0.05, "N": 0.15, "O1": 0.071, "O2": 0.141, "S": 0.071, "H": 0.12, "G": 0.10, "X": 0.0}


def regret(tree: Tree, *, calls: int | None = None, sigma: float | None = None) -> float:
    """Of the harvest by judged score, or by estimate if a sigma is given; of the first `calls` calls if given."""
    nodes = [node for node in tree.nodes[1:] if node.alive and (calls is None or node.number <= calls)]
    key = {node.number: node.score or 0.0 for node in nodes}
    if sigma is not None:
        key = estimates(tree, nodes, sigma)
    nodes.sort(key=lambda node: (-key[node.number], node.number))
    top = [node.point.true for node in nodes[:HARVEST] if node.point]
    return tree.world.optimum - sum(top) / len(top) if top else tree.world.optimum - tree.world.root.true
