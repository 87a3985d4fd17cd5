"""A comparison as one JSON object."""

import json
from typing import Any

from orchestrator.compare.bootstrap import Estimate
from orchestrator.compare.figures import Comparison, Lead, SeedFigures, Standing
from orchestrator.compare.outcome import BENCHES, Setting
from orchestrator.compare.wording import calls_per_seed, notes


def as_json(name: str, comparison: Comparison, setting: Setting) -> str:
    """Every figure, those of each seed included, and the notes that belong to them."""
    return json.dumps(_record(name, comparison, setting), allow_nan=False)


def _record(name: str, comparison: Comparison, setting: Setting) -> dict[str, Any]:
    return {
        "name": name,
        "seeds": len(comparison.standings[0].seeds),
        "max_calls": setting.max_calls,
        "calls_per_seed": setting.share,
        "top": setting.top,
        "models": {"evolver": setting.evolver, "search": setting.judge, "held_out": setting.examiner},
        "judged_by": {"search": setting.judged_by, "held_out": setting.examined_by},
        "baseline": comparison.baseline,
        "used_range": {bench: comparison.used[bench] for bench in BENCHES},
        "mean_seed": {bench: _estimate(comparison.roots[bench]) for bench in BENCHES},
        "recipes": [_standing(one) for one in comparison.standings],
        "ranking": [one.recipe for one in comparison.ranked()],
        "notes": notes(comparison, setting),
    }


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "recipe": one.recipe,
        "run": one.run,
        "stopped": one.reason,
        **{bench: {"mean": _estimate(one.means[bench]), "lead": _lead(one.leads[bench])} for bench in BENCHES},
        "calls": one.calls,
        "calls_per_seed": calls_per_seed(one),
        "scored": one.scored,
        "rejected": one.rejected,
        "lost": one.lost,
        "paid": one.paid,
        "replayed": one.replayed,
        "seconds": one.seconds,
        "calls_per_s": one.calls_per_s,
        "per_seed": [_seed(seed) for seed in one.seeds],
    }


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    low, high = found.interval or (None, None)
    return {"value": found.mean, "low": low, "high": high, "seeds": found.n}


def _lead(found: Lead | None) -> dict[str, Any] | None:
    return None if found is None else {"points": _estimate(found.over), "share": found.share}


def _seed(seed: SeedFigures) -> dict[str, Any]:
    return {
        **{bench: seed.values[bench] for bench in BENCHES},
        "harvested": seed.harvested,
        "unjudged": seed.unjudged,
        "calls": seed.calls,
        "scored": seed.scored,
        "rejected": seed.rejected,
        "lost": seed.lost,
    }
