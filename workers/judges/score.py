"""What every judge takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workers.asking import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One judge's word on one candidate: dimension -> score, tags if it counts them, and the calls behind it."""

    values: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    replayed: int = 0


class Judge(Protocol):
    """Scores siblings, with their parent as anchor where it can use one."""

    @property
    def dimensions(self) -> tuple[str, ...]: ...

    async def score(self, candidates: Sequence[Candidate], parent: str | None, ask: Ask) -> Mapping[str, Scores]: ...
