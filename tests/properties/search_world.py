"""Worlds that answer proposals, a simulated fleet that carries them out, and policies of every kind to try on them."""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from random import Random

from hypothesis import strategies as st

from orchestrator.search import (
    Choice,
    Expand,
    Failed,
    Grown,
    IdeaMcts,
    Outcome,
    Plan,
    Policy,
    Proposal,
    Rejected,
    Rule,
    Scored,
    Stepwise,
    Tree,
    Unscored,
    plant,
    release,
    tell,
)
from orchestrator.search.choice import Rotate, Thompson, Uniform
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import GradientFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.rules.uct import Correction, TunedUct
from orchestrator.search.select import Uct
from orchestrator.search.snapshot import restore, snapshot

# A line for each rule; every law is tried on all of them.
RULES: dict[str, st.SearchStrategy[Rule]] = {
    "uct": st.builds(
        TunedUct,
        exploration=st.sampled_from([0.0, 0.1, 1.5]),
        widening=st.sampled_from([0.5, 1.0, 2.0]),
        exponent=st.sampled_from([0.35, 0.5, 1.0]),
        normalise=st.booleans(),
        variance=st.booleans(),
        correction=st.sampled_from(Correction),
        loss=st.sampled_from([1.0, 3.0]),
    ),
    "paced-front": st.builds(
        PacedFront,
        below=st.integers(0, 2),
        wide=st.sampled_from([0.5, 1.0, 2.0]),
        wave=st.sampled_from([None, None, 4]),
    ),
    "gradient": st.builds(
        GradientFront,
        below=st.integers(0, 2),
        price=st.sampled_from([0.0, 0.3, 1.0]),
        tail=st.sampled_from([0.0, 0.4, 1.0]),
        keep=st.sampled_from([1, 20]),
    ),
    "beam": st.builds(Beam, width=st.integers(1, 4)),
    "greedy": st.just(Greedy()),
    "best-of-n": st.just(BestOfN()),
    "chains": st.builds(EvolChains, rounds=st.sampled_from([None, 1, 4]), eliminate=st.booleans()),
    "random": st.just(RandomParent()),
}
NAMES = ("idea-mcts", *RULES)

CHOICES: st.SearchStrategy[Choice] = st.sampled_from([Rotate(), Uniform(), Thompson(unit=8.0)])
PLANS = st.builds(
    Plan,
    operators=st.sampled_from([("a",), ("a", "b"), ("a", "b", "c", "d", "e")]),
    budget=st.integers(1, 28),
    max_depth=st.integers(1, 5),
    siblings=st.sampled_from([1, 1, 1, 2, 3]),
)
IDEA_MCTS = st.builds(
    IdeaMcts,
    operators=st.sampled_from([("a", "b"), ("a", "b", "c", "d", "e")]),
    uct=st.builds(
        Uct,
        exploration=st.sampled_from([0.1, 1.0]),
        square_root=st.booleans(),
        count_own_score=st.booleans(),
        backup=st.sampled_from(["mean", "max"]),
        normalise=st.booleans(),
    ),
    iterations=st.integers(1, 5),
    children=st.integers(1, 5),
    max_depth=st.integers(1, 4),
    stop_reward=st.sampled_from([4.0, 10.0, 1000.0]),
    distinct_operators=st.booleans(),
    simulate_child=st.sampled_from(["best", "random"]),
    simulation_attempts=st.integers(1, 3),
)

ORDERED = st.builds(lambda window: {"window": window}, st.integers(1, 18))
ARRIVAL = st.builds(lambda in_flight: {"window": None, "in_flight": in_flight}, st.integers(1, 12))
ONE_AT_A_TIME = st.just({"window": None, "in_flight": 1})
WORLDS = st.builds(
    lambda seed, harshness: World(seed=seed, harshness=harshness), st.integers(0, 2**32), st.sampled_from([0, 1, 6])
)
SEEDS = st.integers(0, 2**32)


@st.composite
def policies(
    draw: st.DrawFn, name: str, commits: st.SearchStrategy[dict], choices: st.SearchStrategy[Choice] = CHOICES
) -> Policy:
    """A policy of this name; `commits` says how what came is committed."""
    if name == "idea-mcts":
        return draw(IDEA_MCTS)
    plan = replace(draw(PLANS), **draw(commits))
    return Stepwise(plan=plan, rule=draw(RULES[name]), choice=draw(choices))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What becomes of a node is a function of its key. Of ten texts about `harshness` come to nothing."""

    seed: int
    harshness: int = 1
    fine: int = 8
    spread: int = 11
    scale: float = 1.0
    shift: float = 0.0

    def text(self, key: str) -> Outcome:
        roll = Random(f"{self.seed}/{key}/text").random() * 10
        if roll >= self.harshness:
            return Grown(key=key)
        return Rejected(key=key) if roll < self.harshness * 0.7 else Failed(key=key)

    def score(self, key: str) -> Outcome:
        """Rewards are whole multiples of 1 / `fine`, so that sums and affine changes are exact in binary."""
        dice = Random(f"{self.seed}/{key}/score")
        if dice.random() * 12 < self.harshness:
            return Unscored(key=key)
        grain = int(dice.random() * self.spread * self.fine)
        return Scored(key=key, reward=grain / self.fine * self.scale + self.shift)

    def answers(self, proposal: Proposal) -> list[Outcome]:
        if isinstance(proposal, Expand):
            return [self.text(child.key) for child in proposal.children]
        return [self.score(key) for key in proposal.nodes]

    def judged(self, key: str) -> float | None:
        outcome = self.score(key)
        return outcome.reward if isinstance(outcome, Scored) else None

    def reward(self, key: str) -> float | None:
        """What becomes of an evolution in the end."""
        return self.judged(key) if isinstance(self.text(key), Grown) else None


Latency = Callable[[Random], float]
LATENCIES: tuple[Latency, ...] = (
    lambda dice: 1.0,
    lambda dice: 0.3 + dice.expovariate(1.0),
    lambda dice: dice.lognormvariate(0.0, 2.0),
    lambda dice: float(dice.randrange(3)),
)


@dataclass(slots=True, kw_only=True)
class Fleet:
    """Workers on a simulated clock. What they find is told in the order in which they finish.

    doubled: everything is told again, at once and some of it once more later.
    shuffled: what came of one proposal is told in any order.
    cuts: at these moments the tree is written down, forgotten and read back; a moment is an ask or a telling.
    refused: share of proposals that are released, whole or in part, instead of being carried out.
    """

    world: World
    workers: int = 1
    latency: Latency = LATENCIES[0]
    chance: int = 0
    doubled: bool = False
    shuffled: bool = False
    cuts: Collection[int] = ()
    refused: float = 0.0
    proposed: int = 0
    released: int = 0
    moment: int = 0

    def grow(self, policy: Policy, tree: Tree) -> Tree:
        """The tree once it is spent."""
        return deque(self.moments(policy, tree), maxlen=1)[0]

    def moments(self, policy: Policy, tree: Tree) -> Iterator[Tree]:
        """The tree after each ask and each telling, until it is spent.

        Raises:
            AssertionError: it waits for ever.
        """
        dice, whim, clock, serial = Random(self.chance), Random(self.chance), 0.0, 0
        queue, running, old = deque[Proposal](), list[tuple[float, int, Proposal]](), list[Outcome]()
        while True:
            queue += self._received(policy.ask(tree).proposals)
            yield (tree := self._cut(tree))
            while queue and len(running) < self.workers:
                serial += 1
                if whim.random() >= self.refused or self._refuse(tree, queue[0], whim):
                    heappush(running, (clock + self.latency(dice), serial, queue[0]))
                queue.popleft()
            if running:
                clock, _, done = heappop(running)
                news = self._news(done, tree, whim)
                for outcome in [*news, *(news + old if self.doubled else [])]:
                    tell(tree, outcome)
                    yield (tree := self._cut(tree))
                old = [outcome for outcome in (*old, *news) if whim.random() < 0.5] if self.doubled else []
            elif not (more := self._received(policy.ask(tree).proposals)):
                # Asked once more, because a tree that was just read back must be asked before it knows.
                assert policy.is_spent(tree), "waits for nothing"
                return
            else:
                queue += more

    def _received(self, proposals: tuple[Proposal, ...]) -> tuple[Proposal, ...]:
        self.proposed += sum(len(one.children) for one in proposals if isinstance(one, Expand))
        return proposals

    def _news(self, done: Proposal, tree: Tree, whim: Random) -> list[Outcome]:
        news = [outcome for outcome in self.world.answers(done) if outcome.key in tree.in_flight]
        if self.shuffled:
            whim.shuffle(news)
        return news

    def _refuse(self, tree: Tree, proposal: Proposal, whim: Random) -> bool:
        """Releases all or some of a proposal. Returns whether any of it is left."""
        keys = [child.key for child in proposal.children] if isinstance(proposal, Expand) else list(proposal.nodes)
        gone = keys if whim.random() < 0.5 else [key for key in keys if whim.random() < 0.5]
        before = len(tree.nodes)
        for key in gone:
            release(tree, key)
        self.released += before - len(tree.nodes)
        return len(gone) < len(keys)

    def _cut(self, tree: Tree) -> Tree:
        self.moment += 1
        return restore(json.loads(json.dumps(snapshot(tree)))) if self.moment in self.cuts else tree


def grown(policy: Policy, fleet: Fleet, seed: int = 1) -> Tree:
    return fleet.grow(policy, plant(seed=seed, ordinal=0))


def canonical(tree: Tree) -> str:
    return json.dumps(snapshot(tree), sort_keys=True, separators=(",", ":"))
