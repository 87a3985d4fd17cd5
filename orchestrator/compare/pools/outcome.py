"""What a comparison of pools is made of: what came of each arm's rounds and batches, and what all had in common."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.records import BatchRow
from orchestrator.generation.stages import Counts, Spend, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """One round: what it brought and what it took, replayed calls as if they were paid.

    answered: prompts to which a completion came, usable or not.
    """

    prompts: int
    answered: int
    lost: int
    counts: Counts
    spent: Mapping[Stage, Spend]

    @property
    def calls(self) -> int:
        return sum(spend.calls for spend in self.spent.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOutcome:
    """What one arm's run came to.

    guessed: completions that were lost and that another run had paid for; their tokens are a mean.
    trained: instructions in batches that moved the student. entered, left: seeds, by feedback.
    paid, replayed: every call of the run; seconds: those in which it was driven. reason: why it ended early.
    """

    arm: str
    run: str
    rounds: tuple[RoundOutcome, ...]
    batches: tuple[BatchRow, ...]
    seeds: int
    entered: int
    left: int
    trained: int
    guessed: int
    paid: int
    replayed: int
    seconds: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSetting:
    """What all arms had in common, and by arm what it has otherwise than the baseline, in words."""

    generator: str
    responder: str
    embedder: str
    student: str
    seeds: int
    max_calls: int
    baseline: str
    differs: Mapping[str, tuple[str, ...]]
