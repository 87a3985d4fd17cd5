"""The searches once more, as naively as they can be written: the oracle for the core at one evolution at a time.

Nothing is remembered, everything is counted anew from the nodes. Shared with the core are the names of nodes and the
draws of chance (`ids`), for without these no two programs could grow the same tree.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator.search import IdeaMcts, Stepwise
from orchestrator.search.ids import child_key, draw, root_key, sample
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import LEAST, GradientFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.rules.uct import TunedUct
from orchestrator.search.select import Uct


@dataclass(eq=False, slots=True, kw_only=True)
class Herb:
    """A node. `round` numbers the litters."""

    key: str
    parent: "Herb | None" = None
    operator: str = ""
    round: int = -1
    reward: float | None = None
    simulated: bool = False
    children: list["Herb"] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return self.parent.depth + 1 if self.parent else 0

    @property
    def score(self) -> float:
        assert self.reward is not None
        return self.reward

    @property
    def scored(self) -> list["Herb"]:
        return [child for child in self.children if child.reward is not None]

    def below(self) -> Iterator["Herb"]:
        yield self
        for child in self.children:
            yield from child.below()


@dataclass(slots=True, kw_only=True)
class Garden:
    """A tree: `judged` is what a text is worth, by its key; `reward` what becomes of an evolution, text or none."""

    seed: int
    judged: Callable[[str], float | None]
    reward: Callable[[str], float | None]
    herbs: list[Herb] = field(default_factory=list)

    def __post_init__(self) -> None:
        key = root_key(self.seed, 0)
        self.herbs.append(Herb(key=key, reward=self.judged(key)))

    @property
    def root(self) -> Herb:
        return self.herbs[0]

    @property
    def evolved(self) -> list[Herb]:
        return self.herbs[1:]

    def scored(self) -> list[Herb]:
        return [herb for herb in self.herbs if herb.reward is not None]

    def parents(self, max_depth: int) -> list[Herb]:
        """All that may have children; the seed may, whatever its score."""
        return [
            herb for herb in self.herbs if herb is self.root or (herb.reward is not None and herb.depth < max_depth)
        ]

    def sow(self, parent: Herb, operators: list[str], number: int, *, simulated: bool = False) -> list[Herb]:
        litter = []
        for operator in operators:
            key = child_key(parent.key, operator, len(parent.children))
            herb = Herb(key=key, parent=parent, operator=operator, round=number, simulated=simulated)
            herb.reward = self.reward(key)
            parent.children.append(herb)
            litter.append(herb)
        self.herbs += litter
        return litter


def grow_stepwise(policy: Stepwise, garden: Garden) -> Garden:
    """One litter after another, each known before the next; operators in turn."""
    plan, number = policy.plan, 0
    while (rest := plan.budget - len(garden.evolved)) > 0:
        parent = CHOOSE[type(policy.rule)](policy, garden)
        order = sorted(plan.operators, key=lambda one: (draw(garden.seed, parent.key, "turn", one), one))
        operators: list[str] = []
        for _ in range(min(plan.siblings, rest)):
            used = [child.operator for child in parent.children] + operators
            operators.append(min(order, key=used.count))
        garden.sow(parent, operators, number)
        number += 1
    return garden


def uct(policy: Stepwise, garden: Garden) -> Herb:
    """search.md, 4: descend by UCB on normalised means, widen while there are fewer children than k N^e."""
    rule, plan = policy.rule, policy.plan
    assert isinstance(rule, TunedUct)
    rewards = [herb.score for herb in garden.scored()] if rule.normalise else [0.0, 1.0]
    low, high = min(rewards, default=0.0), max(rewards, default=0.0)
    span = (high - low) or 1.0

    def bound(child: Herb, visits: float) -> float:
        below = [herb.score for herb in child.below() if herb.reward is not None]
        n = len(below)
        spread = math.log(visits) / n
        if rule.variance:
            mean = sum(below) / n
            variance = max(0.0, sum(one * one for one in below) / n - mean * mean) / (span * span)
            spread *= min(0.25, variance + math.sqrt(2 * spread))
        return (sum(below) - low * n) / (span * n) + rule.exploration * math.sqrt(spread)

    def visits(herb: Herb) -> int:
        return sum(one.reward is not None for one in herb.below())

    def able(herb: Herb) -> list[Herb]:
        return [child for child in herb.scored if child.depth < plan.max_depth and not barren(child)]

    def barren(herb: Herb) -> bool:
        return not able(herb) and len(herb.children) - len(herb.scored) > visits(herb)

    def descend(herb: Herb) -> Herb:
        children, n = able(herb), visits(herb)
        if not children or len(herb.children) < rule.widening * n**rule.exponent:
            return herb
        return descend(min(children, key=lambda child: (-bound(child, n), child.key)))

    return descend(garden.root)


def front(policy: Stepwise, garden: Garden) -> Herb:
    """The pseudo-code of policies.md, section 1."""
    rule, plan, issued = policy.rule, policy.plan, len(garden.evolved)
    assert isinstance(rule, PacedFront)
    begun, total = 0, plan.budget
    if rule.wave is not None:
        total = rule.wave
        while issued >= total:
            begun, total = total, total * 2
    level = min(plan.max_depth - 1, (issued - begun) * plan.max_depth // (total - begun))

    def eligible() -> list[Herb]:
        if level == 0:
            return [garden.root]
        return [herb for herb in garden.scored() if max(1, level - rule.below) <= herb.depth <= level]

    while not (some := eligible()):
        level -= 1
    gains = [child.score - herb.score for herb in garden.scored() if herb.depth == level for child in herb.scored]
    gain = sum(gains) / len(gains) if gains else 0.0

    def value(herb: Herb) -> float:
        scores = [child.score for child in herb.scored]
        if not scores:
            return herb.reward or 0.0
        trust = len(scores) / (len(scores) + rule.kappa)
        return (1 - trust) * (herb.reward or 0.0) + trust * (sum(scores) / len(scores) - gain)

    width = max(1, round(rule.wide * math.sqrt(total / plan.max_depth) * rule.narrowing ** max(0, level - 1)))
    best = sorted(some, key=lambda herb: (-value(herb), herb.key))[:width]
    return min(best, key=lambda herb: len(herb.children))


def gradient(policy: Stepwise, garden: Garden) -> Herb:
    """The front with a price on each child; at the end, the largest mean excess over the least of the harvest."""
    rule, plan, issued = policy.rule, policy.plan, len(garden.evolved)
    assert isinstance(rule, GradientFront)
    scored = garden.scored()
    families = [[child.score for child in herb.scored] for herb in scored if herb.scored]
    freedom = sum(len(family) - 1 for family in families)
    squares = sum((score - sum(family) / len(family)) ** 2 for family in families for score in family)
    scores = [herb.score for herb in scored] or [0.0]
    spread = max(LEAST, math.sqrt(squares / freedom) if freedom else max(scores) - min(scores))

    def gains(herbs: list[Herb]) -> list[float]:
        return [child.score - herb.score for herb in herbs for child in herb.scored]

    def value(herb: Herb, gain: float) -> float:
        if not herb.scored:
            return herb.score
        trust = len(herb.scored) / (len(herb.scored) + rule.kappa)
        return (1 - trust) * herb.score + trust * (sum(child.score for child in herb.scored) / len(herb.scored) - gain)

    harvest = sorted((herb.score for herb in garden.evolved if herb.reward is not None), reverse=True)[: rule.keep]
    if issued >= (1 - rule.tail) * plan.budget and harvest:
        every = gains(scored)
        overall = sum(every) / len(every) if every else 0.0

        def promise(herb: Herb) -> tuple[float, float, int, str]:
            here = gains([other for other in scored if other.depth == herb.depth])
            usual = (sum(here) + 2 * overall) / (len(here) + 2)
            mean = value(herb, usual) + usual
            z = (mean - harvest[-1]) / spread
            excess = spread * (z * math.erfc(-z / math.sqrt(2)) / 2 + math.exp(-z * z / 2) / math.sqrt(2 * math.pi))
            return -excess * rule.fade ** len(herb.children), -mean, len(herb.children), herb.key

        return min((herb for herb in scored if herb.depth < plan.max_depth), key=promise, default=garden.root)
    level = min(plan.max_depth - 1, issued * plan.max_depth // plan.budget)
    while level and not [herb for herb in scored if max(1, level - rule.below) <= herb.depth <= level]:
        level -= 1
    if not level:
        return garden.root
    some = [herb for herb in scored if max(1, level - rule.below) <= herb.depth <= level]
    here = gains([herb for herb in scored if herb.depth == level])
    gain = sum(here) / len(here) if here else 0.0

    def dear(herb: Herb) -> tuple[float, int, str]:
        return rule.price * spread * len(herb.children) - value(herb, gain), len(herb.children), herb.key

    return min(some, key=dear)


def beam(policy: Stepwise, garden: Garden) -> Herb:
    """Level by level, the children of a level spread evenly over its best; what is left begins a new beam."""
    rule, plan, issued = policy.rule, policy.plan, len(garden.evolved)
    assert isinstance(rule, Beam)
    per_level = max(1, plan.budget // plan.max_depth // rule.width) * rule.width
    mine = garden.evolved[issued - issued % (per_level * plan.max_depth) :]
    level = issued % (per_level * plan.max_depth) // per_level
    while level and not any(herb.depth == level and herb.reward is not None for herb in mine):
        level -= 1
    if not level:
        return garden.root
    row = [herb for herb in mine if herb.depth == level and herb.reward is not None]
    best = sorted(row, key=lambda herb: (-herb.score, herb.key))[: rule.width]
    return min(best, key=lambda herb: sum(child in mine for child in herb.children))


def chains(policy: Stepwise, garden: Garden) -> Herb:
    """A chain after the other: the best survivor of a round goes on; if none survives, its parent is tried again."""
    rule, plan = policy.rule, policy.plan
    assert isinstance(rule, EvolChains)
    head, rounds = garden.root, 0
    for number in sorted({herb.round for herb in garden.evolved}):
        litter = [herb for herb in garden.evolved if herb.round == number]
        parent = litter[0].parent
        assert parent is not None
        rounds = 1 if parent is garden.root else rounds + 1
        floor = -math.inf if not rule.eliminate or parent.reward is None else parent.reward
        alive = [herb for herb in litter if herb.reward is not None and herb.reward > floor]
        head = min(alive, key=lambda herb: (-herb.score, herb.key)) if alive else parent
        if head.depth >= plan.max_depth or rounds >= (rule.rounds or plan.max_depth):
            head = garden.root
    return head


def greedy(policy: Stepwise, garden: Garden) -> Herb:
    some = [herb for herb in garden.parents(policy.plan.max_depth) if herb.reward is not None]
    return min(some, key=lambda herb: (-herb.score, herb.key)) if some else garden.root


def any_parent(policy: Stepwise, garden: Garden) -> Herb:
    root, *others = garden.parents(policy.plan.max_depth)
    some = [*others, root]
    return some[int(draw(garden.seed, root.key, "parent", len(garden.evolved)) * len(some))]


CHOOSE: dict[type, Callable[[Stepwise, Garden], Herb]] = {
    TunedUct: uct,
    PacedFront: front,
    GradientFront: gradient,
    Beam: beam,
    EvolChains: chains,
    Greedy: greedy,
    BestOfN: lambda policy, garden: garden.root,
    RandomParent: any_parent,
}


def grow_idea(options: IdeaMcts, garden: Garden) -> Garden:
    """papers.md, 1: select, expand, evaluate, simulate, back up."""
    leaves = list[Herb]()
    for number in range(options.iterations):
        leaf = select(garden.root, options, garden, leaves)
        if not is_terminal(leaf, options):
            alive = [herb for herb in expand(leaf, number, options, garden) if herb.reward is not None]
            if alive and options.simulate_child == "random":
                leaf = simulate(sample(alive, 1, garden.seed, leaf.key, "simulate", number)[0], number, options, garden)
            elif alive:
                leaf = simulate(min(alive, key=lambda herb: (-herb.score, herb.key)), number, options, garden)
        leaves.append(leaf)
    return garden


def select(herb: Herb, options: IdeaMcts, garden: Garden, leaves: list[Herb]) -> Herb:
    able = [child for child in herb.scored if not child.simulated]
    if not able:
        return herb
    best = min(able, key=lambda child: (-paper_uct(child, options.uct, garden, leaves), child.key))
    return select(best, options, garden, leaves)


def paper_uct(herb: Herb, uct: Uct, garden: Garden, leaves: list[Herb]) -> float:
    def through(herb: Herb) -> list[float]:
        own = [herb.score] if uct.count_own_score and herb.reward is not None else []
        inside = {one.key for one in herb.below()}
        return [leaf.score for leaf in leaves if leaf.key in inside and leaf.reward is not None] + own

    if not (rewards := through(herb)):
        return math.inf
    value = max(rewards) if uct.backup == "max" else sum(rewards) / len(rewards)
    if uct.normalise:
        every = [one.score for one in garden.scored()]
        low, high = min(every), max(every)
        value = (value - low) / (high - low) if high > low else 0.5
    assert herb.parent is not None
    ratio = math.log(max(1, len(through(herb.parent)))) / len(rewards)
    return value + uct.exploration * (math.sqrt(ratio) if uct.square_root else ratio)


def is_terminal(herb: Herb, options: IdeaMcts) -> bool:
    return bool(herb.parent) and (herb.depth > options.max_depth or herb.score > options.stop_reward)


def expand(leaf: Herb, number: int, options: IdeaMcts, garden: Garden) -> list[Herb]:
    start, count = len(leaf.children), options.children
    operators = sample(options.operators, count, garden.seed, leaf.key, "expand", start)
    if not options.distinct_operators:
        chances = [draw(garden.seed, leaf.key, "expand", start, i) for i in range(count)]
        operators = [options.operators[int(chance * len(options.operators))] for chance in chances]
    return garden.sow(leaf, operators, number)


def simulate(head: Herb, number: int, options: IdeaMcts, garden: Garden) -> Herb:
    """Where evolving on from here ends: at a terminal node, or where nothing comes of it."""
    used: set[str] = set()
    for _ in range(0 if is_terminal(head, options) else options.simulation_attempts):
        fresh = [one for one in options.operators if one not in used] or options.operators
        (operator,) = sample(fresh, 1, garden.seed, head.key, "simulation", len(head.children))
        used.add(operator)
        (child,) = garden.sow(head, [operator], number, simulated=True)
        if child.reward is not None:
            return simulate(child, number, options, garden)
    return head
