"""Which candidates of a grown forest become examples: the best, or some at random, near-copies turned away. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process
from rapidfuzz.utils import default_process

from orchestrator.search.ids import draw
from workers.contracts import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A path node of a grown tree. `worth` is its score, or an estimate of it."""

    tree_id: int
    tree: int
    key: str
    parent: str | None
    text: str
    worth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    candidate: Candidate
    rejected: Reason | None


# Candidates are taken in the order of these.
Rank = tuple[float, float, str]


def rank_of(mode: str, seed: int) -> Callable[[Candidate], Rank]:
    """The order in which candidates are taken: at random (mode `paths`), or the best first."""
    if mode == "paths":
        return lambda c: (draw(seed, "harvest", c.tree, c.key), 0.0, c.key)
    return lambda c: (-c.worth, float(c.tree), c.key)


class Choice:
    """Goes through candidates until `size` are accepted, refusing near-copies.

    A near-copy is a text whose letters are alike to an accepted one, or to a seed, by at least `duplicate` (0..1).
    """

    def __init__(self, seeds: Sequence[str], *, size: int, duplicate: float) -> None:
        self._taken = [default_process(text) for text in seeds]
        self._left = size
        self._least = 100 * duplicate
        self.verdicts: list[Verdict] = []

    @property
    def is_full(self) -> bool:
        return self._left <= 0

    def take(self, candidates: Iterable[Candidate]) -> None:
        """Judges one after the other, as long as there is room."""
        for candidate in candidates:
            if self.is_full:
                return
            text = default_process(candidate.text)
            near = process.extractOne(text, self._taken, scorer=fuzz.ratio, processor=None, score_cutoff=self._least)
            self.verdicts.append(Verdict(candidate=candidate, rejected=Reason.DUPLICATE if near else None))
            if near is None:
                self._left -= 1
                self._taken.append(text)
