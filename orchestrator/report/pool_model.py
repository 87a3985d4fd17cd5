"""What the report of a run without trees is made from (`PoolStory`), and its headline figures. Values only.

Rounds, batches and steps count from 0, instructions by their ordinal in the run, as in the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from db.minutes import Minute
from db.pool_rows import Brought, MadeExample
from db.pool_views import (
    PoolCounts,
    Refusal,
    RefusedInstance,
    RefusedText,
    SeedMove,
    SeedMoves,
)
from db.records import BatchRow, Caps, RoundRow, Run
from orchestrator.generation.stages import Row
from orchestrator.report.happened import Happened
from orchestrator.report.model import RoleSpend


@dataclass(frozen=True, slots=True, kw_only=True)
class OddExample:
    """`why`: what is strange about it."""

    example: MadeExample
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStory:
    """Everything the report tells. The texts in it are samples, as many as the page shows; the counts are of all.

    moves: the latest changes of the seed pool, in their order; `moved` counts all of them. best: the examples whose
    instructions bring most to their answers; `brought` says of how many training told that.
    """

    run: Run
    counts: PoolCounts
    rounds: tuple[RoundRow, ...]
    batches: tuple[BatchRow, ...]
    stages: tuple[Row, ...]
    text_reasons: tuple[Refusal, ...]
    instance_reasons: tuple[Refusal, ...]
    refused_texts: tuple[RefusedText, ...]
    refused_instances: tuple[RefusedInstance, ...]
    moves: tuple[SeedMove, ...]
    moved: SeedMoves
    examples: tuple[MadeExample, ...]
    best: tuple[MadeExample, ...]
    brought: Brought
    strangest: tuple[OddExample, ...]
    spend: tuple[RoleSpend, ...]
    minutes: tuple[Minute, ...] = ()
    happened: Happened = field(default_factory=Happened)
    verdicts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolHeadline:
    """`kept` counts instructions with a good instance; `passed` those that the gate let through.

    driven_s: for so long it was worked on, pauses left out. loss, gradient_norm: of the last step that was not marked.
    nusd: None where part of the price is unknown.
    """

    name: str
    recipe: str
    status: str
    reason: str | None
    started: datetime
    finished: datetime | None
    driven_s: float
    generated: int
    passed: int
    kept: int
    kept_share: float | None
    accepted: int
    instances: int
    seeds: int
    seeds_now: int
    rounds: int
    rounds_done: int
    prompts: int
    steps: int
    loss: float | None
    gradient_norm: float | None
    diversity: float | None
    diversity_random: float | None
    calls: int
    calls_replayed: int
    tokens: int
    tokens_in: int
    tokens_out: int
    nusd: int | None
    nusd_known: int
    caps: Caps


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSpan:
    """Neighbouring rounds together, as few as one. The diversities are means over their batches."""

    first: int
    last: int
    generated: int
    kept: int
    diversity: float | None
    diversity_random: float | None

    @property
    def share(self) -> float | None:
        return self.kept / self.generated if self.generated else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpan:
    """Neighbouring steps together: means over those that were not marked, and how many were, by reason."""

    first: int
    last: int
    first_round: int
    loss: float | None
    gradient_norm: float | None
    marked: tuple[tuple[str, int], ...]
