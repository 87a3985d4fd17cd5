"""How many nodes trees will have when they have ended, told from those that have and those that still grow.

The trees that end first are the small ones, and the open ones may end at any moment: neither alone says how large a
tree becomes. Kaplan and Meier's estimate (1958) takes both: of all trees that came past a size, how many ended there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from db.progress import OpenTree, Size


def nodes_to_come(
    cohort: Sequence[Size], growing: Sequence[int], waiting: int, most: float, *, each: float = 1.0
) -> float | None:
    """Nodes that trees which grow (their sizes; one stands for `each`) and trees that wait will get, on average.

    `cohort`: trees in the order in which they were begun, ended or not. `most`: the size at which none goes on. None
    while nothing says where trees end.
    """
    further = _further(cohort, most)
    left = waiting * further[0] if waiting else 0.0
    left += each * sum(further[min(size, len(further) - 1)] for size in growing)
    return None if left == inf else left


def _further(cohort: Sequence[Size], most: float) -> list[float]:
    """For each size, how many more nodes a tree of that size gets; the last is for all sizes that none was seen at."""
    shares, usual = _going_on(cohort)
    beyond = usual / (1 - usual) if usual < 1 else inf
    found = [max(min(beyond, most - len(shares)), 0.0)]
    for share in reversed(shares):
        found.append(share * (1 + found[-1]) if share else 0.0)
    return found[::-1]


def _going_on(cohort: Sequence[Size]) -> tuple[list[float], float]:
    """For each size, the share of trees that did not end there; and such a share of all sizes together."""
    ended = Counter(tree.nodes for tree in cohort if tree.ended)
    at = Counter(tree.nodes for tree in cohort)
    past, steps, shares = len(cohort), 0, list[float]()
    for size in range(max(at, default=-1) + 1):
        past -= at[size]
        if not past + ended[size]:
            break
        steps += past
        shares.append(past / (past + ended[size]))
    return shares, steps / (steps + ended.total()) if steps else float(not ended)


def whole_tree(open_trees: Sequence[OpenTree], search: Mapping[str, Any], calls_a_node: float) -> float:
    """Evolved nodes of a tree that ends at what bounds it, and not before: its calls (of which its seed has as many as
    any node), iterations or nodes.
    """
    if search.get("calls"):
        return max(float(search["calls"]) / calls_a_node - 1, 0.0) if calls_a_node else inf
    if "iterations" in search:  # one that is under way counts half
        begun = sum(tree.rollouts + (tree.iteration >= tree.rollouts) / 2 for tree in open_trees)
        settled = sum(tree.settled for tree in open_trees)
        return float(search["iterations"]) * settled / begun if settled else inf
    return float(search.get("nodes") or inf)
