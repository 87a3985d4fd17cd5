"""Figures of a pool's report, computed from its story: the headline, and series short enough to draw."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil
from typing import TypeVar

from db.records import BatchRow, RoundRow
from orchestrator.report.numbers import describe
from orchestrator.report.pool_model import PoolHeadline, PoolStory, RoundSpan, StepSpan
from orchestrator.report.spending import price

# More marks than these would stand closer than they can be told apart.
MOST_MARKS = 160

T = TypeVar("T")


def headline(story: PoolStory) -> PoolHeadline:
    run, counts = story.run, story.counts
    steps = steps_taken(story.batches)
    good = [batch for batch in steps if batch.reason is None]
    return PoolHeadline(
        name=run.name,
        recipe=run.recipe,
        status=run.status,
        reason=run.reason,
        started=run.created_at,
        finished=run.finished_at,
        driven_s=run.driven_s,
        generated=counts.generated,
        passed=counts.kept,
        kept=counts.with_instance,
        kept_share=counts.with_instance / counts.generated if counts.generated else None,
        accepted=counts.accepted,
        instances=counts.accepted + counts.rejected + counts.failed,
        seeds=counts.seeds,
        seeds_now=counts.seeds + story.moved.entered - story.moved.left,
        rounds=len(story.rounds),
        rounds_done=sum(row.status == "done" for row in story.rounds),
        prompts=sum(row.prompts for row in story.rounds),
        steps=len(steps),
        loss=good[-1].loss if good else None,
        gradient_norm=good[-1].gradient_norm if good else None,
        diversity=describe(batch.diversity for batch in story.batches).mean,
        diversity_random=describe(batch.diversity_random for batch in story.batches).mean,
        calls=run.spent.calls,
        calls_replayed=run.calls_replayed,
        tokens=run.spent.tokens,
        tokens_in=sum(role.tokens_in for role in story.spend),
        tokens_out=sum(role.tokens_out for role in story.spend),
        nusd=price(story.spend, run.spent.nusd),
        nusd_known=run.spent.nusd,
        caps=run.caps,
    )


def steps_taken(batches: Iterable[BatchRow]) -> list[BatchRow]:
    """Those that had their step, in its order."""
    return sorted((batch for batch in batches if batch.seconds is not None), key=lambda batch: batch.step)


def prompts_lost(rounds: Iterable[RoundRow]) -> list[tuple[str, int]]:
    """Completions that held nothing, by reason, the most frequent first."""
    lost: Counter[str] = Counter()
    for row in rounds:
        lost.update(row.prompts_lost)
    return sorted(lost.items(), key=lambda item: (-item[1], item[0]))


def round_spans(story: PoolStory) -> list[RoundSpan]:
    """The rounds in their order, neighbours together where there are too many to draw."""
    by_round: dict[int, list[BatchRow]] = {}
    for batch in story.batches:
        by_round.setdefault(batch.round, []).append(batch)
    spans = []
    for rows in _parts(story.rounds):
        batches = [batch for row in rows for batch in by_round.get(row.ordinal, ())]
        spans.append(
            RoundSpan(
                first=rows[0].ordinal,
                last=rows[-1].ordinal,
                generated=sum(row.generated for row in rows),
                kept=sum(row.kept for row in rows),
                diversity=describe(batch.diversity for batch in batches).mean,
                diversity_random=describe(batch.diversity_random for batch in batches).mean,
            )
        )
    return spans


def step_spans(story: PoolStory) -> list[StepSpan]:
    """The steps taken, in their order, neighbours together where there are too many to draw."""
    return [
        StepSpan(
            first=rows[0].step,
            last=rows[-1].step,
            first_round=rows[0].round,
            loss=describe(row.loss for row in rows if row.reason is None).mean,
            gradient_norm=describe(row.gradient_norm for row in rows if row.reason is None).mean,
            marked=tuple(sorted(Counter(row.reason for row in rows if row.reason is not None).items())),
        )
        for rows in _parts(steps_taken(story.batches))
    ]


def _parts(rows: Sequence[T]) -> list[Sequence[T]]:
    """`rows` cut into at most `MOST_MARKS` parts of one size, the last one shorter."""
    size = max(1, ceil(len(rows) / MOST_MARKS))
    return [rows[start : start + size] for start in range(0, len(rows), size)]
