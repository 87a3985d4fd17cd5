"""Operator choice: by which operators a litter is made."""

from collections import Counter
from collections.abc import Callable

import pytest

from orchestrator.search import (
    Choice,
    Expand,
    Failed,
    Grown,
    Node,
    Outcome,
    Plan,
    Rejected,
    Scored,
    Stepwise,
    Tree,
    Unscored,
    plant,
    tell,
)
from orchestrator.search.choice import Rotate, Thompson, Uniform
from orchestrator.search.ids import draw
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.random_parent import RandomParent
from orchestrator.search.stepwise import Rule

OPERATORS = ("a", "b", "c")


def policy(
    choice: Choice,
    *,
    rule: Rule | None = None,
    budget: int = 60,
    siblings: int = 1,
    in_flight: int = 1,
    operators: tuple[str, ...] = OPERATORS,
) -> Stepwise:
    plan = Plan(operators=operators, budget=budget, max_depth=6, siblings=siblings, in_flight=in_flight)
    return Stepwise(plan=plan, rule=rule or RandomParent(), choice=choice)


def grow(options: Stepwise, judge: Callable[[Node, float], Outcome], *, seed: int = 1) -> Tree:
    """Every child's fate depends on itself and on its parent's score."""
    tree = plant(seed=seed, ordinal=0)
    tell(tree, Scored(key=tree.root, reward=0.3))
    while proposals := [p for p in options.ask(tree).proposals if isinstance(p, Expand)]:
        for child in (child for proposal in proposals for child in proposal.children):
            outcome = judge(child, tree.nodes[child.parent or tree.root].reward or 0.0)
            if isinstance(outcome, Scored | Unscored):
                tell(tree, Grown(key=child.key))
            tell(tree, outcome)
    return tree


def used(tree: Tree) -> Counter[str | None]:
    return Counter(tree.nodes[key].operator for key in tree.issued)


def in_order(tree: Tree) -> list[str | None]:
    return [tree.nodes[key].operator for key in tree.issued]


def only_b_gains(node: Node, before: float) -> Outcome:
    return Scored(key=node.key, reward=before + (0.1 if node.operator == "b" else -0.1))


def test_what_gains_is_used_more() -> None:
    assert used(grow(policy(Thompson()), only_b_gains))["b"] > 35


def test_the_rule_has_a_scale() -> None:
    """On a scale of 3 to 18 the same gains are a hundred and fifty times as large, unless the rule is told."""

    def large(node: Node, before: float) -> Outcome:
        return Scored(key=node.key, reward=before + (1.5 if node.operator == "b" else -1.5))

    right = [used(grow(policy(Thompson(unit=15.0)), large, seed=seed))["b"] for seed in range(5)]
    small = [used(grow(policy(Thompson(unit=1.0)), only_b_gains, seed=seed))["b"] for seed in range(5)]
    assert right == small


def test_a_prior_counts_early_and_is_forgotten_with_evidence() -> None:
    """`c` is promised half of the scale, and `b` is what gains."""
    promised = Thompson(priors=(("c", 0.5),))
    orders = [in_order(grow(policy(promised, budget=120), only_b_gains, seed=seed)) for seed in range(5)]
    early = Counter(operator for order in orders for operator in order[:3])
    late = Counter(operator for order in orders for operator in order[-40:])
    assert early["c"] == 15
    assert late["b"] > 0.7 * late.total() > 10 * late["c"]


def test_a_prior_is_in_points_of_reward() -> None:
    """Twice the points a unit and twice the points of prior are the same choice."""

    def double(node: Node, before: float) -> Outcome:
        return Scored(key=node.key, reward=before + (0.25 if node.operator == "b" else -0.25))

    def single(node: Node, before: float) -> Outcome:
        return Scored(key=node.key, reward=before + (0.125 if node.operator == "b" else -0.125))

    one = in_order(grow(policy(Thompson(unit=1.0, priors=(("c", 0.25),)), rule=BestOfN()), single))
    two = in_order(grow(policy(Thompson(unit=2.0, priors=(("c", 0.5),)), rule=BestOfN()), double))
    assert one == two != in_order(grow(policy(Thompson(), rule=BestOfN()), single))


def test_priors_of_nothing_change_no_choice() -> None:
    plain = grow(policy(Thompson()), only_b_gains)
    for priors in ((), (("a", 0.0), ("b", 0.0)), (("unknown", 3.0),)):
        assert grow(policy(Thompson(priors=priors)), only_b_gains).issued == plain.issued


@pytest.mark.parametrize("fate", [Rejected, Failed])
def test_an_operator_whose_children_come_to_nothing_is_used_less(fate: type) -> None:
    def judge(node: Node, before: float) -> Outcome:
        return fate(key=node.key) if node.operator == "a" else Scored(key=node.key, reward=before)

    shares = used(grow(policy(Thompson()), judge))
    assert shares["a"] < 10 < min(shares["b"], shares["c"])


def test_a_child_that_could_not_be_scored_says_nothing_of_its_operator() -> None:
    def judge(node: Node, before: float) -> Outcome:
        return Unscored(key=node.key) if node.operator == "a" else Scored(key=node.key, reward=before)

    assert used(grow(policy(Thompson()), judge))["a"] > 10


def test_it_makes_no_difference_when_a_refusal_is_heard_of() -> None:
    """A tree that was stored and loaded again may have heard of refusals in another order."""

    def chosen(order: tuple[int, ...]) -> tuple[str, ...]:
        options = policy(Thompson(), budget=60, in_flight=6)
        tree = plant(seed=5, ordinal=0)
        tell(tree, Scored(key=tree.root, reward=0.3))
        children = [c for p in options.ask(tree).proposals if isinstance(p, Expand) for c in p.children]
        for place in order:
            child = children[place]
            if place % 2:
                tell(tree, Rejected(key=child.key))
            else:
                tell(tree, Grown(key=child.key))
                tell(tree, Scored(key=child.key, reward=0.1 * place))
            tree.commit(child.key)
        tree.arrived.clear()
        return options.choice.choose(tree, options.plan, tree.nodes[tree.root], 20)

    assert chosen((0, 1, 2, 3, 4, 5)) == chosen((5, 3, 1, 0, 2, 4)) == chosen((0, 2, 3, 1, 4, 5))


def test_operators_under_way_count_as_used() -> None:
    """Nothing is known yet, and all go out at once: nobody takes more than a fair share and some."""
    tree = plant(seed=3, ordinal=0)
    tell(tree, Scored(key=tree.root, reward=0.3))
    options = policy(Thompson(), rule=BestOfN(), in_flight=30)
    children = [c for p in options.ask(tree).proposals if isinstance(p, Expand) for c in p.children]
    shares = Counter(child.operator for child in children)
    assert len(children) == 30
    assert max(shares.values()) - min(shares.values()) <= 4


def test_a_litter_is_made_by_several_operators() -> None:
    tree = grow(policy(Rotate(), rule=BestOfN(), budget=6, siblings=3), only_b_gains)
    operators = [tree.nodes[key].operator for key in tree.issued]
    assert set(operators[:3]) == set(operators[3:]) == set(OPERATORS)
    litter = Thompson().choose(tree, policy(Thompson()).plan, tree.nodes[tree.root], 9)
    assert len(set(litter)) > 1


def test_rotation_takes_the_least_used_and_every_parent_has_its_own_order() -> None:
    tree = grow(policy(Rotate()), only_b_gains)
    for parent in tree.children:
        shares = Counter(child.operator for child in tree.children_of(parent))
        assert max(shares.values()) - min(shares.get(operator, 0) for operator in OPERATORS) <= 1
    assert {tree.children_of(parent)[0].operator for parent in tree.children} == set(OPERATORS)


def test_uniform_choice_uses_all_alike() -> None:
    shares = used(grow(policy(Uniform(), budget=300), only_b_gains))
    assert all(70 < shares[operator] < 130 for operator in OPERATORS)


@pytest.mark.parametrize("choice", [Thompson(), Rotate(), Uniform()])
def test_the_choice_is_the_same_for_the_same_seed_and_answers(choice: Choice) -> None:
    def judge(node: Node, before: float) -> Outcome:
        return Scored(key=node.key, reward=draw(9, node.key))

    assert grow(policy(choice), judge).nodes == grow(policy(choice), judge).nodes
    assert used(grow(policy(choice, operators=("only",)), judge)) == {"only": 60}


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan")])
def test_a_scale_without_size_is_refused(unit: float) -> None:
    with pytest.raises(ValueError, match="unit must be positive"):
        Thompson(unit=unit)
