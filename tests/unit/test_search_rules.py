"""Rules of selection: where the next litter is born."""

import math
from collections.abc import Callable

import pytest

from orchestrator.search import (
    Expand,
    Failed,
    Grown,
    Node,
    Outcome,
    Plan,
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
from orchestrator.search.choice import Rotate
from orchestrator.search.ids import draw
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.chains import EvolChains
from orchestrator.search.rules.front import PacedFront
from orchestrator.search.rules.gradient import GradientFront
from orchestrator.search.rules.greedy import Greedy
from orchestrator.search.rules.random_parent import RandomParent

Judge = Callable[[Node], Outcome]

EVERY = (
    *[PacedFront(), GradientFront(), GradientFront(tail=1.0), Beam(width=2), Greedy(), BestOfN(), RandomParent()],
    *[EvolChains(), EvolChains(eliminate=True)],
)


def policy(rule: Rule, *, budget: int = 24, max_depth: int = 4, siblings: int = 1, in_flight: int = 1) -> Stepwise:
    plan = Plan(operators=("a", "b"), budget=budget, max_depth=max_depth, siblings=siblings, in_flight=in_flight)
    return Stepwise(plan=plan, rule=rule, choice=Rotate())


def planted(score: float | None = 5.0) -> Tree:
    tree = plant(seed=7, ordinal=0)
    tell(tree, Unscored(key=tree.root) if score is None else Scored(key=tree.root, reward=score))
    return tree


def settle(tree: Tree, node: Node, judge: Judge) -> None:
    outcome = judge(node)
    if isinstance(outcome, Scored | Unscored):
        tell(tree, Grown(key=node.key))
    tell(tree, outcome)


def grow(options: Stepwise, judge: Judge, *, seed_score: float | None = 5.0) -> Tree:
    """One after another until the tree is spent."""
    tree = planted(seed_score)
    while children := issued_now(options, tree):
        for child in children:
            settle(tree, child, judge)
    assert options.is_spent(tree)
    return tree


def worth(node: Node) -> float:
    assert node.reward is not None
    return node.reward


def expansions(options: Stepwise, tree: Tree, most: int = 1000) -> list[Expand]:
    return [proposal for proposal in options.ask(tree, most).proposals if isinstance(proposal, Expand)]


def issued_now(options: Stepwise, tree: Tree) -> list[Node]:
    return [child for expand in expansions(options, tree) for child in expand.children]


def by_hash(node: Node) -> Outcome:
    """Two of ten come to nothing; scores in steps of a half, so that ties are common."""
    chance = draw(11, node.key)
    if chance < 0.2:
        return (Rejected, Failed, Unscored)[int(chance * 15)](key=node.key)
    return Scored(key=node.key, reward=round(2 * (3 + node.depth + 6 * draw(12, node.key))) / 2)


def rising(node: Node) -> Outcome:
    return Scored(key=node.key, reward=5.0 + node.depth)


def depths(tree: Tree) -> list[int]:
    return [tree.nodes[key].depth for key in tree.issued]


def least_used_of_the_best(tree: Tree, plan: Plan, rule: PacedFront) -> str:
    """policies.md, section 1, word for word, for the evolution that was issued last."""
    issued = tree.issued[:-1]
    known = [tree.nodes[tree.root], *(tree.nodes[key] for key in tree.committed)]
    scored = [node for node in known if node.reward is not None]
    per_level = plan.budget / plan.max_depth
    level = min(plan.max_depth - 1, math.floor(len(issued) / per_level))

    def inside() -> list[Node]:
        return [n for n in scored if (max(1, level - rule.below) if level else 0) <= n.depth <= level]

    while level and not inside():
        level -= 1

    def rewards(node: Node) -> list[float]:
        return [worth(child) for child in scored if child.parent == node.key]

    gains = [reward - worth(node) for node in scored if node.depth == level for reward in rewards(node)]
    gain = sum(gains) / len(gains) if gains else 0.0

    def value(node: Node) -> float:
        if not (scores := rewards(node)):
            return worth(node)
        f = len(scores) / (len(scores) + rule.kappa)
        return (1 - f) * worth(node) + f * (sum(scores) / len(scores) - gain)

    width = max(1, round(rule.wide * math.sqrt(per_level) * rule.narrowing ** max(0, level - 1)))
    best = sorted(inside(), key=lambda n: (-value(n), n.key))[:width]
    return min(best, key=lambda n: sum(child in issued for child in tree.children.get(n.key, ()))).key


@pytest.mark.parametrize(
    "rule", [PacedFront(below=0), PacedFront(), PacedFront(below=9), PacedFront(wide=2.5, kappa=0.5)]
)
@pytest.mark.parametrize("in_flight", [1, 5])
def test_the_front_grows_a_least_used_one_of_the_best(rule: PacedFront, in_flight: int) -> None:
    options = policy(rule, budget=150, in_flight=in_flight)
    tree, under_way = planted(), list[Node]()
    while len(tree.issued) < 150 or under_way:
        while len(under_way) < in_flight and len(tree.issued) < 150:
            (expand,) = expansions(options, tree, most=1)
            assert expand.parent == least_used_of_the_best(tree, options.plan, rule)
            under_way += expand.children
        place = int(draw(13, len(tree.issued), len(under_way)) * len(under_way))
        settle(tree, under_way.pop(place), by_hash)
    options.ask(tree)
    assert options.is_spent(tree)


def test_the_front_spends_the_same_on_every_depth() -> None:
    tree = grow(policy(PacedFront(below=0), budget=24, max_depth=4), rising)
    assert depths(tree) == [depth for depth in (1, 2, 3, 4) for _ in range(6)]
    uneven = grow(policy(PacedFront(below=0), budget=7, max_depth=3), rising)
    assert depths(uneven) == [1, 1, 1, 2, 2, 3, 3]


def test_work_under_way_spreads_over_the_best() -> None:
    options = policy(PacedFront(), budget=36, max_depth=4, in_flight=9)
    tree = planted()
    for node in issued_now(options, tree):
        settle(tree, node, rising)
    parents = [expand.parent for expand in expansions(options, tree)]
    assert sorted(map(parents.count, set(parents))) == [3, 3, 3]


def test_a_front_with_nothing_at_its_depth_goes_on_from_the_depth_above() -> None:
    tree = grow(policy(PacedFront(below=0), budget=20), lambda n: Rejected(key=n.key) if n.depth > 1 else rising(n))
    assert depths(tree) == [1] * 5 + [2] * 15
    nothing = grow(policy(PacedFront(), budget=8), lambda n: Failed(key=n.key))
    assert depths(nothing) == [1] * 8


@pytest.mark.parametrize("rule", EVERY)
def test_a_seed_without_a_score_is_evolved_all_the_same(rule: Rule) -> None:
    tree = grow(policy(rule, budget=12), rising, seed_score=None)
    assert len(tree.issued) == 12
    assert max(depths(tree)) <= 4


def test_a_lucky_parent_is_found_out_by_its_children() -> None:
    options = policy(PacedFront(below=0, wide=0.75), budget=16, max_depth=2)
    firsts = iter([9.0, 8.5, 8.0, 5.0, 5.0, 5.0, 5.0, 5.0])

    def judge(node: Node) -> Outcome:
        if node.depth == 1:
            return Scored(key=node.key, reward=next(firsts))
        parent = worth(tree.nodes[node.parent or tree.root])
        return Scored(key=node.key, reward=2.0 if parent == 9.0 else parent + 0.5)

    tree = planted()
    while children := issued_now(options, tree):
        for child in children:
            settle(tree, child, judge)
    lucky, good, third = tree.issued[:3]
    assert [len(tree.children[key]) for key in (lucky, good, third)] == [1, 4, 3]


def test_waves_walk_over_all_depths_again_and_again() -> None:
    tree = grow(policy(PacedFront(below=0, wave=8), budget=32), rising)
    assert depths(tree) == [d for d in (1, 2, 3, 4) for _ in range(2)] * 2 + [d for d in (1, 2, 3, 4) for _ in range(4)]


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        (PacedFront, {"below": -1}),
        (PacedFront, {"wide": 0.0}),
        (PacedFront, {"narrowing": 1.5}),
        (PacedFront, {"kappa": 0.0}),
        (PacedFront, {"wave": 0}),
        (PacedFront, {"wide": math.nan}),
        (GradientFront, {"below": -1}),
        (GradientFront, {"price": -0.1}),
        (GradientFront, {"tail": 1.1}),
        (GradientFront, {"fade": 0.0}),
        (GradientFront, {"keep": 0}),
        (Beam, {"width": 0}),
        (EvolChains, {"rounds": 0}),
    ],
)
def test_impossible_parameters_are_refused(rule: type, parameters: dict) -> None:
    with pytest.raises(ValueError, match="needs"):
        rule(**parameters)


def test_a_beam_gives_the_best_of_each_level_equally_many_children() -> None:
    tree = grow(policy(Beam(width=2), budget=24, max_depth=3), by_hash)
    assert depths(tree) == [1] * 8 + [2] * 8 + [3] * 8
    for depth in (1, 2):
        level = [n for n in tree.nodes.values() if n.depth == depth]
        parents = {n.key: len(tree.children[n.key]) for n in level if n.key in tree.children}
        ranked = sorted((n for n in level if n.reward is not None), key=lambda n: (-worth(n), n.key))
        assert parents == {n.key: 4 for n in ranked[:2]}


def test_a_beam_waits_until_a_level_is_complete() -> None:
    options = policy(Beam(width=2), budget=12, max_depth=3, in_flight=12)
    tree = planted()
    first = issued_now(options, tree)
    assert len(first) == 4
    for node in first[:3]:
        settle(tree, node, rising)
        assert expansions(options, tree) == []
    settle(tree, first[3], lambda node: Rejected(key=node.key))
    assert len(issued_now(options, tree)) == 4


def test_what_is_left_of_the_budget_begins_another_beam() -> None:
    tree = grow(policy(Beam(width=4), budget=31, max_depth=3), rising)
    assert depths(tree) == [1] * 8 + [2] * 8 + [3] * 8 + [1] * 7


def test_a_level_that_came_to_nothing_is_tried_again_from_above() -> None:
    tree = grow(
        policy(Beam(width=2), budget=16, max_depth=4), lambda n: Failed(key=n.key) if n.depth == 3 else rising(n)
    )
    assert depths(tree) == [1] * 4 + [2] * 4 + [3] * 8


def test_greed_follows_the_best_judged_node_that_may_have_children() -> None:
    scores = iter([4.0, 6.0, 5.0, 5.5, 7.0, 6.5, 9.0, 9.5])
    options = policy(Greedy(), budget=8, max_depth=3)
    tree = grow(options, lambda node: Scored(key=node.key, reward=next(scores)))
    nodes = [tree.nodes[key] for key in tree.issued]
    expected = [
        tree.root,
        tree.root,
        nodes[1].key,
        nodes[1].key,
        nodes[1].key,
        nodes[4].key,
        nodes[4].key,
        nodes[4].key,
    ]
    # 7.0 is at depth 2 and may have children, which at depth 3 may not.
    assert [node.parent for node in nodes] == expected


def test_best_of_n_makes_everything_of_the_seed() -> None:
    assert set(depths(grow(policy(BestOfN()), by_hash))) == {1}


def test_random_parents_are_all_tried() -> None:
    tree = grow(policy(RandomParent(), budget=400, max_depth=2), rising)
    uses = [len(tree.children.get(n.key, ())) for n in tree.nodes.values() if n.depth == 1]
    assert len(tree.children[tree.root]) > 20
    assert sum(use > 0 for use in uses) > len(uses) / 2


def chain_of(tree: Tree) -> list[tuple[int, str]]:
    return [(tree.nodes[key].depth, tree.nodes[key].status.value) for key in tree.issued]


def test_a_chain_goes_down_to_its_last_round_and_a_new_one_begins() -> None:
    assert depths(grow(policy(EvolChains(), budget=10), rising)) == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    assert depths(grow(policy(EvolChains(rounds=2), budget=5), rising)) == [1, 2, 1, 2, 1]


def test_a_lost_round_is_tried_again_from_the_same_parent_and_is_lost_to_the_chain() -> None:
    fates = iter([Scored, Rejected, Failed, Scored, Scored, Unscored, Scored, Scored])

    def judge(node: Node) -> Outcome:
        fate = next(fates)
        return Scored(key=node.key, reward=6.0) if fate is Scored else fate(key=node.key)

    tree = grow(policy(EvolChains(), budget=8), judge)
    first, second = tree.issued[0], tree.issued[4]
    assert [tree.nodes[key].parent for key in tree.issued[:7]] == [
        *[tree.root, first, first, first],
        *[tree.root, second, second],
    ]


def test_elimination_refuses_what_is_no_better_than_its_parent() -> None:
    scores = iter([6.0, 6.0, 7.0, 6.5, 6.0])
    tree = grow(policy(EvolChains(eliminate=True), budget=5), lambda n: Scored(key=n.key, reward=next(scores)))
    assert depths(tree) == [1, 2, 2, 3, 1]
    scores = iter([6.0, 6.0, 7.0, 6.5, 6.0])
    assert depths(grow(policy(EvolChains(), budget=5), lambda n: Scored(key=n.key, reward=next(scores)))) == [
        1,
        2,
        3,
        4,
        1,
    ]


def test_a_poor_parent_cannot_keep_a_chain() -> None:
    tree = grow(policy(EvolChains(), budget=40), lambda n: Rejected(key=n.key) if n.depth == 2 else rising(n))
    assert depths(tree) == [1, 2, 2, 2] * 10


def test_chains_run_side_by_side_and_the_oldest_goes_first() -> None:
    options = policy(EvolChains(), budget=12, in_flight=3)
    tree = planted()
    first = issued_now(options, tree)
    assert [n.parent for n in first] == [tree.root] * 3
    for node in (first[2], first[0]):
        settle(tree, node, rising)
    assert [expand.parent for expand in expansions(options, tree)] == [first[0].key, first[2].key]


def test_of_a_litter_the_best_goes_on() -> None:
    scores = iter([6.0, 8.0, 7.0, 6.0, 6.0, 6.0])
    tree = grow(policy(EvolChains(), budget=6, siblings=3), lambda n: Scored(key=n.key, reward=next(scores)))
    assert [tree.nodes[key].parent for key in tree.issued] == [tree.root] * 3 + [tree.issued[1]] * 3


@pytest.mark.parametrize("rule", EVERY)
def test_a_released_proposal_is_made_again(rule: Rule) -> None:
    options = policy(rule, budget=12)
    undisturbed = grow(options, by_hash)
    tree = planted()
    while children := issued_now(options, tree):
        for child in children:
            release(tree, child.key)
        for child in issued_now(options, tree):
            settle(tree, child, by_hash)
    assert tree.nodes == undisturbed.nodes


def test_rules_are_keys() -> None:
    assert len({*EVERY, *EVERY, PacedFront(below=0)}) == len(EVERY) + 1
