"""What the search core itself costs: microseconds of processor time for one evolution, all its asks and tells.

One evolution is two asks and two tells: propose it, hear of its text, have it judged, hear of its score. A tree of n
nodes is grown with 8 in flight, committed in order of issue, five operators; measured is its second half. The sizes are
taken in turn within one run and the best of several rounds counts, so that a busy machine disturbs little.

Prints a table, then lines `gate NAME VALUE LIMIT ok|short`; exit 1 if one is short. Limits: 100 microseconds at the
largest size, and growth from the smallest to the largest no faster than the logarithm of the size.

    python benchmarks/core_cost.py [--sizes 100,1000,10000] [--rounds 5] [--only uct,paced-front]
"""

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import deque
from random import Random

from orchestrator.search import Choice, Expand, Grown, Plan, Proposal, Rule, Scored, Stepwise, plant, tell
from orchestrator.search.choice import Rotate, Thompson
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.rules.uct import TunedUct

MOST_US = 100.0
OPERATORS = ("concrete", "constrain", "deepen", "reason", "rephrase")
POLICIES: dict[str, tuple[Rule, Choice]] = {
    "uct": (TunedUct(), Thompson()),
    "uct-rotate": (TunedUct(), Rotate()),
    "paced-front": (PacedFront(), Thompson()),
    "paced-front-rotate": (PacedFront(), Rotate()),
    "beam": (Beam(), Rotate()),
    "greedy": (Greedy(), Rotate()),
    "best-of-n": (BestOfN(), Rotate()),
    "chains": (EvolChains(), Rotate()),
    "random": (RandomParent(), Rotate()),
}


def parse() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(POLICIES))
    return parser.parse_args()


def main() -> int:
    options = parse()
    sizes = [int(size) for size in options.sizes.split(",")]
    names = options.only.split(",")
    costs = {name: measured(*POLICIES[name], sizes, options.rounds) for name in names}
    print(f"{'microseconds per evolution':28}" + "".join(f"{size:>10,}" for size in sizes))
    for name, cost in costs.items():
        print(f"{name:28}" + "".join(f"{one:10.1f}" for one in cost))
    return report(costs, sizes)


def report(costs: dict[str, list[float]], sizes: list[int]) -> int:
    growth = math.log(sizes[-1]) / math.log(sizes[0])
    short = False
    for name, cost in costs.items():
        for gate, value, limit in (
            (f"core-cost-{name}-us", cost[-1], MOST_US),
            (f"core-cost-{name}-growth", cost[-1] / cost[0], growth),
        ):
            short |= value > limit
            print(f"gate {gate} {value:.2f} {limit:.2f} {'ok' if value <= limit else 'short'}")
    return int(short)


def measured(rule: Rule, choice: Choice, sizes: list[int], rounds: int) -> list[float]:
    """For each size the least time of an evolution, in microseconds. Small trees are grown more often."""
    best = [math.inf] * len(sizes)
    for _ in range(rounds):
        for place, size in enumerate(sizes):
            for _ in range(max(1, min(20, 4000 // size))):
                best[place] = min(best[place], grow(rule, choice, size))
    return [one * 1e6 for one in best]


def grow(rule: Rule, choice: Choice, size: int) -> float:
    """Seconds of processor time for each evolution of the second half of a tree."""
    plan = Plan(operators=OPERATORS, budget=size, max_depth=6, in_flight=8, window=8)
    policy, tree, dice = Stepwise(plan=plan, rule=rule, choice=choice), plant(seed=1, ordinal=0), Random(3)
    worth = {tree.root: 0.3}
    todo: deque[Proposal] = deque(policy.ask(tree).proposals)
    tell(tree, Scored(key=tree.root, reward=0.3))
    todo.clear()
    todo += policy.ask(tree).proposals
    begun = 0.0
    while todo:
        if not begun and len(tree.issued) >= size // 2:
            begun, at = time.process_time(), len(tree.issued)
        proposal = todo.popleft()
        if isinstance(proposal, Expand):
            (child,) = proposal.children
            truth, roll = worth[proposal.parent], dice.random()
            worth[child.key] = truth - roll / 2 if roll < 0.3 else truth + (0.97 - truth) * 0.5 * dice.random()
            tell(tree, Grown(key=child.key))
        else:
            (key,) = proposal.nodes
            noise = (dice.random() - 0.5) * 0.3
            tell(tree, Scored(key=key, reward=min(1.0, max(0.0, worth[key] + noise))))
        todo += policy.ask(tree).proposals
    return (time.process_time() - begun) / (size - at)


if __name__ == "__main__":
    sys.exit(main())
