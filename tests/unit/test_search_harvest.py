"""Harvest by estimate, what a score is worth beside its family; and the depth limit, learnt from a pilot's best."""

from collections.abc import Iterable
from random import Random
from statistics import mean

import pytest

from orchestrator.search import Grown, Node, Origin, Rejected, Scored, Tree, best, plant, tell
from orchestrator.search.harvest import estimates, top
from orchestrator.search.pilot import depth_limit
from orchestrator.search.tree import propose


def planted() -> Tree:
    tree = plant(seed=1, ordinal=0)
    tell(tree, Scored(key=tree.root, reward=5.0))
    return tree


def family(tree: Tree, parent: str, rewards: Iterable[float | None]) -> list[str]:
    """Children with these scores; one without was refused."""
    rewards = list(rewards)
    expand = propose(tree, tree.nodes[parent], ["a"] * len(rewards), iteration=0, origin=Origin.EXPANSION)
    for child, reward in zip(expand.children, rewards, strict=True):
        if reward is None:
            tell(tree, Rejected(key=child.key))
        else:
            tell(tree, Grown(key=child.key))
            tell(tree, Scored(key=child.key, reward=reward))
    return [child.key for child in expand.children]


def by_description(tree: Tree, noise: float, kappa: float) -> dict[str, float]:
    """policies.md, section 2, word for word."""
    scored = [n for n in tree.nodes.values() if n.parent is not None and n.reward is not None]

    def children(parent: str | None) -> list[float]:
        return [n.reward for n in scored if n.parent == parent and n.reward is not None]

    parents = {n.parent for n in scored}
    squares = sum(sum((x - mean(children(p))) ** 2 for x in children(p)) for p in parents)
    freedom = sum(len(children(p)) - 1 for p in parents)
    v = squares / freedom if freedom else 0.0
    tau2 = max(v - noise**2, 0.1 * v)
    u = tau2 / (tau2 + noise**2)

    def estimate(node: Node) -> float:
        level = mean(n.reward or 0.0 for n in scored if n.depth == node.depth)
        siblings = children(node.parent)
        return u * (node.reward or 0.0) + (1 - u) * (kappa * level + sum(siblings)) / (kappa + len(siblings))

    return {node.key: estimate(node) for node in scored}


def grown_at_random(seed: int) -> Tree:
    chance, tree = Random(seed), planted()
    parents = [tree.root]
    for _ in range(12):
        rewards = [None if chance.random() < 0.2 else chance.gauss(8, 2) for _ in range(chance.randint(1, 4))]
        children = family(tree, chance.choice(parents), rewards)
        parents += [key for key in children if tree.nodes[key].reward is not None]
    return tree


@pytest.mark.parametrize("seed", range(20))
def test_estimates_are_those_of_the_description(seed: int) -> None:
    tree = grown_at_random(seed)
    assert estimates(tree, 1.0, 2.0) == pytest.approx(by_description(tree, 1.0, 2.0))
    assert estimates(tree, 0.4) == pytest.approx(by_description(tree, 0.4, 1.5))


def test_without_noise_a_score_is_worth_itself() -> None:
    tree = grown_at_random(1)
    worth = estimates(tree, 0.0)
    assert worth == {n.key: n.reward for n in tree.nodes.values() if n.reward is not None and n.parent is not None}
    assert top(tree, 5, worth) == best(tree, 5)


def test_a_lucky_one_of_a_poor_family_stands_behind_a_good_one_of_a_good_family() -> None:
    tree = planted()
    poor = family(tree, tree.root, [4.0, 4.5, 3.5, 9.0])
    good = family(tree, poor[0], [8.5, 8.8, 8.0, 8.4])
    assert best(tree, 1)[0].key == poor[3]
    assert top(tree, 1, estimates(tree, 2.0))[0].key == good[1]


def test_who_was_judged_often_is_believed() -> None:
    tree = planted()
    keys = family(tree, tree.root, [4.0, 5.0, 6.0, 9.0])
    once = estimates(tree, 1.5)[keys[3]]
    often = estimates(tree, 1.5, judgements={keys[3]: 8}, scores={keys[3]: 9.0})[keys[3]]
    assert once < often < 9.0
    assert estimates(tree, 1.5, judgements={keys[3]: 8}, scores={keys[3]: 5.0})[keys[3]] < 6.0


def test_the_seed_and_what_has_no_score_are_not_harvested() -> None:
    tree = planted()
    keys = family(tree, tree.root, [None, 4.0, None, 4.0])
    assert set(estimates(tree, 1.0)) == {keys[1], keys[3]}
    assert [node.key for node in top(tree, 9, estimates(tree, 1.0))] == sorted([keys[1], keys[3]])
    assert top(tree, 9, {tree.root: 9.0, keys[1]: 1.0})[0].key == keys[1]
    assert estimates(planted(), 1.0) == {}


def test_families_of_one_are_drawn_towards_their_depth() -> None:
    """Nothing can be known of the spread within families, so all of a judged difference may be noise."""
    tree = planted()
    (first,) = family(tree, tree.root, [6.0])
    (second,) = family(tree, first, [8.0])
    assert estimates(tree, 1.0) == pytest.approx({first: 6.0, second: 8.0})
    assert estimates(tree, 0.0) == {first: 6.0, second: 8.0}


@pytest.mark.parametrize(
    ("noise", "kappa", "judgements"), [(-1.0, 1.5, {}), (1.0, -1.0, {}), (1.0, 1.5, {"x": 0}), (float("nan"), 1.5, {})]
)
def test_impossible_noise_is_refused(noise: float, kappa: float, judgements: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="noise >= 0"):
        estimates(planted(), noise, kappa, judgements)


def line(rewards: list[float]) -> Tree:
    """Four children at each depth, of the first one above."""
    tree = planted()
    parent = tree.root
    for reward in rewards:
        parent = family(tree, parent, [reward] * 4)[0]
    return tree


def test_where_every_depth_gains_the_limit_is_that_of_the_pilot() -> None:
    assert depth_limit([line([5, 6, 7, 8, 9, 10, 11, 12])] * 3) == 8


def test_where_depth_does_not_pay_the_limit_is_near_the_seed() -> None:
    """The best ten lie at depths 2, 3 and 1: a little below their median, whatever room there was."""
    shallow = line([7.0, 9.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0])
    assert depth_limit([shallow] * 4) == 3


def test_one_odd_tree_of_four_decides_nothing() -> None:
    saturating = line([6, 7, 8, 9, 9, 8, 7, 6])
    assert depth_limit([saturating] * 3 + [line([9, 8, 7, 6])]) == depth_limit([saturating] * 4) == 5


def test_a_pilot_without_scores_limits_nothing() -> None:
    tree = planted()
    family(tree, tree.root, [None, None])
    assert depth_limit([tree]) == 1
    assert depth_limit([planted()]) == depth_limit([]) == 1
