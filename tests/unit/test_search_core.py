"""The core's steps on small trees: who is judged with whom, what is committed when, and where UCT goes."""

from dataclasses import replace
from random import Random

import pytest

from orchestrator.search import (
    Evaluate,
    Expand,
    Failed,
    Grown,
    Node,
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
from orchestrator.search.ranking import Ranking
from orchestrator.search.rules.beam import Beam
from orchestrator.search.rules.best_of_n import BestOfN
from orchestrator.search.rules.uct import Correction, TunedUct
from orchestrator.search.snapshot import restore, snapshot

PLAN = Plan(operators=("a",), budget=12, max_depth=3)


def policy(rule: Rule | None = None, **plan: int) -> Stepwise:
    return Stepwise(plan=replace(PLAN, **plan), rule=rule or BestOfN(), choice=Rotate())  # type: ignore[arg-type]


def planted(options: Stepwise, reward: float | None = 5.0) -> Tree:
    tree = plant(seed=1, ordinal=0)
    (proposal,) = options.ask(tree).proposals
    assert proposal == Evaluate(parent=None, nodes=(tree.root,))
    tell(tree, Unscored(key=tree.root) if reward is None else Scored(key=tree.root, reward=reward))
    return tree


def expansions(options: Stepwise, tree: Tree, most: int = 1000) -> list[Expand]:
    return [proposal for proposal in options.ask(tree, most).proposals if isinstance(proposal, Expand)]


def expand(options: Stepwise, tree: Tree) -> list[Node]:
    """The children of the one expansion that is asked for."""
    (one,) = expansions(options, tree)
    return list(one.children)


def score(options: Stepwise, tree: Tree, key: str, reward: float) -> None:
    tell(tree, Grown(key=key))
    options.ask(tree, 0)
    tell(tree, Scored(key=key, reward=reward))


def walk(options: Stepwise, tree: Tree, rewards: list[float | None]) -> list[str]:
    """One node after another comes to these rewards; the parents that were chosen."""
    chosen = []
    for reward in rewards:
        (node,) = expand(options, tree)
        chosen.append(node.parent or "")
        if reward is None:
            tell(tree, Failed(key=node.key))
        else:
            score(options, tree, node.key, reward)
    options.ask(tree, 0)
    return chosen


# -- litters


def test_a_litter_half_told_when_the_tree_is_read_back_is_still_judged_as_one():
    options = policy(siblings=3)
    tree = planted(options)
    nodes = expand(options, tree)
    tell(tree, Grown(key=nodes[0].key))
    tree = restore(snapshot(tree))
    assert options.ask(tree).proposals == ()
    tell(tree, Grown(key=nodes[1].key))
    tell(tree, Rejected(key=nodes[2].key))
    (judged,) = options.ask(tree).proposals
    assert judged == Evaluate(parent=tree.root, nodes=(nodes[0].key, nodes[1].key))


def test_litters_of_one_parent_are_judged_apart_whenever_their_texts_come():
    options = policy(siblings=2, in_flight=4)
    tree = planted(options)
    litters = expansions(options, tree)
    assert [one.parent for one in litters] == [tree.root, tree.root]
    for one in litters:
        for child in one.children:
            tell(tree, Grown(key=child.key))
    judged = [one.nodes for one in options.ask(tree).proposals if isinstance(one, Evaluate)]
    assert judged == [tuple(child.key for child in one.children) for one in litters]


def test_a_released_text_is_judged_again_with_its_litter():
    options = policy(siblings=2)
    tree = planted(options)
    nodes = expand(options, tree)
    for node in nodes:
        tell(tree, Grown(key=node.key))
    (first,) = options.ask(tree).proposals
    for node in nodes:
        release(tree, node.key)
    assert options.ask(tree).proposals == (first,)


def test_a_text_that_was_scored_after_its_release_is_not_judged_again():
    options = policy(siblings=2)
    tree = planted(options)
    first, second = expand(options, tree)
    for node in (first, second):
        tell(tree, Grown(key=node.key))
    options.ask(tree)
    for node in (first, second):
        release(tree, node.key)
    assert tell(tree, Scored(key=first.key, reward=6.0))
    assert options.ask(tree).proposals == (Evaluate(parent=tree.root, nodes=(second.key,)),)
    assert tree.in_flight == {second.key}


def test_no_key_is_given_twice_when_an_older_sibling_was_released():
    options = policy(in_flight=3)
    tree = planted(options)
    nodes = [child for one in expansions(options, tree) for child in one.children]
    release(tree, nodes[0].key)
    (again,) = expand(options, tree)
    assert again.key not in {node.key for node in nodes}
    assert [tree.node(key).ordinal for key in tree.issued] == [1, 2, 3]


# -- commits


def test_what_arrived_between_two_asks_is_committed_in_order_of_issue():
    options = policy(in_flight=3)
    tree = planted(options)
    nodes = [child for one in expansions(options, tree) for child in one.children]
    for node in nodes:
        tell(tree, Grown(key=node.key))
    options.ask(tree)
    for node in reversed(nodes):
        tell(tree, Scored(key=node.key, reward=6.0))
    assert [rollout.leaf for rollout in options.ask(tree).rollouts] == [node.key for node in nodes]


def test_in_order_of_issue_a_late_first_result_holds_up_the_others_and_no_step_beyond_the_window_goes_out():
    options = policy(window=3)
    tree = planted(options)
    nodes = [child for one in expansions(options, tree) for child in one.children]
    assert len(nodes) == 3
    for node in nodes[1:]:
        score(options, tree, node.key, 6.0)
    assert options.ask(tree).proposals == ()
    assert tree.committed == []
    score(options, tree, nodes[0].key, 6.0)
    # Step 3 may know step 0, and no more although more is known.
    assert len(expansions(options, tree)) == 3
    assert tree.committed == [node.key for node in nodes]


def test_a_rule_that_must_wait_gets_in_order_of_issue_what_it_waits_for():
    options = policy(Beam(width=2), budget=12, max_depth=3, window=4)
    tree = planted(options)
    first = [child for one in expansions(options, tree) for child in one.children]
    # A level of four is complete only when all four are known, and the window would show the first of them alone.
    assert [node.depth for node in first] == [1, 1, 1, 1]
    for node in reversed(first):
        assert expansions(options, tree) == []
        score(options, tree, node.key, 6.0)
    assert {one.children[0].depth for one in expansions(options, tree)} == {2}
    assert tree.committed == [node.key for node in first]


def test_the_callers_rest_of_a_budget_cuts_the_last_litter_and_then_commits_all():
    options = policy(siblings=3, window=4)
    tree = planted(options)
    (cut,) = expansions(options, tree, 2)
    assert len(cut.children) == 2
    for child in cut.children:
        tell(tree, Grown(key=child.key))
    options.ask(tree, 0)
    for child in cut.children:
        tell(tree, Scored(key=child.key, reward=6.0))
    assert [rollout.leaf for rollout in options.ask(tree, 0).rollouts] == [child.key for child in cut.children]


# -- UCT


def test_uct_widens_the_seed_with_the_square_root_of_its_visits_and_goes_down_to_the_better_child():
    options = policy(TunedUct())
    tree = planted(options)
    chosen = walk(options, tree, [6.0, 9.0])
    assert chosen == [tree.root, tree.root]
    better = tree.issued[1]
    assert walk(options, tree, [9.0]) == [better]


def test_a_parent_whose_children_all_fail_is_passed_over_after_two():
    options = policy(TunedUct(), budget=40, max_depth=6)
    tree = planted(options)
    walk(options, tree, [6.0, 9.0])
    poisonous = tree.issued[1]
    for _ in range(30):
        (node,) = expand(options, tree)
        if node.parent == poisonous:
            tell(tree, Rejected(key=node.key))
        else:
            score(options, tree, node.key, 6.0)
    assert [child.reward for child in tree.children_of(poisonous)] == [None, None]


def test_uct_on_a_seed_without_scores_still_grows():
    options = policy(TunedUct(), budget=6)
    tree = planted(options, reward=None)
    assert walk(options, tree, [None, 6.0, None, 7.0])[0] == tree.root
    assert tree.tally(tree.root).visits == 2


def test_evolutions_under_way_spread_by_themselves():
    asked = {}
    for correction in Correction:
        options = policy(TunedUct(correction=correction), budget=60, in_flight=1, max_depth=2)
        tree = planted(options)
        walk(options, tree, [6.0, 6.1, 6.2, 6.1, 6.2, 6.0, 6.1, 6.2])
        many = policy(TunedUct(correction=correction), budget=60, in_flight=24, max_depth=2)
        asked[correction] = len({one.parent for one in expansions(many, tree)})
    assert asked[Correction.NONE] == 1
    assert asked[Correction.WU] > 1
    assert asked[Correction.VIRTUAL_LOSS] > 1


def test_the_mean_is_blind_to_what_is_under_way_and_a_virtual_loss_is_not():
    found = {}
    for correction in (Correction.WU, Correction.VIRTUAL_LOSS):
        rule = TunedUct(correction=correction, exploration=0.0)
        tree = planted(policy(rule), reward=4.0)
        walk(policy(rule), tree, [8.0, 12.0])
        (child, _) = tree.issued
        tree.tally(child).pending = 3
        found[correction] = rule.families(tree, PLAN).rate(tree, tree.root)(child)[0]
    assert found == {Correction.WU: 0.5, Correction.VIRTUAL_LOSS: 0.125}


@pytest.mark.parametrize("wrong", [{"exploration": -1.0}, {"widening": 0.0}, {"exponent": 1.5}, {"loss": -1.0}])
def test_impossible_parameters_of_uct_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="uct needs"):
        replace(TunedUct(), **wrong)  # type: ignore[arg-type]


# -- ranking


def test_a_ranking_finds_what_a_scan_finds_while_scores_fall_and_the_touched_rise():
    dice, ranking, scores = Random(5), Ranking(), dict[str, float]()

    def rate(key: str) -> tuple[float, float]:
        return scores[key], scores[key] + 0.25

    for turn in range(3000):
        key = f"n{dice.randrange(40)}"
        rises = dice.randrange(8) / 8 - 0.5
        scores[key] = scores.get(key, 0.0) + rises
        if rises > 0 or not ranking or turn % 7 == 0 or key not in ranking._bounds:
            ranking.touch(key)
        if turn % 100 == 99:
            ranking.renew(rate)
        assert ranking.largest(rate) == min(scores, key=lambda one: (-scores[one], one))


def test_an_empty_ranking_has_no_largest():
    assert not Ranking()
    with pytest.raises(ValueError, match="empty"):
        Ranking().largest(lambda key: (0.0, 0.0))
