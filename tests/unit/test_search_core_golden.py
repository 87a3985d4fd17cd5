"""Golden trees: one of every policy, grown in order of issue by three workers, to be looked at whenever one changes.

    python -m tests.unit.test_search_core_golden

writes them anew.
"""

import json
from pathlib import Path

import pytest

from orchestrator.search import IdeaMcts, Plan, Policy, Rule, Stepwise
from orchestrator.search.choice import Thompson
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import GradientFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.rules.uct import TunedUct
from orchestrator.search.select import Uct
from orchestrator.search.snapshot import Snapshot, restore, snapshot
from tests.properties.search_world import LATENCIES, Fleet, World, grown

FOLDER = Path(__file__).parents[1] / "golden"
OPERATORS = ("concrete", "deepen", "rephrase")
RULES: dict[str, Rule] = {
    "uct": TunedUct(),
    "paced-front": PacedFront(),
    "gradient-front": GradientFront(),
    "beam": Beam(width=2),
    "greedy": Greedy(),
    "best-of-n": BestOfN(),
    "chains": EvolChains(eliminate=True),
    "random": RandomParent(),
}


def stepwise(rule: Rule) -> Stepwise:
    plan = Plan(operators=OPERATORS, budget=24, max_depth=4, window=3)
    return Stepwise(plan=plan, rule=rule, choice=Thompson(unit=10.0))


POLICIES: dict[str, Policy] = {
    "idea-mcts": IdeaMcts(
        operators=OPERATORS,
        uct=Uct(exploration=1.0, square_root=True, count_own_score=True, backup="mean", normalise=False),
        iterations=3,
        children=3,
        max_depth=3,
        stop_reward=10.0,
        distinct_operators=True,
        simulate_child="best",
        simulation_attempts=2,
    ),
    **{name: stepwise(rule) for name, rule in RULES.items()},
}


def grow(name: str) -> Snapshot:
    fleet = Fleet(world=World(seed=7, harshness=2), workers=3, latency=LATENCIES[1])
    return snapshot(grown(POLICIES[name], fleet))


def path(name: str) -> Path:
    return FOLDER / f"search-{name}.json"


def text(tree: Snapshot) -> str:
    """JSON with a line for each node and rollout."""

    def lines(value: object) -> str:
        if not isinstance(value, list):
            return json.dumps(value)
        return "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n]"

    return "{" + ",\n".join(f'"{key}": {lines(value)}' for key, value in tree.items()) + "}\n"


@pytest.mark.parametrize("name", POLICIES)
def test_a_tree_is_as_it_was_when_it_was_reviewed(name: str):
    golden = json.loads(path(name).read_text())
    assert grow(name) == golden
    assert snapshot(restore(golden)) == golden


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in POLICIES:
        path(each).write_text(text(grow(each)))
