"""How large trees become, told while they grow."""

from math import inf
from random import Random

import pytest

from db.progress import OpenTree, Size
from orchestrator.sizes import nodes_to_come, whole_tree


def ended(*sizes: int) -> list[Size]:
    return [Size(nodes=size, ended=True) for size in sizes]


def still(*sizes: int) -> list[Size]:
    return [Size(nodes=size, ended=False) for size in sizes]


def test_trees_that_end_at_their_bound_are_filled_up():
    begun = [*ended(*[16] * 6), *still(*[9] * 10)]
    assert nodes_to_come(begun, [9] * 10, 100, 16) == pytest.approx(7 * 10 + 100 * 16)
    assert nodes_to_come(begun, [9] * 10, 100, 16, each=3.0) == pytest.approx(7 * 30 + 100 * 16)


def test_before_one_has_ended_the_bound_is_all_that_is_known():
    assert nodes_to_come(still(3, 5), [3, 5], 8, 10) == pytest.approx(7 + 5 + 80)
    assert nodes_to_come([], [], 8, 10) == pytest.approx(80)
    assert nodes_to_come(still(3, 5), [3, 5], 8, inf) is None


def test_no_tree_gets_past_its_bound():
    begun = [*ended(2), *still(*[15] * 99)]
    assert nodes_to_come(begun, [15] * 99, 0, 16) == pytest.approx(99)


def test_nothing_is_to_come_where_all_have_ended():
    assert nodes_to_come(ended(4, 0, 7), [], 0, inf) == 0.0


def test_seeds_that_grow_nothing_are_trees_too():
    assert nodes_to_come(ended(0, 0, 4, 4), [], 10, 40) == pytest.approx(20)


def test_what_is_said_early_is_right_although_the_small_ones_end_first():
    chance, said, true = Random(1), 0.0, 0.0
    for _ in range(200):
        sizes = [next(n for n in range(99) if chance.random() > 0.8 or n == 98) for _ in range(120)]
        early = [Size(nodes=min(size, 3), ended=size < 3) for size in sizes]
        growing = [tree.nodes for tree in early if not tree.ended]
        said += nodes_to_come(early, growing, 10, inf) or 0.0
        true += sum(size - 3 for size in sizes if size > 3) + 10 * 4
    assert said == pytest.approx(true, rel=0.05)


def test_what_bounds_a_tree_is_told_in_nodes():
    trees = [OpenTree(settled=8, rollouts=1, iteration=1), OpenTree(settled=4, rollouts=1, iteration=0)]
    assert whole_tree(trees, {"iterations": 4}, 1.5) == pytest.approx(4 * 12 / 2.5)
    assert whole_tree(trees, {"nodes": 16}, 1.5) == 16
    assert whole_tree(trees, {"nodes": 16, "calls": 24}, 1.5) == 15  # and its seed
    unsettled = [OpenTree(settled=0, rollouts=0, iteration=0)]
    assert whole_tree(unsettled, {"iterations": 4}, 1.5) == inf
    assert whole_tree([], {"calls": 4}, 0.0) == whole_tree([], {}, 0.0) == inf
