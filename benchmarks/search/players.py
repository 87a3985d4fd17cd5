"""Who competes: the product's policies and, where it is installed, TreeQuest."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.search.arena import Ask, Player
from benchmarks.search.landscapes import Point, World
from orchestrator.recipes import IdeaMctsSearch
from orchestrator.search import Choice, Expand, Grown, Plan, Policy, Rejected, Rule, Scored, Stepwise, plant, tell
from orchestrator.search.choice import Rotate, Thompson
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import GradientFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.rules.uct import Correction, TunedUct


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a player is told beforehand. `window`: commit in order of issue, so many steps behind; None: on arrival."""

    calls: int
    in_flight: int = 1
    window: int | None = None


def plan_of(world: World, terms: Terms) -> Plan:
    return Plan(
        operators=tuple(str(number) for number in range(world.operators)),
        budget=terms.calls,
        max_depth=world.depth_limit,
        in_flight=terms.in_flight,
        window=terms.window,
    )


class Product:
    """A policy of orchestrator/search on one tree: a call is one node, generated and judged.

    A litter that is larger than asked for goes out bit by bit. `points` of reward are given for a judged 1.0.
    """

    def __init__(self, world: World, policy: Policy, points: float = 1.0) -> None:
        self.policy, self.points_of_1 = policy, points
        self.waiting: deque[Ask] = deque()
        self.tree = plant(seed=world.root.key, ordinal=0)
        self.points = {self.tree.root: world.root}
        tell(self.tree, Scored(key=self.tree.root, reward=world.root.judged * points))

    def ask(self, most: int) -> Sequence[Ask]:
        if not self.waiting:
            for one in self.policy.ask(self.tree, most).proposals:
                if isinstance(one, Expand):
                    parent = self.points[one.parent]
                    self.waiting += [Ask(child.key, parent, int(child.operator or 0)) for child in one.children]
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def tell(self, ticket: object, point: Point) -> None:
        key = str(ticket)
        if point.duplicate:
            tell(self.tree, Rejected(key=key))
            return
        self.points[key] = point
        tell(self.tree, Grown(key=key))
        tell(self.tree, Scored(key=key, reward=point.judged * self.points_of_1))


class TreeQuest:
    """An algorithm of TreeQuest. It knows no depth limit: what it wants to make of a node at the limit, or of a
    duplicate, is made of the nearest node above from which something can be made."""

    def __init__(self, world: World, algorithm: Any) -> None:
        self.limit, self.algorithm = world.depth_limit, algorithm
        self.state = algorithm.init_tree()
        self.actions = [str(number) for number in range(world.operators)]
        self.root, self.above = world.root, dict[int, Point]()

    def ask(self, most: int) -> Sequence[Ask]:
        self.state, trials = self.algorithm.ask_batch(self.state, most, self.actions)
        asks = []
        for trial in trials:
            parent: Point = trial.parent_state or self.root
            while parent.duplicate or parent.depth >= self.limit:
                parent = self.above[parent.key]
            asks.append(Ask((trial.trial_id, parent), parent, int(trial.action)))
        return asks

    def tell(self, ticket: object, point: Point) -> None:
        assert isinstance(ticket, tuple)
        trial, self.above[point.key] = ticket
        self.state = self.algorithm.tell(self.state, trial, (point, point.judged))


Make = Callable[[World, Terms], Player]


def of_rule(rule: Rule, choice: Choice, world: World, terms: Terms) -> Player:
    return Product(world, Stepwise(plan=plan_of(world, terms), rule=rule, choice=choice))


def by_thompson(rule: Rule) -> Make:
    return partial(of_rule, rule, Thompson())


def by_turns(rule: Rule) -> Make:
    return partial(of_rule, rule, Rotate())


def plain_uct(exploration: float, correction: Correction = Correction.WU, loss: float = 1.0) -> Make:
    """On judged scores as they are, which policies.md and search.md measured."""
    return by_thompson(TunedUct(exploration=exploration, normalise=False, correction=correction, loss=loss))


def published(world: World, terms: Terms) -> Player:
    """IDEA-MCTS with the constants that the product gives it, on rewards of 0 to 10; its limit is one level on."""
    policy = IdeaMctsSearch(
        operators=plan_of(world, terms).operators,
        iterations=terms.calls,
        max_depth=world.depth_limit - 1,
        distinct_operators=False,
    )
    return Product(world, policy.policy(), points=10.0)


def of_treequest(name: str, world: World, terms: Terms) -> Player:
    """By name: it need not be installed."""
    options = {"samples_per_action": 3 if world.operators == 1 else 1} if name == "StandardMCTS" else {}
    return TreeQuest(world, getattr(import_module("treequest"), name)(**options))


DEFAULT = "gradient front"
FRONT = "paced front"
STRICT = "front, strict"
UCT_LOW, UCT = "UCT c .05", "UCT c .1"

PLAYERS: dict[str, Make] = {
    DEFAULT: by_thompson(GradientFront()),
    FRONT: by_thompson(PacedFront()),
    STRICT: by_thompson(PacedFront(below=0)),
    UCT_LOW: plain_uct(0.05),
    UCT: plain_uct(0.1),
    "idea-mcts": published,
    "UCT normalised": by_thompson(TunedUct()),
    "beam 4": by_thompson(Beam(width=4)),
    "beam 8": by_thompson(Beam(width=8)),
    "greedy": by_turns(Greedy()),
    "chains": by_turns(EvolChains()),
    "chains, elimination": by_turns(EvolChains(eliminate=True)),
    "random parent": by_turns(RandomParent()),
    "best of n": by_turns(BestOfN()),
}

CORRECTIONS: dict[str, Make] = {
    DEFAULT: PLAYERS[DEFAULT],
    FRONT: PLAYERS[FRONT],
    "WU": PLAYERS[UCT],
    "uncorrected": plain_uct(0.1, Correction.NONE),
    "widening only": plain_uct(0.1, Correction.WIDENING),
    "virtual loss 1": plain_uct(0.1, Correction.VIRTUAL_LOSS),
    "virtual loss 3": plain_uct(0.1, Correction.VIRTUAL_LOSS, loss=3.0),
}

TREEQUEST: dict[str, Make] = {
    "TreeQuest AB-MCTS-A": partial(of_treequest, "ABMCTSA"),
    "TreeQuest MCTS": partial(of_treequest, "StandardMCTS"),
}
# Those that do not know the budget: a shorter run is the beginning of a longer one.
ANYTIME = frozenset({*PLAYERS, *TREEQUEST} - {DEFAULT, FRONT, STRICT, "beam 4", "beam 8"})
HAS_TREEQUEST = find_spec("treequest") is not None
EVERYONE: dict[str, Make] = {**PLAYERS, **CORRECTIONS, **TREEQUEST}
