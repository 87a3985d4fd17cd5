"""A comparison of pools as one JSON object."""

import json
from typing import Any

from orchestrator.compare.bootstrap import Estimate
from orchestrator.compare.pools.figures import BASES, PASSED, UNITS, Comparison, Cost, Inside, Standing, Training
from orchestrator.compare.pools.outcome import PoolSetting
from orchestrator.compare.pools.wording import notes
from orchestrator.generation.stages import Each, Row, Spend
from workers.config import NUSD_PER_USD


def as_json(name: str, comparison: Comparison, setting: PoolSetting) -> str:
    """Every figure and the notes that belong to them."""
    return json.dumps(_record(name, comparison, setting), allow_nan=False)


def _record(name: str, comparison: Comparison, setting: PoolSetting) -> dict[str, Any]:
    return {
        "name": name,
        "seeds": setting.seeds,
        "max_calls": setting.max_calls,
        "models": {
            "generator": setting.generator,
            "responder": setting.responder,
            "embedder": setting.embedder,
            "student": setting.student,
        },
        "baseline": comparison.baseline,
        "differs": {arm: list(found) for arm, found in setting.differs.items()},
        "arms": [_standing(one) for one in comparison.standings],
        "notes": notes(comparison, setting),
    }


def _standing(one: Standing) -> dict[str, Any]:
    counts = one.counts
    return {
        "arm": one.arm,
        "run": one.run,
        "ended_early": one.reason,
        "rounds": one.rounds,
        "prompts": one.prompts,
        "prompts_lost": one.lost,
        "prompts_lost_guessed": one.guessed,
        "generated": counts.generated,
        **{kept: {"count": getattr(counts, kept), "share": _estimate(one.shares[kept])} for kept in PASSED},
        "trained": counts.trained,
        "calls": one.calls,
        "cost": {
            kept: {_unit(unit): _cost(unit, one.costs[basis][unit]) for unit in UNITS} for basis, kept in BASES.items()
        },
        "stages": [_stage(row) for row in one.stages],
        "inside": _inside(one.inside),
        "training": _training(one.training),
        "seed_pool": {"given": one.seeds, "entered": one.entered, "left": one.left},
        "paid": one.paid,
        "replayed": one.replayed,
        "seconds": one.seconds,
    }


def _unit(unit: str) -> str:
    return "usd" if unit == "nusd" else unit


def _cost(unit: str, cost: Cost) -> dict[str, Any]:
    return {
        "each": _estimate(cost.each, 1 / NUSD_PER_USD if unit == "nusd" else 1.0),
        "over_baseline": _estimate(cost.over),
    }


def _estimate(found: Estimate | None, factor: float = 1.0) -> dict[str, Any] | None:
    if found is None:
        return None
    low, high = (None, None) if found.interval is None else (end * factor for end in found.interval)
    return {"value": found.mean * factor, "low": low, "high": high, "n": found.n}


def _stage(row: Row) -> dict[str, Any]:
    return {
        "stage": str(row.stage or "all"),
        "entered": row.entered,
        "kept": row.kept,
        "share": row.share,
        **_spend(row.spend),
        "each": None if row.each is None else _spend(row.each),
    }


def _spend(spend: Spend | Each) -> dict[str, Any]:
    usd = None if spend.nusd is None else spend.nusd / NUSD_PER_USD
    return {"calls": spend.calls, "tokens": spend.tokens, "usd": usd, "seconds": spend.seconds}


def _inside(found: Inside | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "batches": _estimate(found.batches),
        "random": _estimate(found.random),
        "gain": _estimate(found.gain),
    }


def _training(found: Training | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "steps": found.steps,
        "marked": found.marked,
        "first_loss": found.first_loss,
        "last_loss": found.last_loss,
        "gradient_norm": found.norm,
    }
