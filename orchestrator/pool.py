"""The pool: which harvested instructions become examples. Pure."""

from collections.abc import Iterable, Sequence
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


def ranked(candidates: Iterable[Candidate], mode: str, seed: int) -> list[Candidate]:
    """The order in which candidates are taken: at random (mode `paths`), or the best first."""
    if mode == "paths":
        return sorted(candidates, key=lambda c: (draw(seed, "harvest", c.tree, c.key), c.key))
    return sorted(candidates, key=lambda c: (-c.worth, c.tree, c.key))


def choose(candidates: Iterable[Candidate], *, seeds: Sequence[str], size: int, duplicate: float) -> list[Verdict]:
    """Goes through the candidates until `size` are accepted, refusing near-copies.

    A near-copy is a text whose letters are alike to an accepted one, or to a seed, by at least `duplicate` (0..1).
    """
    taken = [default_process(text) for text in seeds]
    verdicts: list[Verdict] = []
    accepted = 0
    for candidate in candidates:
        if accepted >= size:
            break
        text = default_process(candidate.text)
        near = process.extractOne(text, taken, scorer=fuzz.ratio, processor=None, score_cutoff=100 * duplicate)
        verdicts.append(Verdict(candidate=candidate, rejected=Reason.DUPLICATE if near else None))
        if near is None:
            accepted += 1
            taken.append(text)
    return verdicts
