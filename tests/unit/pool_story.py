"""A made-up but lifelike run of a pool recipe: rounds, rejections, steps of training, a history of the seed pool.

Seeded, so the same arguments give the same story. `python -m tests.unit.pool_story OUT.html` writes its page.
"""

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

from db.pool_rows import Brought, MadeExample, Shown
from db.pool_views import (
    PoolCounts,
    Refusal,
    RefusedInstance,
    RefusedText,
    SeedMove,
    SeedMoves,
)
from db.records import BatchRow, RoundRow
from orchestrator.generation.stages import Counts, Spend, Stage, table
from orchestrator.report.model import RoleSpend
from orchestrator.report.pool_model import OddExample, PoolStory
from tests.unit.report_story import SEEDS, run

TEXTS = (
    "Rank the following cities by how far they lie from the sea.",
    "Write a short apology for a parcel that came late.",
    "Tell whether this review is friendly or hostile.",
    "Name three uses of vinegar besides cooking, and say why each works.",
)
HEURISTICS = ("undoable", "too_short", "program", "odd_start")
BATCH = 8


def story(*, seed: int = 7, rounds: int = 40, train: bool = True) -> PoolStory:
    """A finished run; every tenth of its rounds fed back where a student was trained."""
    rng = Random(seed)
    rows = tuple(_round(rng, number) for number in range(rounds))
    generated, kept = sum(row.generated for row in rows), sum(row.kept for row in rows)
    heuristics = generated // 10
    good = kept - kept // 12
    batches = tuple(_batch(rng, step) for step in range(good // BATCH)) if train else ()
    moves = _moves(rng, rounds)[-200:] if train else ()
    counts = PoolCounts(
        seeds=175,
        generated=generated,
        after_heuristics=generated - heuristics,
        kept=kept,
        unsettled=0,
        with_instance=good,
        trained=len(batches) * BATCH,
        accepted=good + good // 3,
        rejected=good // 9,
        failed=3,
    )
    spend = (
        RoleSpend(role="generator", calls=rounds * 8, tokens_in=rounds * 4000, tokens_out=rounds * 1500, nusd=9_000_000,
                  mean_latency_s=3.0, models=("gemma-3-270m",)),
        RoleSpend(role="responder", calls=kept * 2, tokens_in=kept * 500, tokens_out=kept * 90, nusd=40_000_000,
                  mean_latency_s=1.2, models=("gemma-3-270m",)),
    )  # fmt: skip
    return PoolStory(
        run=replace(
            run(175, spend), name="wide-1", recipe="sedi-instruct" if train else "self-instruct", driven_s=5_400.0
        ),
        counts=counts,
        rounds=rows,
        batches=batches,
        stages=stages(counts, batches, spend),
        text_reasons=(
            Refusal(status="rejected", reason="duplicate", count=generated - heuristics - kept),
            *(Refusal(status="rejected", reason=reason, count=heuristics // 4) for reason in HEURISTICS),
        ),
        instance_reasons=(
            Refusal(status="rejected", reason="contradictory", count=good // 9),
            Refusal(status="failed", reason="call_failed", count=3),
        ),
        refused_texts=_refused(rng),
        refused_instances=(
            RefusedInstance(
                ordinal=212,
                status="rejected",
                reason="contradictory",
                instruction=TEXTS[2],
                input="I liked it.",
                output="hostile",
            ),
        ),
        moves=moves,
        moved=SeedMoves(entered=len(moves) // 2, left=len(moves) // 2),
        examples=tuple(_example(rng, 180 + 9 * i) for i in range(12)),
        best=tuple(replace(_example(rng, 400 + i), brings=2.5 - i / 10) for i in range(20)) if train else (),
        brought=Brought(measured=good, nothing=good // 50) if train else Brought(measured=0, nothing=0),
        strangest=tuple(
            OddExample(example=_example(rng, 500 + i), why=f"an output of {9000 - i:,} characters") for i in range(3)
        ),
        spend=spend,
    )


def stages(counts: PoolCounts, batches: tuple[BatchRow, ...], spend: tuple[RoleSpend, ...]):
    made, answered = (
        Spend(calls=role.calls, tokens=role.tokens_in + role.tokens_out, nusd=role.nusd, seconds=role.calls * 2.0)
        for role in spend
    )
    return table(
        Counts(
            generated=counts.generated,
            after_heuristics=counts.after_heuristics,
            after_gate=counts.kept,
            with_instance=counts.with_instance,
            trained=counts.trained,
        ),
        {
            Stage.GENERATE: made,
            Stage.FILTER: Spend(seconds=1.3),
            Stage.EMBED: Spend(seconds=4.0),
            Stage.INSTANCE: answered,
            Stage.TRAIN: Spend(seconds=sum(batch.seconds or 0.0 for batch in batches)),
        },
    )


def _round(rng: Random, number: int) -> RoundRow:
    generated = rng.randint(24, 40)
    return RoundRow(
        ordinal=number,
        status="done",
        prompts=8,
        prompts_lost={"cut_off": 1} if number % 7 == 3 else {},
        generated=generated,
        kept=round(generated * max(0.2, 0.8 - number / 90 + rng.uniform(-0.1, 0.1))),
        filter_s=0.02,
        embed_s=0.1,
    )


def _batch(rng: Random, step: int) -> BatchRow:
    bad = step % 17 == 11
    chance = 0.66 + rng.uniform(-0.02, 0.02)
    return BatchRow(
        round=step // 2,
        ordinal=step % 2,
        members=tuple(range(175 + step * BATCH, 175 + (step + 1) * BATCH)),
        arrangement="diverse",
        diversity=chance + 0.06,
        diversity_random=chance,
        step=step,
        gradient_norm=None if bad else 3.4 - step / 60 + rng.uniform(-0.6, 0.6),
        loss=None if bad else 3.1 - step / 80 + rng.uniform(-0.2, 0.2),
        seconds=2.0,
        reason="not_finite" if bad else None,
    )


def _moves(rng: Random, rounds: int) -> tuple[SeedMove, ...]:
    return tuple(
        SeedMove(
            round=number,
            event=event,
            ordinal=at if event == "left" else 175 + 20 * number + at,
            origin="seed" if event == "left" else "generated",
            reason="weak: the mean norm signal of the batches with its offspring is 1.204"
            if event == "left"
            else f"farthest of batch 1 of round {number - 3}, whose norm signal is 4.117",
            text=rng.choice(SEEDS)[0] if event == "left" else rng.choice(TEXTS),
        )
        for number in range(9, rounds, 10)
        for event in ("entered", "left")
        for at in range(number, number + 4)
    )


def _refused(rng: Random) -> tuple[RefusedText, ...]:
    copies = tuple(
        RefusedText(
            ordinal=190 + i,
            round=i,
            reason="duplicate",
            text=rng.choice(SEEDS)[0].replace("a ", "one "),
            similarity=0.8461,
            nearest=i,
            nearest_origin="seed",
            nearest_text=SEEDS[i][0],
        )
        for i in range(4)
    )
    odd = tuple(
        RefusedText(ordinal=200 + i, round=i, reason=reason, text=f"{reason}: draw a picture of this graph.")
        for i, reason in enumerate(HEURISTICS)
    )
    return (*copies, *odd)


def _example(rng: Random, ordinal: int) -> MadeExample:
    return MadeExample(
        ordinal=ordinal,
        instance=0,
        round=ordinal // 30,
        instruction=rng.choice(TEXTS),
        input="Lisbon, Madrid, Prague" if ordinal % 2 else "",
        output="Lisbon, Prague, Madrid: the first lies on the coast.",
        shown=tuple(Shown(ordinal=i, origin="seed", text=text) for i, (text, _) in enumerate(SEEDS[:8])),
    )


if __name__ == "__main__":
    from orchestrator.report import render_pool

    Path(sys.argv[1]).write_text(render_pool(story(rounds=int(sys.argv[2]) if len(sys.argv) > 2 else 40)), "utf-8")
