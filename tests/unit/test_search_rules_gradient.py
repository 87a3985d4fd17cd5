"""The gradient front: where the next litter is born while the front is paced, and at the end of the budget."""

import math
from statistics import NormalDist, mean

import pytest

from orchestrator.search import Node, Outcome, Plan, Scored, Tree
from orchestrator.search.ids import draw
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import GradientFront
from tests.unit.test_search_rules import by_hash, depths, expansions, grow, planted, policy, settle, worth


def worth_by_description(tree: Tree, plan: Plan, rule: GradientFront) -> dict[str, float]:
    """What speaks for each parent that may have had the evolution that was issued last."""
    issued = tree.issued[:-1]
    known = [tree.nodes[tree.root], *(tree.nodes[key] for key in tree.committed)]
    scored = [node for node in known if node.reward is not None]
    uses = {n.key: sum(child in issued for child in tree.children.get(n.key, ())) for n in scored}
    families = {n.key: [worth(child) for child in scored if child.parent == n.key] for n in scored}
    squares = sum((score - mean(family)) ** 2 for family in families.values() for score in family)
    freedom = sum(len(family) - 1 for family in families.values() if family)
    rewards = [worth(n) for n in scored]
    spread = math.sqrt(squares / freedom) if freedom else max(rewards) - min(rewards)

    def gains(nodes: list[Node]) -> list[float]:
        return [score - worth(n) for n in nodes for score in families[n.key]]

    def value(node: Node, gain: float) -> float:
        f = len(families[node.key]) / (len(families[node.key]) + rule.kappa)
        return (1 - f) * worth(node) + f * (mean(families[node.key] or [0.0]) - gain)

    if len(issued) >= (1 - rule.tail) * plan.budget and len(scored) > 1:
        least = sorted((worth(n) for n in scored[1:]), reverse=True)[: rule.keep][-1]
        overall = mean(gains(scored) or [0.0])

        def excess(node: Node) -> float:
            here = gains([n for n in scored if n.depth == node.depth])
            usual = (sum(here) + 2 * overall) / (len(here) + 2)
            z = (value(node, usual) + usual - least) / spread
            return (z * NormalDist().cdf(z) + NormalDist().pdf(z)) * rule.fade ** uses[node.key]

        return {node.key: excess(node) for node in scored if node.depth < plan.max_depth}
    level = min(plan.max_depth - 1, len(issued) * plan.max_depth // plan.budget)
    while not (inside := [n for n in scored if (max(1, level - rule.below) if level else 0) <= n.depth <= level]):
        level -= 1
    gain = mean(gains([n for n in scored if n.depth == level]) or [0.0])
    return {n.key: value(n, gain) - rule.price * spread * uses[n.key] for n in inside}


@pytest.mark.parametrize(
    "rule", [GradientFront(), GradientFront(below=0, price=1.0, tail=0.7, keep=3), GradientFront(tail=0.0)]
)
@pytest.mark.parametrize("in_flight", [1, 5])
def test_the_gradient_front_grows_what_is_worth_most(rule: GradientFront, in_flight: int) -> None:
    options = policy(rule, budget=120, in_flight=in_flight)
    tree, under_way = planted(), list[Node]()
    while len(tree.issued) < 120 or under_way:
        while len(under_way) < in_flight and len(tree.issued) < 120:
            (expand,) = expansions(options, tree, most=1)
            values = worth_by_description(tree, options.plan, rule)
            assert values[expand.parent] == pytest.approx(max(values.values()), abs=1e-7)
            under_way += expand.children
        place = int(draw(13, len(tree.issued), len(under_way)) * len(under_way))
        settle(tree, under_way.pop(place), by_hash)


def test_a_judge_that_always_says_the_same_does_not_narrow_the_gradient_front() -> None:
    rule = GradientFront(below=0)
    tree = grow(policy(rule, budget=60, max_depth=3), lambda node: Scored(key=node.key, reward=5.0))
    uses = [len(tree.children.get(n.key, ())) for n in tree.nodes.values() if n.depth in (1, 2)]
    assert max(uses) <= 2


def test_the_end_of_the_budget_goes_where_a_child_adds_most() -> None:
    """Depth does not pay after the second: the front would go on to the fourth all the same."""

    def judge(node: Node) -> Outcome:
        return Scored(key=node.key, reward=(0.0, 7.0, 9.0, 4.0, 3.0)[node.depth] + draw(3, node.key))

    paced, keen = (grow(policy(r, budget=40, max_depth=4), judge) for r in (PacedFront(), GradientFront()))
    assert min(depths(paced)[-10:]) == 3
    assert set(depths(keen)[-10:]) == {2}
