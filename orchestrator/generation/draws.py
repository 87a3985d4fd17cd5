"""Which demonstrations a prompt shows, and chance that is a function of its place."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from orchestrator.search.ids import draw

T = TypeVar("T")


def some(items: Sequence[T], count: int, seed: int, *place: object) -> list[T]:
    """`count` of `items` (all, if there are fewer) in random order, without replacement, in `count` draws."""
    return list(_some(items, min(count, len(items)), seed, place))


def _some(items: Sequence[T], count: int, seed: int, place: tuple[object, ...]) -> Iterator[T]:
    # The first steps of a shuffle, of which only what has moved is written down: a pool may hold many thousands.
    moved: dict[int, int] = {}
    for step in range(count):
        left = len(items) - step
        at = step + min(int(draw(seed, *place, step) * left), left - 1)
        yield items[moved.get(at, at)]
        moved[at] = moved.get(step, step)


def demonstrations(
    seeds: Sequence[int], made: Sequence[int], *, shown: int, made_shown: int, seed: int, round: int, slot: int
) -> tuple[int, ...]:
    """The ordinals that the prompt `slot` of a round shows, in the order in which it shows them.

    Up to `made_shown` are machine-written (those of `made` that are not seeds by now), the rest of `shown` are seeds;
    with too few of either, fewer are shown. Self-Instruct: 8, of them 2 made. SeDi-Instruct: 8 and 0. Alpaca: 3 and 0.
    """
    pool = list(dict.fromkeys(seeds))
    known = set(pool)
    others = [one for one in dict.fromkeys(made) if one not in known] if made_shown else []
    own = some(others, min(made_shown, shown), seed, "made", round, slot)
    human = some(pool, shown - len(own), seed, "seeds", round, slot)
    return tuple(some(human + own, shown, seed, "order", round, slot))
