"""The search core on small trees whose every step is known."""

import math
from collections.abc import Callable

import pytest

from orchestrator.recipes import IdeaMctsSearch
from orchestrator.search import (
    Evaluate,
    Expand,
    Failed,
    Grown,
    IdeaMcts,
    Node,
    Origin,
    Rejected,
    Scored,
    Status,
    Tree,
    Unscored,
    best,
    candidates,
    plant,
    release,
    replay,
    tell,
)
from orchestrator.search.ids import draw, sample
from orchestrator.search.select import select_leaf, uct_score, value

Score = Callable[[Node], float]


def policy(**changes: object) -> IdeaMcts:
    return IdeaMctsSearch.model_validate(changes).policy()


def grow(tree: Tree, options: IdeaMcts, score: Score, *, reject: Callable[[Node], bool] = lambda node: False) -> None:
    """Carries out whatever is proposed until the tree is spent."""
    for _ in range(1000):
        step = options.ask(tree)
        if not step.proposals:
            assert options.is_spent(tree)
            return
        for proposal in step.proposals:
            if isinstance(proposal, Expand):
                for child in proposal.children:
                    tell(tree, Rejected(key=child.key) if reject(child) else Grown(key=child.key))
            else:
                for key in proposal.nodes:
                    tell(tree, Scored(key=key, reward=score(tree.node(key))))
    raise AssertionError("the tree never ended")


def by_depth(node: Node) -> float:
    return 3.0 + node.depth


def test_the_seed_is_scored_before_anything_is_evolved():
    tree = plant(seed=1, ordinal=0)
    (proposal,) = policy().ask(tree).proposals
    assert proposal == Evaluate(parent=None, nodes=(tree.root,))
    assert policy().ask(tree).proposals == ()


def test_an_expansion_is_five_children_by_five_different_operators():
    tree = plant(seed=1, ordinal=0)
    policy().ask(tree)
    tell(tree, Scored(key=tree.root, reward=4.0))
    (expand,) = policy().ask(tree).proposals
    assert isinstance(expand, Expand)
    assert expand.parent == tree.root
    assert len({child.operator for child in expand.children}) == 5
    assert [child.ordinal for child in expand.children] == [0, 1, 2, 3, 4]


def test_siblings_are_scored_together_and_only_once_all_have_a_text_or_are_out():
    tree = plant(seed=1, ordinal=0)
    policy().ask(tree)
    tell(tree, Scored(key=tree.root, reward=4.0))
    (expand,) = policy().ask(tree).proposals
    assert isinstance(expand, Expand)
    keys = [child.key for child in expand.children]
    for key in keys[:3]:
        tell(tree, Grown(key=key))
    tell(tree, Rejected(key=keys[3]))
    assert policy().ask(tree).proposals == ()
    tell(tree, Failed(key=keys[4]))
    assert policy().ask(tree).proposals == (Evaluate(parent=tree.root, nodes=tuple(keys[:3])),)


def test_a_tree_makes_three_rollouts_and_simulates_past_the_depth_limit():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(stop_reward=100), by_depth)
    assert len(tree.rollouts) == 3
    assert all(rollout.terminal and tree.node(rollout.leaf).depth == 5 for rollout in tree.rollouts)
    # papers.md, 1.7: three expansions of five, and at most 4 + 3 + 2 simulation steps when each goes deeper.
    assert sum(node.origin is Origin.EXPANSION for node in tree.nodes.values()) == 15
    assert sum(node.origin is Origin.SIMULATION for node in tree.nodes.values()) == 9


def test_a_reward_above_the_threshold_ends_a_rollout_at_once():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(), lambda node: 11.0 if node.depth == 1 else 6.0)
    assert [tree.node(rollout.leaf).depth for rollout in tree.rollouts] == [1, 1, 1]
    assert not any(node.origin is Origin.SIMULATION for node in tree.nodes.values())


def test_a_seed_above_the_threshold_is_evolved_all_the_same():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(), lambda node: 12.0)
    assert len(candidates(tree)) >= 1


def test_a_simulation_that_leads_nowhere_backs_up_from_where_it_got():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(stop_reward=100), by_depth, reject=lambda node: node.depth > 2)
    assert len(tree.rollouts) == 3
    assert not any(rollout.terminal for rollout in tree.rollouts)
    tried = [
        node for node in tree.nodes.values() if node.status is Status.REJECTED and node.origin is Origin.SIMULATION
    ]
    assert len({(node.parent, node.operator) for node in tried}) == len(tried)


def test_a_tree_whose_children_are_all_rejected_still_ends():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(), by_depth, reject=lambda node: True)
    assert [rollout.leaf for rollout in tree.rollouts] == [tree.root] * 3
    assert candidates(tree) == []


def test_visits_and_values_are_the_rollouts_summed_up():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(stop_reward=100), by_depth)
    root = tree.tally(tree.root)
    assert (root.visits, root.value_sum) == (3, sum(rollout.reward or 0 for rollout in tree.rollouts))


def test_an_unscored_seed_is_evolved_but_counts_for_nothing():
    tree = plant(seed=1, ordinal=0)
    policy().ask(tree)
    tell(tree, Unscored(key=tree.root))
    grow(tree, policy(), by_depth)
    assert tree.node(tree.root).reward is None
    assert tree.tally(tree.root).visits == 3


def test_selection_follows_value_and_breaks_ties_by_key():
    tree = plant(seed=1, ordinal=0)
    uct = policy().uct
    policy().ask(tree)
    tell(tree, Scored(key=tree.root, reward=4.0))
    (expand,) = policy().ask(tree).proposals
    assert isinstance(expand, Expand)
    for child in expand.children:
        tell(tree, Grown(key=child.key))
    policy().ask(tree)
    for child in expand.children:
        tell(tree, Scored(key=child.key, reward=7.0))
    assert select_leaf(tree, uct).key == min(child.key for child in expand.children)


def test_uct_is_the_papers_formula_with_the_square_root_as_an_option():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(stop_reward=100), by_depth)
    child = tree.scored_children(tree.root)[0]
    for root_term, uct in ((True, policy().uct), (False, policy(square_root=False).uct)):
        ratio = math.log(tree.tally(tree.root).visits + 1) / (tree.tally(child.key).visits + 1)
        expected = value(tree, child, uct) + (math.sqrt(ratio) if root_term else ratio)
        assert uct_score(tree, child, uct) == pytest.approx(expected)


def test_a_child_that_starts_unvisited_is_selected_first():
    options = policy(child_initialisation="unvisited", stop_reward=100)
    tree = plant(seed=1, ordinal=0)
    grow(tree, options, by_depth)
    # papers.md, 1.2: with infinite UCT for fresh children, later iterations only ever pick unvisited siblings.
    expanded = {node.parent for node in tree.nodes.values() if node.origin is Origin.EXPANSION}
    assert max(tree.node(key).depth for key in expanded if key) == 1


def test_max_backup_and_normalisation_are_options_that_still_select():
    for changes in (
        {"backup": "max"},
        {"normalise": True},
        {"simulate_child": "random"},
        {"distinct_operators": False},
    ):
        tree = plant(seed=3, ordinal=0)
        grow(tree, policy(**changes), by_depth)
        assert len(tree.rollouts) == 3


def test_telling_twice_changes_nothing():
    tree = plant(seed=1, ordinal=0)
    policy().ask(tree)
    assert tell(tree, Scored(key=tree.root, reward=4.0))
    assert not tell(tree, Scored(key=tree.root, reward=5.0))
    assert tree.node(tree.root).reward == 4.0
    with pytest.raises(KeyError):
        tell(tree, Grown(key="nobody"))


def test_a_released_proposal_is_proposed_again_just_the_same():
    tree = plant(seed=1, ordinal=0)
    policy().ask(tree)
    tell(tree, Scored(key=tree.root, reward=4.0))
    (first,) = policy().ask(tree).proposals
    assert isinstance(first, Expand)
    for child in first.children:
        release(tree, child.key)
    assert len(tree.nodes) == 1
    assert policy().ask(tree).proposals == (first,)


def test_the_same_seed_and_answers_give_the_same_tree_and_another_seed_another():
    def keys(seed: int) -> list[str]:
        tree = plant(seed=seed, ordinal=0)
        grow(tree, policy(), by_depth)
        return list(tree.nodes)

    assert keys(7) == keys(7)
    assert keys(7) != keys(8)


def test_the_harvest_holds_simulation_nodes_and_never_the_seed():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(stop_reward=100), by_depth)
    harvest = candidates(tree)
    assert any(node.origin is Origin.SIMULATION for node in harvest)
    assert tree.root not in {node.key for node in harvest}
    assert best(tree, 1)[0].depth == 5


def test_a_tree_read_back_is_the_tree():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(), by_depth)
    again = replay(seed=1, nodes=reversed(tree.nodes.values()), rollouts=tree.rollouts, in_flight=())
    assert again.nodes == tree.nodes
    assert again.rollouts == tree.rollouts


def test_a_tree_without_its_root_or_a_parent_is_refused():
    tree = plant(seed=1, ordinal=0)
    grow(tree, policy(), by_depth)
    nodes = list(tree.nodes.values())
    with pytest.raises(ValueError, match="one root"):
        replay(seed=1, nodes=nodes[1:], rollouts=(), in_flight=())
    orphaned = [node for node in nodes if node.key != best(tree, 1)[0].parent]
    with pytest.raises(ValueError, match="no parent"):
        replay(seed=1, nodes=orphaned, rollouts=(), in_flight=())


def test_chance_is_a_function_of_place():
    assert draw(1, "a") == draw(1, "a") != draw(1, "b")
    assert 0 <= draw(1, "a") < 1
    assert sorted(sample(range(12), 5, 1, "x")) == sorted(set(sample(range(12), 5, 1, "x")))
    assert len(sample(range(3), 5, 1)) == 3
