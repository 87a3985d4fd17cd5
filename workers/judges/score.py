"""What every judge takes and gives."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

    `refused` is why it could not be asked, if it could not.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    replayed: int = 0
    refused: Reason | None = None


class Judge(Protocol):
    """Scores siblings, with their parent as anchor where it can use one."""

    @property
    def dimensions(self) -> tuple[str, ...]: ...

    async def score(self, candidates: Sequence[Candidate], parent: str | None, ask: Ask) -> Mapping[str, Scores]: ...


async def one_by_one(
    candidates: Sequence[Candidate], score: Callable[[Candidate], Awaitable[Scores]]
) -> Mapping[str, Scores]:
    """Scores of candidates that are asked about each by itself. One whose call is refused has none, alone."""

    async def attempt(candidate: Candidate) -> Scores:
        try:
            return await score(candidate)
        except CallRefused as error:
            return Scores(refused=reason_of(error))

    scored = await all_of(attempt(candidate) for candidate in candidates)
    return {candidate.key: scores for candidate, scores in zip(candidates, scored, strict=True)}


def said(answer: Answer) -> str:
    """What there is to read in a judge's answer: nothing where it declined or was filtered."""
    return "" if answer.fault in (Reason.REFUSAL, Reason.CONTENT_FILTER) else answer.text
