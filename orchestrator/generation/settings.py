"""Recipes that grow a pool by generation: their options, and how the published ones set them."""

from typing import Any

from pydantic import Field, model_validator

from orchestrator.generation.batches import Arrangement
from orchestrator.generation.feedback import FeedbackRules, Signal
from orchestrator.generation.picks import Pick
from orchestrator.generation.signal import TERMS, Term
from workers.config import Settings


class RoundSettings(Settings):
    """How rounds of generation follow each other.

    target: so many kept instructions are enough. most: so many rounds at most. calls: no round is begun once the run
        has used so many calls, replayed ones counted as if they were paid: what makes recipes comparable.
    prompts: of a round. ahead: rounds that may be begun before an earlier one has been filtered; a round shows the pool
        as it was `ahead` rounds before, so the number of workers changes nothing.
    shown, made_shown: demonstrations of a prompt, and how many of them may be machine-written.
    floor, window: the run ends when of the last `window` rounds' texts a smaller share than `floor` was kept.
    """

    target: int = Field(default=1000, ge=1, le=10_000_000)
    most: int = Field(default=100_000, ge=1, le=10_000_000)
    calls: int | None = Field(default=None, ge=1, le=1_000_000_000)
    prompts: int = Field(default=8, ge=1, le=180)
    ahead: int = Field(default=1, ge=0, le=100)
    shown: int = Field(default=8, ge=1, le=100)
    made_shown: int = Field(default=2, ge=0, le=100)
    floor: float = Field(default=0.02, ge=0, lt=1)
    window: int = Field(default=5, ge=1, le=1000)

    @model_validator(mode="after")
    def _made_are_shown(self) -> "RoundSettings":
        if self.made_shown > self.shown:
            raise ValueError(f"made_shown {self.made_shown} is more than all that is shown ({self.shown})")
        return self


class FilterSettings(Settings):
    """ROUGE-L F1 above which a text is refused as a near-copy of a seed or of a kept text (papers.md, 2.2 and 3.1)."""

    lexical: float = Field(default=0.7, gt=0, le=1)


class BatchSettings(Settings):
    """What is trained on together.

    arrangement: `swapped`, as diverse inside as swaps make it; `diverse`, one of each cluster; `random`, the control.
    random_arrangements: so many are drawn for comparison with each round's batches.
    """

    size: int = Field(default=8, ge=2, le=1024)
    arrangement: Arrangement = "swapped"
    random_arrangements: int = Field(default=50, ge=1, le=1000)


class FeedbackSettings(Settings):
    """What training says of the seed pool: `orchestrator.generation.feedback` gives the meaning of each."""

    on: bool = True
    every: int = Field(default=10, ge=1, le=10_000)
    top_batches: int = Field(default=1, ge=1, le=1000)
    enter: int = Field(default=4, ge=0, le=1000)
    leave: int = Field(default=4, ge=0, le=1000)
    pick: Pick = "farthest"
    fixed_size: bool = True
    least: int = Field(default=8, ge=1, le=1_000_000)
    signal: Signal = "norm"
    terms: tuple[Term, ...] = TERMS

    def rules(self) -> FeedbackRules:
        return FeedbackRules(**self.model_dump(exclude={"on"}))


class SediRounds(RoundSettings):
    """A random subset of the current seeds, and none of the machine's own that is no seed."""

    made_shown: int = Field(default=0, ge=0, le=100)


class LooseFilter(FilterSettings):
    """Relaxed, because batches see to diversity (papers.md, 2.2)."""

    lexical: float = Field(default=0.85, gt=0, le=1)


class NoFeedback(FeedbackSettings):
    """The seeds stay what they were."""

    on: bool = False


# Beside generation itself a recipe may train a student (on a worker of queue `train`), or not. Classes, not values: an
# option that is set changes nothing else of its group.
POOLS: dict[str, dict[str, Any]] = {
    "self-instruct": {"rounds": RoundSettings(), "filter": FilterSettings(), "train": False, "feedback": NoFeedback()},
    "sedi-instruct": {"rounds": SediRounds(), "filter": LooseFilter(), "train": True, "feedback": FeedbackSettings()},
}
