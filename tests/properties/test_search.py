"""Laws of the search core, for all seeds, answers and orders of arrival (search.md, 5.4)."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import SearchSettings
from orchestrator.search import (
    Expand,
    Failed,
    Grown,
    IdeaMcts,
    Outcome,
    Proposal,
    Rejected,
    Scored,
    Status,
    Tree,
    Unscored,
    plant,
    replay,
    tell,
)

POLICIES = st.builds(
    lambda **changes: SearchSettings.model_validate(changes).policy(),
    iterations=st.integers(1, 5),
    children=st.integers(1, 6),
    max_depth=st.integers(1, 5),
    stop_reward=st.sampled_from([4.0, 10.0, 1000.0]),
    child_initialisation=st.sampled_from(["own-score", "unvisited"]),
    backup=st.sampled_from(["mean", "max"]),
    normalise=st.booleans(),
    simulate_child=st.sampled_from(["best", "random"]),
    distinct_operators=st.booleans(),
    simulation_attempts=st.integers(1, 3),
)
WORLDS = st.integers(0, 2**32)


def answers(tree: Tree, proposal: Proposal, world: int) -> list[Outcome]:
    """What this world makes of a proposal: a function of the nodes, not of when they are asked about."""

    def chance(key: str, what: str) -> Random:
        return Random(f"{world}/{key}/{what}")

    if isinstance(proposal, Expand):
        made: list[type[Grown | Rejected | Failed]] = [Grown, Rejected, Failed]
        kinds = [chance(child.key, "text").choices(made, [8, 2, 1])[0] for child in proposal.children]
        return [kind(key=child.key) for kind, child in zip(kinds, proposal.children, strict=True)]
    found: list[Outcome] = []
    for key in proposal.nodes:
        roll = chance(key, "score")
        unscored = roll.random() < 0.1
        # In eighths: an affine change of such rewards is exact in binary.
        found.append(Unscored(key=key) if unscored else Scored(key=key, reward=roll.randrange(24, 112) / 8))
    return found


def grow(
    tree: Tree, policy: IdeaMcts, world: int, order: Random, *, doubled: bool = False, steps: int = 10_000
) -> Tree:
    """Answers proposals in any order of arrival, perhaps twice, for at most `steps` rounds."""
    for _ in range(steps):
        step = policy.ask(tree)
        news = [outcome for proposal in step.proposals for outcome in answers(tree, proposal, world)]
        if not news:
            assert policy.is_spent(tree)
            break
        order.shuffle(news)
        for outcome in news + (news if doubled else []):
            tell(tree, outcome)
    return tree


@given(POLICIES, WORLDS, st.integers(0, 5))
def test_arrival_order_and_doubled_news_change_nothing(policy: IdeaMcts, world: int, seed: int) -> None:
    first = grow(plant(seed=seed, ordinal=0), policy, world, Random(1))
    second = grow(plant(seed=seed, ordinal=0), policy, world, Random(2), doubled=True)
    assert first.nodes == second.nodes
    assert first.rollouts == second.rollouts


@given(POLICIES, WORLDS, st.integers(0, 40))
def test_cut_anywhere_read_back_and_grown_on_it_is_the_uncut_tree(policy: IdeaMcts, world: int, cut: int) -> None:
    whole = grow(plant(seed=1, ordinal=0), policy, world, Random(0))
    part = grow(plant(seed=1, ordinal=0), policy, world, Random(0), steps=cut)
    shuffled = list(part.nodes.values())
    Random(cut).shuffle(shuffled)
    again = replay(seed=1, nodes=shuffled, rollouts=part.rollouts, in_flight=part.in_flight)
    grow(again, policy, world, Random(3))
    assert again.nodes == whole.nodes
    assert again.rollouts == whole.rollouts


@given(POLICIES, WORLDS)
def test_statistics_limits_and_flight_hold_at_every_step(policy: IdeaMcts, world: int) -> None:
    tree = plant(seed=1, ordinal=0)
    while True:
        step = policy.ask(tree)
        check(tree, policy)
        if not step.proposals:
            break
        for proposal in step.proposals:
            for outcome in answers(tree, proposal, world):
                tell(tree, outcome)
                check(tree, policy)
    assert not tree.in_flight
    assert len(tree.rollouts) == policy.iterations


def check(tree: Tree, policy: IdeaMcts) -> None:
    recount = replay(seed=tree.seed, nodes=tree.nodes.values(), rollouts=tree.rollouts, in_flight=tree.in_flight)
    assert {key: (t.visits, t.value_sum) for key, t in recount.tallies.items()} == {
        key: (t.visits, t.value_sum) for key, t in tree.tallies.items()
    }
    for node in tree.nodes.values():
        assert node.depth <= policy.max_depth + 1
        assert (node.reward is not None) == (node.status is Status.SCORED)
        ordinals = [child.ordinal for child in tree.children_of(node.key)]
        assert ordinals == list(range(len(ordinals)))
    assert all(tree.node(key).status in (Status.PROPOSED, Status.GENERATED) for key in tree.in_flight)
    assert len(tree.rollouts) <= policy.iterations


@given(WORLDS, st.integers(-50, 50), st.sampled_from([0.5, 2.0, 4.0]))
def test_a_normalised_search_does_not_care_about_the_scale_of_rewards(world: int, shift: int, scale: float) -> None:
    policy = SearchSettings.model_validate({"normalise": True, "stop_reward": 1000}).policy()
    plain = grow(plant(seed=1, ordinal=0), policy, world, Random(0))

    tree = plant(seed=1, ordinal=0)
    while step := policy.ask(tree).proposals:
        for outcome in (o for proposal in step for o in answers(tree, proposal, world)):
            if isinstance(outcome, Scored):
                outcome = replace(outcome, reward=outcome.reward * scale + shift)
            tell(tree, outcome)
    assert list(tree.nodes) == list(plain.nodes)


@given(POLICIES, WORLDS)
def test_two_trees_grown_side_by_side_are_the_two_grown_apart(policy: IdeaMcts, world: int) -> None:
    apart = [grow(plant(seed=1, ordinal=i), policy, world, Random(0)) for i in range(2)]
    together = [plant(seed=1, ordinal=i) for i in range(2)]
    moving = True
    while moving:
        moving = False
        for tree in together:
            for proposal in policy.ask(tree).proposals:
                moving = True
                for outcome in answers(tree, proposal, world):
                    tell(tree, outcome)
    assert [tree.nodes for tree in together] == [tree.nodes for tree in apart]
