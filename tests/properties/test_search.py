"""The nine laws of the search core (search.md, 5.4), for all policies, seeds, answers, latencies and orders of arrival.

HYPOTHESIS_EXAMPLES=1000 pytest tests/properties/test_search.py

tries each law 1,000 times on each policy; without the variable it is a few times.
"""

import json
import math
import os
from collections import Counter
from dataclasses import dataclass, replace
from itertools import zip_longest

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.search import IdeaMcts, Node, Plan, Policy, Rule, Stepwise, Tree, best, plant
from orchestrator.search.choice import Rotate, Uniform
from orchestrator.search.rules.uct import Correction, TunedUct
from orchestrator.search.select import uct_score
from orchestrator.search.snapshot import restore, snapshot
from tests.properties.search_world import (
    ARRIVAL,
    LATENCIES,
    NAMES,
    ONE_AT_A_TIME,
    ORDERED,
    RULES,
    SEEDS,
    WORLDS,
    Fleet,
    Latency,
    World,
    canonical,
    grown,
    policies,
)
from tests.unit.naive_search import Garden, grow_idea, grow_stepwise

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "20"))
WORKERS = (1, 3, 8, 16)
CHANCES = st.integers(0, 2**32)

law = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
of_every_policy = pytest.mark.parametrize("name", NAMES)
of_every_rule = pytest.mark.parametrize("name", RULES)
either_way = st.one_of(ORDERED, ARRIVAL)
some_latency = st.sampled_from(LATENCIES)


# 1


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, seed=SEEDS)
def test_one_at_a_time_it_is_the_naive_search(name: str, data: st.DataObject, world: World, seed: int) -> None:
    policy = data.draw(policies(name, ONE_AT_A_TIME, st.just(Rotate())))
    tree = grown(policy, Fleet(world=world), seed)
    garden = Garden(seed=seed, judged=world.judged, reward=world.reward)
    if isinstance(policy, IdeaMcts):
        grow_idea(policy, garden)
    else:
        assert isinstance(policy, Stepwise)
        grow_stepwise(policy, garden)
    assert [(key, tree.node(key).reward) for key in tree.issued] == [(herb.key, herb.reward) for herb in garden.evolved]


# 2


@of_every_rule
@law
@given(data=st.data(), world=WORLDS)
def test_one_at_a_time_both_ways_to_commit_and_all_corrections_agree(
    name: str, data: st.DataObject, world: World
) -> None:
    policy = data.draw(policies(name, ONE_AT_A_TIME))
    assert isinstance(policy, Stepwise)
    rules = [policy.rule]
    if isinstance(policy.rule, TunedUct):
        rules = [replace(policy.rule, correction=correction) for correction in Correction]
    plans = [policy.plan, replace(policy.plan, window=1)]
    trees = [
        canonical(grown(replace(policy, plan=plan, rule=rule), Fleet(world=world))) for plan in plans for rule in rules
    ]
    assert len(set(trees)) == 1


# 3


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES)
def test_committed_in_order_a_tree_is_the_same_for_any_workers_and_latencies(
    name: str, data: st.DataObject, world: World, chance: int
) -> None:
    policy = data.draw(policies(name, ORDERED))
    fleets = [
        Fleet(world=world, workers=workers, latency=latency, chance=chance + workers, shuffled=True)
        for workers, latency in zip(WORKERS, data.draw(st.permutations(LATENCIES)), strict=True)
    ]
    assert len({canonical(grown(policy, fleet)) for fleet in fleets}) == 1


# 4


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES, latency=some_latency)
def test_visits_evolutions_and_what_is_under_way_add_up(
    name: str, data: st.DataObject, world: World, chance: int, latency: Latency
) -> None:
    policy = data.draw(policies(name, either_way))
    fleet = Fleet(world=world, workers=4, latency=latency, chance=chance, refused=data.draw(st.sampled_from([0, 0.3])))
    for tree in fleet.moments(policy, plant(seed=1, ordinal=0)):
        check_sums(tree)
        assert fleet.proposed == len(tree.issued) + fleet.released
        assert len(set(tree.issued)) == len(tree.issued) == len(tree.nodes) - 1
    assert not tree.open
    assert not tree.in_flight
    if isinstance(policy, Stepwise):
        assert sorted(tree.committed) == sorted(tree.issued)
        assert not any(tally.pending for tally in tree.tallies.values())
        assert len(tree.issued) == policy.plan.budget
    if isinstance(policy, IdeaMcts):
        assert len(tree.rollouts) == policy.iterations


def check_sums(tree: Tree) -> None:
    rolled: dict[str, list[float]] = {key: [] for key in tree.nodes}
    for rollout in tree.rollouts:
        rolled[rollout.leaf] += [] if rollout.reward is None else [rollout.reward]
    committed = set(tree.committed)
    for key, tally in tree.tallies.items():
        children = tree.children.get(key, ())
        own, below = rolled[key], [tree.tallies[child] for child in children]
        assert tally.visits == len(own) + sum(one.visits for one in below)
        assert tally.value_sum == sum(own) + sum(one.value_sum for one in below)
        assert tally.squares == sum(one * one for one in own) + sum(one.squares for one in below)
        assert tally.best == max([*own, *(one.best for one in below)], default=-math.inf)
        assert tally.pending == sum((child not in committed) + tree.tally(child).pending for child in children)
        ordinals = [child.ordinal for child in tree.children_of(key)]
        assert ordinals == sorted(set(ordinals))
    assert tree.in_flight <= tree.open
    assert tree.open == {node.key for node in tree.nodes.values() if not node.is_settled}


# 5


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES, latency=some_latency)
def test_doubled_delayed_and_shuffled_news_change_nothing(
    name: str, data: st.DataObject, world: World, chance: int, latency: Latency
) -> None:
    policy = data.draw(policies(name, either_way))
    plain = Fleet(world=world, workers=5, latency=latency, chance=chance)
    disturbed = replace(plain, doubled=True, shuffled=True)
    assert canonical(grown(policy, disturbed)) == canonical(grown(policy, plain))


# 6


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES, latency=some_latency, cuts=st.sets(st.integers(1, 90), max_size=5))
def test_cut_anywhere_and_read_back_a_tree_grows_on_as_if_uncut(
    name: str, data: st.DataObject, world: World, chance: int, latency: Latency, cuts: set[int]
) -> None:
    policy = data.draw(policies(name, either_way))
    plain = Fleet(world=world, workers=data.draw(st.sampled_from(WORKERS)), latency=latency, chance=chance)
    assert canonical(grown(policy, replace(plain, cuts=cuts))) == canonical(grown(policy, plain))


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES)
def test_written_down_and_read_back_a_tree_is_the_same(
    name: str, data: st.DataObject, world: World, chance: int
) -> None:
    policy = data.draw(policies(name, either_way))
    for tree in Fleet(world=world, workers=4, latency=LATENCIES[1], chance=chance).moments(
        policy, plant(seed=1, ordinal=0)
    ):
        again = restore(json.loads(canonical(tree)))
        assert canonical(again) == canonical(tree)
        assert (again.open, again.in_flight, again.issued) == (tree.open, tree.in_flight, tree.issued)
        assert {key: sorted(ripe) for key, ripe in again.ripe.items()} == {
            key: sorted(ripe) for key, ripe in tree.ripe.items()
        }


# 7


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES, latency=some_latency)
def test_no_limit_is_ever_exceeded_by_what_is_under_way_either(
    name: str, data: st.DataObject, world: World, chance: int, latency: Latency
) -> None:
    policy = data.draw(policies(name, either_way))
    if isinstance(policy, Stepwise):
        policy = replace(policy, rule=Watched(rule=policy.rule))
    fleet = Fleet(world=world, workers=16, latency=latency, chance=chance)
    for tree in fleet.moments(policy, plant(seed=1, ordinal=0)):
        if isinstance(policy, Stepwise):
            check_plan(tree, policy)
        else:
            assert isinstance(policy, IdeaMcts)
            assert all(node.depth <= policy.max_depth + 1 for node in tree.nodes.values())
            assert len(tree.rollouts) <= policy.iterations
            most = policy.iterations * (policy.children + (policy.max_depth + 1) * policy.simulation_attempts)
            assert len(tree.issued) <= most


def check_plan(tree: Tree, policy: Stepwise) -> None:
    plan = policy.plan
    under_way = [tree.node(key) for key in tree.issued[len(tree.committed) :]]
    assert len(tree.issued) <= plan.budget
    assert all(node.depth <= plan.max_depth for node in tree.nodes.values())
    litters = Counter((node.parent, node.iteration) for node in tree.nodes.values() if node.parent)
    assert all(size <= plan.siblings for size in litters.values())
    if plan.window is None:
        assert len(under_way) <= max(plan.in_flight, plan.siblings)
    else:
        assert tree.committed == tree.issued[: len(tree.committed)]
        assert len({node.iteration for node in under_way}) <= plan.window


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A rule whose every choice is looked at."""

    rule: Rule

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        node = self.rule.select(tree, plan)
        if node is not None:
            assert node.depth < plan.max_depth
            assert node.key == tree.root or (node.reward is not None and node.key in tree.committed)
        if isinstance(self.rule, TunedUct):
            assert node == scanned(tree, plan, self.rule)
        return node


def scanned(tree: Tree, plan: Plan, rule: TunedUct) -> Node:
    """What UCT selects, by looking at every child, and everything counted anew but the tallies."""
    committed = {tree.root, *tree.committed}
    rewards = [node.reward for node in tree.nodes.values() if node.key in committed and node.reward is not None]
    low, high = (min(rewards, default=0.0), max(rewards, default=0.0)) if rule.normalise else (0.0, 1.0)
    span = (high - low) or 1.0
    losses = rule.loss if rule.correction is Correction.VIRTUAL_LOSS else 0.0
    seen = 1.0 if rule.correction is Correction.WU else losses

    def able(node: Node) -> list[Node]:
        children = [child for child in tree.scored_children(node.key) if child.key in committed]
        return [child for child in children if child.depth < plan.max_depth and not barren(child)]

    def barren(node: Node) -> bool:
        lost = sum(child.reward is None and child.key in committed for child in tree.children_of(node.key))
        return not able(node) and lost > tree.tally(node.key).visits

    def bound(child: Node, n: float) -> float:
        tally = tree.tally(child.key)
        spread = math.log(n) / (tally.visits + seen * tally.pending)
        if rule.variance:
            mean = tally.value_sum / tally.visits
            variance = max(0.0, tally.squares / tally.visits - mean * mean) / (span * span)
            spread *= min(0.25, variance + math.sqrt(2 * spread))
        mean = (tally.value_sum - low * tally.visits) / (span * (tally.visits + losses * tally.pending))
        return mean + rule.exploration * math.sqrt(spread)

    node = tree.node(tree.root)
    while children := able(node):
        tally = tree.tally(node.key)
        visits = tally.visits + (node.key == tree.root and node.reward is not None)
        every = tree.children_of(node.key)
        wide = sum(child.key in committed for child in every) if rule.correction is Correction.NONE else len(every)
        n = visits + (tally.pending if rule.correction is Correction.WU else 0)
        if wide < rule.widening * n**rule.exponent:
            break
        bounds = {child.key: bound(child, visits + seen * tally.pending) for child in children}
        node = min(children, key=lambda child: (-bounds[child.key], child.key))
    return node


# 8


@of_every_policy
@law
@given(
    data=st.data(), world=WORLDS, chance=CHANCES, shift=st.integers(-50, 50), scale=st.sampled_from([0.25, 2.0, 8.0])
)
def test_a_search_by_rank_or_normalised_value_does_not_care_about_the_scale_of_scores(
    name: str, data: st.DataObject, world: World, chance: int, shift: int, scale: float
) -> None:
    policy = data.draw(policies(name, either_way, st.sampled_from([Rotate(), Uniform()])))
    if isinstance(policy, Stepwise) and isinstance(policy.rule, TunedUct):
        policy = replace(policy, rule=replace(policy.rule, normalise=True, variance=False))
    elif isinstance(policy, IdeaMcts):
        policy = replace(policy, uct=replace(policy.uct, normalise=True), stop_reward=math.inf)
    # Fine enough that two sums which round differently are never compared where they should be equal.
    world = replace(world, fine=world.fine if name in ("uct", "idea-mcts") else 2**24)
    changed = replace(world, scale=scale, shift=shift)
    plain, other = (
        grown(policy, Fleet(world=one, workers=4, latency=LATENCIES[1], chance=chance)) for one in (world, changed)
    )
    assert plain.issued == other.issued


@law
@given(data=st.data(), world=WORLDS, chance=CHANCES, rise=st.integers(1, 80))
def test_raising_a_childs_score_never_lowers_its_rank(
    data: st.DataObject, world: World, chance: int, rise: int
) -> None:
    name = data.draw(st.sampled_from(["uct", "idea-mcts"]))
    policy = data.draw(policies(name, either_way))
    tree = grown(policy, Fleet(world=world, workers=4, latency=LATENCIES[1], chance=chance))
    scored = sorted(node.key for node in tree.nodes.values() if node.parent and node.reward is not None)
    if not scored:
        return
    key = data.draw(st.sampled_from(scored))
    raised = with_reward(tree, policy, key, (tree.node(key).reward or 0.0) + rise / 8)
    by_reward = [[node.key for node in best(one, len(one.nodes))].index(key) for one in (tree, raised)]
    assert by_reward[1] <= by_reward[0]
    if tree.tally(key).visits <= 1 or not is_touched_by_others(policy):
        assert rank(raised, policy, key) <= rank(tree, policy, key)


def is_touched_by_others(policy: Policy) -> bool:
    """Whether a score among many says more than its mean: it stretches the scale for all, or makes a child look sure.

    What has one visit loses nothing even so.
    """
    if isinstance(policy, IdeaMcts):
        return policy.uct.normalise
    assert isinstance(policy, Stepwise)
    assert isinstance(policy.rule, TunedUct)
    return policy.rule.normalise or policy.rule.variance


def with_reward(tree: Tree, policy: Policy, key: str, reward: float) -> Tree:
    saved = snapshot(tree)
    for node in saved["nodes"]:
        if node["key"] == key:
            node["reward"] = reward
    for rollout in saved["rollouts"]:
        if rollout["leaf"] == key:
            rollout["reward"] = reward
    changed = restore(saved)
    # What came to nothing at last is committed, as it is in the tree that was not read back.
    policy.ask(changed)
    return changed


def rank(tree: Tree, policy: Policy, key: str) -> int:
    """The place among the siblings, best first."""
    parent = tree.node(key).parent or tree.root
    siblings = [child.key for child in tree.scored_children(parent)]
    if isinstance(policy, IdeaMcts):
        bounds = {child: uct_score(tree, tree.node(child), policy.uct) for child in siblings}
    else:
        assert isinstance(policy, Stepwise)
        assert isinstance(policy.rule, TunedUct)
        rate = policy.rule.families(tree, policy.plan).rate(tree, parent)
        bounds = {child: rate(child)[0] for child in siblings}
    return sorted(bounds, key=lambda child: (-bounds[child], child)).index(key)


# 9


@of_every_policy
@law
@given(data=st.data(), world=WORLDS, chance=CHANCES, latency=some_latency)
def test_two_trees_side_by_side_are_the_two_grown_apart(
    name: str, data: st.DataObject, world: World, chance: int, latency: Latency
) -> None:
    policy = data.draw(policies(name, either_way))

    def fleet(ordinal: int) -> Fleet:
        return Fleet(
            world=replace(world, seed=world.seed + ordinal), workers=3, latency=latency, chance=chance + ordinal
        )

    apart = [fleet(ordinal).grow(policy, plant(seed=1, ordinal=ordinal)) for ordinal in (0, 1)]
    trees = [plant(seed=1, ordinal=ordinal) for ordinal in (0, 1)]
    for _ in zip_longest(*(fleet(ordinal).moments(policy, tree) for ordinal, tree in enumerate(trees))):
        pass
    assert [canonical(tree) for tree in trees] == [canonical(tree) for tree in apart]
