"""Which instructions of a moving batch become seeds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from rapidfuzz.distance import LCSseq

from orchestrator.diversity.tokens import all_tokens
from orchestrator.generation.draws import some

Pick = Literal["farthest", "norm", "random"]


def farthest(pool: Sequence[str], candidates: Mapping[int, str], count: int) -> list[int]:
    """The candidates whose nearest text of the pool (those taken before included) is the least near by ROUGE-L F1.

    Of equally far ones the lower ordinal.
    """
    words = {one: all_tokens(text) for one, text in candidates.items()}
    nearest = {
        one: max((_rouge_l(words[one], all_tokens(text)) for text in pool), default=0.0) for one in sorted(candidates)
    }
    taken: list[int] = []
    while nearest and len(taken) < count:
        one = min(nearest, key=nearest.__getitem__)
        del nearest[one]
        taken.append(one)
        nearest = {other: max(near, _rouge_l(words[other], words[one])) for other, near in nearest.items()}
    return taken


def largest(norms: Mapping[int, float | None], count: int) -> list[int]:
    """Those with the largest own gradient norm; where none was measured, last. Of equal ones the lower ordinal."""
    return sorted(norms, key=lambda one: (-(norms[one] or 0.0), one))[:count]


def at_random(candidates: Sequence[int], count: int, seed: int, *place: object) -> list[int]:
    return some(sorted(candidates), count, seed, "entering", *place)


def _rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    if not one or not other:
        return 0.0
    numbers: dict[str, int] = {}
    ours, theirs = (list(_numbered(text, numbers)) for text in (one, other))
    return 2 * LCSseq.similarity(ours, theirs) / (len(one) + len(other))


def _numbered(text: Sequence[str], numbers: dict[str, int]) -> Iterator[int]:
    return (numbers.setdefault(token, len(numbers)) for token in text)
