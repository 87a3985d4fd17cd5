"""How a run that widens a pool is getting on: the part of its status that a run of trees has not."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from db import pool_views, views
from db.pool_views import Lessons, PoolCounts, RoundCounts
from db.records import Run
from orchestrator.generation.settings import POOLS
from orchestrator.generation.stages import Counts, Row, Spend, Stage, table
from workers.config import NUSD_PER_USD, Role

_STAGE_OF = {Role.GENERATOR.value: Stage.GENERATE, Role.RESPONDER.value: Stage.INSTANCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A pool's texts, rounds and training, each counted once for all that is told of them."""

    counts: PoolCounts
    rounds: RoundCounts
    lessons: Lessons


def counted(connection: Connection, run: Run) -> Counted:
    return Counted(
        counts=pool_views.counts(connection, run.id),
        rounds=pool_views.round_counts(connection, run.id),
        lessons=pool_views.lessons(connection, run.id),
    )


def is_pool(run: Run) -> bool:
    """Whether the run widens a pool instead of growing trees."""
    return run.recipe in POOLS


def stages_of(connection: Connection, run: Run) -> tuple[Row, ...]:
    """What every stage of a run kept and cost; one kept instruction is one with a good instance.

    Seconds of `generate` and `instance` are those in which calls were waited for, one after the other however many
    were under way at once; of the others, those of their computing.
    """
    return _stages(connection, run, counted(connection, run))


def _stages(connection: Connection, run: Run, pool: Counted) -> tuple[Row, ...]:
    found, lessons = pool.counts, pool.lessons
    spent = {
        stage: Spend(
            calls=role["calls"],
            tokens=role["tokens_in"] + role["tokens_out"],
            nusd=role["nusd"],
            seconds=role["calls"] * float(role["mean_latency_s"] or 0.0),
        )
        for role in views.role_spend(connection, run.id)
        if (stage := _STAGE_OF.get(role["role"]))
    }
    spent[Stage.FILTER] = Spend(seconds=pool.rounds.filter_s)
    spent[Stage.EMBED] = Spend(seconds=pool.rounds.embed_s)
    spent[Stage.TRAIN] = Spend(seconds=lessons.seconds)
    counts = Counts(
        generated=found.generated,
        after_heuristics=found.after_heuristics,
        after_gate=found.kept,
        with_instance=found.with_instance,
        trained=found.trained,
    )
    rows = table(counts, spent)
    return rows if run.config.get("train") or lessons.batches else tuple(_idle(row) for row in rows)


def _idle(row: Row) -> Row:
    """Without training nothing goes through the stages that serve it alone: a share of zero would be no fact."""
    unused = row.stage in (Stage.EMBED, Stage.TRAIN)
    return replace(row, entered=0, kept=0, share=None) if unused else row


def pool_of(connection: Connection, run: Run, pool: Counted) -> dict[str, Any]:
    """The value of `pool` in a run's status. `kept` are texts that the gate let through, seeds not among them."""
    found, rounds, lessons = pool.counts, pool.rounds, pool.lessons
    moves = pool_views.seed_moves(connection, run.id)
    return {
        "rounds": rounds.begun,
        "rounds_done": rounds.done,
        "target": _bound(run, "target"),
        "prompts": rounds.prompts,
        "prompts_lost": dict(rounds.prompts_lost),
        "generated": found.generated,
        "kept": found.kept,
        "kept_share": _share(found.kept, found.generated),
        "with_instance": found.with_instance,
        "seeds_now": found.seeds + moves.entered - moves.left,
        "seeds_entered": moves.entered,
        "seeds_left": moves.left,
        "steps": lessons.steps,
        "steps_marked": dict(lessons.marked),
        "loss": _rounded(lessons.loss),
        "gradient_norm": _rounded(lessons.gradient_norm),
        "brings": _rounded(lessons.brings),
        "diversity_within": _rounded(lessons.diversity),
        "diversity_random": _rounded(lessons.diversity_random),
        "stages": [stage_json(row) for row in _stages(connection, run, pool)],
    }


def stage_json(row: Row) -> dict[str, Any]:
    """One stage, or all together (`total`). What one kept instruction cost is None where none was kept."""
    spend, each = row.spend, row.each
    return {
        "stage": row.stage.value if row.stage else "total",
        "entered": row.entered,
        "kept": row.kept,
        "share": _rounded(row.share),
        "calls": spend.calls,
        "tokens": spend.tokens,
        "usd": _usd(spend.nusd),
        "seconds": round(spend.seconds, 3),
        "calls_each": _rounded(each.calls) if each else None,
        "tokens_each": _rounded(each.tokens) if each else None,
        "usd_each": _usd(each.nusd) if each else None,
        "seconds_each": _rounded(each.seconds) if each else None,
    }


def _bound(run: Run, name: str) -> int | None:
    """One of the bounds in the run's options; a status is no place to check them."""
    value = run.config.get("rounds", {}).get(name)
    return value if isinstance(value, int) else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _usd(nusd: float | None) -> float | None:
    return None if nusd is None else nusd / NUSD_PER_USD
