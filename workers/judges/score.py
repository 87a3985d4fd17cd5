"""What every judge takes and gives."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from workers.asking import Answer, Ask, all_of, reason_of
from workers.contracts import Reason
from workers.llm.errors import CallRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One judge's word on one candidate: dimension -> score, tags if it counts them, and the calls behind it.

    `reason` is why something is absent, where that is known: it could not be asked, or what it said is of another form.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    replayed: int = 0
    reason: Reason | None = None


class Judge(Protocol):
    """Scores siblings, with their parent as anchor where it can use one.

    They are shown in the order given. `sample` tells apart several judgements of the same texts; `repeats` is how often
    it may be asked again while the best are undecided.
    """

    @property
    def dimensions(self) -> tuple[str, ...]: ...

    @property
    def repeats(self) -> int: ...

    async def score(
        self, candidates: Sequence[Candidate], parent: str | None, ask: Ask, *, sample: int = 0
    ) -> Mapping[str, Scores]: ...


def arranged(candidates: Sequence[Candidate], sample: int) -> list[Candidate]:
    """The order in which siblings are shown: drawn from their keys and the sample alone, whoever was proposed first.

    Each odd sample turns the order of the even one before it round, so that over the two every place is as good.
    """
    keys = sorted(candidate.key for candidate in candidates)
    place = "\x1f".join([str(sample // 2), *keys])

    def lot(candidate: Candidate) -> bytes:
        return blake2b(f"{place}\x1e{candidate.key}".encode(), digest_size=8).digest()

    return sorted(candidates, key=lot, reverse=sample % 2 == 1)


async def one_by_one(
    candidates: Sequence[Candidate], score: Callable[[Candidate], Awaitable[Scores]]
) -> Mapping[str, Scores]:
    """Scores of candidates that are asked about each by itself. One whose call is refused has none, alone."""

    async def attempt(candidate: Candidate) -> Scores:
        try:
            return await score(candidate)
        except CallRefused as error:
            return Scores(reason=reason_of(error))

    scored = await all_of(attempt(candidate) for candidate in candidates)
    return {candidate.key: scores for candidate, scores in zip(candidates, scored, strict=True)}


def said(answer: Answer) -> str:
    """What there is to read in a judge's answer: nothing where it declined or was filtered."""
    return "" if answer.fault in (Reason.REFUSAL, Reason.CONTENT_FILTER) else answer.text
