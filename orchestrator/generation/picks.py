"""Which instructions of a moving batch become seeds."""

from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator.diversity.lexical import LexicalPool
from orchestrator.generation.draws import some

Pick = Literal["farthest", "norm", "random"]
# So low that every text with a token in common has a nearest one.
_ANY = 1e-9


def farthest(pool: Sequence[str], candidates: Mapping[int, str], count: int) -> list[int]:
    """The candidates whose nearest text of the pool (those taken before included) is the least near by ROUGE-L F1.

    Of equally far ones the lower ordinal.
    """
    known = LexicalPool(_ANY)
    known.add(pool)
    left, taken = sorted(candidates), list[int]()
    while left and len(taken) < count:
        one = min(left, key=lambda one: _nearness(known, candidates[one]))
        left.remove(one)
        known.add([candidates[one]])
        taken.append(one)
    return taken


def _nearness(known: LexicalPool, text: str) -> float:
    nearest = known.near(text)
    return nearest.similarity if nearest else 0.0


def largest(norms: Mapping[int, float | None], count: int) -> list[int]:
    """Those with the largest own gradient norm; where none was measured, last. Of equal ones the lower ordinal."""
    return sorted(norms, key=lambda one: (-(norms[one] or 0.0), one))[:count]


def at_random(candidates: Sequence[int], count: int, seed: int, *place: object) -> list[int]:
    return some(sorted(candidates), count, seed, "entering", *place)
