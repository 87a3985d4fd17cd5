"""A tidy layout of a tree: parents centred over their children, subtrees as close as they go, nothing overlapping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """`level` counts edges from the root; `row` is the position across. Nodes of one level are at least 1 apart."""

    level: int
    row: float


@dataclass(slots=True)
class _Subtree:
    """`low` and `high` hold the outermost rows of each level, relative to the subtree's own root at row 0."""

    low: list[float]
    high: list[float]
    offsets: tuple[float, ...]


def tidy(children: Mapping[str, Sequence[str]], root: str) -> dict[str, Spot]:
    """Places for the root and everything below it; the smallest row is 0.

    Works bottom-up on contours (Reingold and Tilford), without recursion: chains may be long.
    """
    shapes: dict[str, _Subtree] = {}
    for key in reversed(preorder(children, root)):
        shapes[key] = _join([shapes[child] for child in children.get(key, ())])
    lowest = min(shapes[root].low)
    places: dict[str, Spot] = {root: Spot(level=0, row=-lowest)}
    for key in preorder(children, root):
        here = places[key]
        for child, offset in zip(children.get(key, ()), shapes[key].offsets, strict=True):
            places[child] = Spot(level=here.level + 1, row=here.row + offset)
    return places


def preorder(children: Mapping[str, Sequence[str]], root: str) -> list[str]:
    """Every node before its children, children in their order."""
    order: list[str] = []
    stack = [root]
    while stack:
        key = stack.pop()
        order.append(key)
        stack.extend(reversed(children.get(key, ())))
    return order


def _join(subtrees: list[_Subtree]) -> _Subtree:
    """Puts subtrees side by side, each as close to those before it as their contours allow, and a root amid them."""
    if not subtrees:
        return _Subtree([0.0], [0.0], ())
    offsets: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for subtree in subtrees:
        shift = max((h - s + 1 for h, s in zip(high, subtree.low, strict=False)), default=0.0)
        offsets.append(shift)
        low += [row + shift for row in subtree.low[len(low) :]]
        high = [row + shift for row in subtree.high] + high[len(subtree.high) :]
    middle = (offsets[0] + offsets[-1]) / 2
    return _Subtree(
        [0.0, *(row - middle for row in low)],
        [0.0, *(row - middle for row in high)],
        tuple(offset - middle for offset in offsets),
    )
