"""What came of an arm that widens a pool, read from its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from db import pool_costs, pool_views, pools
from db.pool_costs import Calls, RoundYield
from db.records import BatchRow, Run
from orchestrator.compare.pools.outcome import PoolOutcome, RoundOutcome
from orchestrator.generation.stages import Counts, Spend, Stage, together

_STAGES = {Stage.GENERATE: "generate", Stage.INSTANCE: "instance"}


def outcome_of(connection: Connection, arm: str, run: Run) -> PoolOutcome:
    """The rounds of an arm's run in their order, its batches in that of their steps."""
    rows, batches = pool_costs.rounds(connection, run.id), pools.batches_of(connection, run.id)
    used, lost = pool_costs.calls_by_round(connection, run.id), pool_costs.calls_of_lost(connection, run.id)
    moves = pool_views.seed_moves(connection, run.id)
    return PoolOutcome(
        arm=arm,
        run=run.name,
        rounds=rounds_of(rows, used, lost, batches),
        batches=tuple(batches),
        seeds=pool_views.seeds(connection, run.id),
        entered=moves.entered,
        left=moves.left,
        trained=pool_views.counts(connection, run.id).trained,
        guessed=max(0, sum(row.lost_answered for row in rows) - lost.calls),
        paid=run.spent.calls,
        replayed=run.calls_replayed,
        seconds=run.driven_s,
        reason=run.reason,
    )


def rounds_of(
    rows: Sequence[RoundYield],
    used: Mapping[tuple[int, str], Calls],
    lost: Calls,
    batches: Sequence[BatchRow],
) -> tuple[RoundOutcome, ...]:
    """The rounds with what they took.

    A completion of which nothing was taken is one call too, but no row says of which round it was, nor, where another
    run had paid for it, what it took: each counts as the mean of those this run paid for, else of all its completions.
    """
    known = together([_spend(calls) for (_, stage), calls in used.items() if stage == _STAGES[Stage.GENERATE]])
    mean = _spend(lost) if lost.calls else known
    return tuple(_round(row, used, mean, batches) for row in rows)


def _round(
    row: RoundYield, used: Mapping[tuple[int, str], Calls], mean: Spend, batches: Sequence[BatchRow]
) -> RoundOutcome:
    spent = {stage: _spend(used.get((row.ordinal, name), Calls())) for stage, name in _STAGES.items()}
    spent[Stage.GENERATE] = together([spent[Stage.GENERATE], _times(mean, row.lost_answered)])
    spent[Stage.FILTER], spent[Stage.EMBED] = Spend(seconds=row.filter_s), Spend(seconds=row.embed_s)
    spent[Stage.TRAIN] = Spend(seconds=sum(one.seconds or 0.0 for one in batches if one.round == row.ordinal))
    return RoundOutcome(
        prompts=row.prompts,
        answered=row.prompts - row.lost + row.lost_answered,
        lost=row.lost,
        counts=Counts(
            generated=row.generated,
            after_heuristics=row.after_heuristics,
            after_gate=row.after_gate,
            with_instance=row.with_instance,
        ),
        spent=spent,
    )


def _spend(calls: Calls) -> Spend:
    return Spend(calls=calls.calls, tokens=calls.tokens, nusd=calls.nusd, seconds=calls.seconds)


def _times(of_all: Spend, count: int) -> Spend:
    """`count` calls, each the mean of `of_all`; of no calls nothing is known but their number."""
    if not count or not of_all.calls:
        return Spend(calls=count, nusd=None if count else 0)
    each = count / of_all.calls
    return replace(
        of_all,
        calls=count,
        tokens=round(of_all.tokens * each),
        nusd=None if of_all.nusd is None else round(of_all.nusd * each),
        seconds=of_all.seconds * each,
    )
