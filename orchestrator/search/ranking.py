"""The best of many whose scores change slowly, without looking at all of them."""

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush

# The score of a key, and a bound on it that is to hold for a while.
Rate = Callable[[str], tuple[float, float]]


class Ranking:
    """Keys on a heap of upper bounds; only those whose bound reaches the best score found are looked at.

    Two things may make a bound too small, and its owner must tell: `touch` a key whose score may have risen for reasons
    of its own, `renew` when all may have. A bound that has become too large costs a look and no more.
    """

    __slots__ = ("_bounds", "_heap", "_touched")

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._bounds: dict[str, float] = {}
        self._touched: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._bounds or self._touched)

    def touch(self, key: str) -> None:
        """Takes the key in, or notes that its score may have risen."""
        self._touched.add(key)

    def drop(self, key: str) -> None:
        """Takes the key out, until it is touched again."""
        self._bounds.pop(key, None)
        self._touched.discard(key)

    def renew(self, rate: Rate) -> None:
        """Bounds everything anew."""
        self._bounds = {key: rate(key)[1] for key in self._touched.union(self._bounds)}
        self._heap = [(-bound, key) for key, bound in self._bounds.items()]
        heapify(self._heap)
        self._touched.clear()

    def largest(self, rate: Rate) -> str:
        """The key of the largest score, the smallest such key.

        Raises:
            ValueError: there is none.
        """
        heap, bounds, looked = self._heap, self._bounds, list[tuple[float, str]]()
        best, winner, due = math.inf, "", list(self._touched)
        bounds.update((key, math.nan) for key in due)
        self._touched.clear()
        while due or (heap and heap[0][0] <= best):
            key = due.pop() if due else self._popped()
            if key is None:
                continue
            score, bound = rate(key)
            bounds[key] = math.nan
            looked.append((-bound, key))
            if score > -best or (score == -best and key < winner):
                best, winner = -score, key
        for entry in looked:
            bounds[entry[1]] = -entry[0]
            heappush(heap, entry)
        if not winner:
            raise ValueError("the ranking is empty")
        return winner

    def _popped(self) -> str | None:
        """The first key of the heap; None if this was an older bound of it, or it was dropped."""
        negative, key = heappop(self._heap)
        return key if self._bounds.get(key) == -negative else None
