"""A small run of the kind that is wanted, and what it says of the whole one."""

import random
from math import ceil
from typing import Any

from sqlalchemy import Connection

from db import progress, tree_costs, workers
from db.errors import ConfigError
from db.progress import Taken
from db.records import Run
from orchestrator import forecast
from orchestrator.compare.bootstrap import FEWEST, Estimate
from orchestrator.compare.pools.figures import compare
from orchestrator.compare.pools.gather import outcome_of
from orchestrator.config import PoolConfig, RunConfig, TreeConfig
from orchestrator.eta import warm_s
from orchestrator.forecast import Forecast, Means
from orchestrator.seeds import Seeds
from workers.config import NUSD_PER_USD, Role

# Of 400 draws of 24 among 175 grown trees of a scripted model, the range held the sum of all 175 in 91 % (calls), 94 %
# (tokens) and 94 % (rows); of 8 in 52, 80 and 88 %. The rounds of a pool are much more alike.
SEEDS, ROUNDS = 24, 8


def small(config: RunConfig, seeds: Seeds, sample: int | None) -> tuple[RunConfig, Seeds]:
    """The same kind of run with so many seeds, drawn at random; of a pool, with so many rounds.

    Raises:
        ConfigError: there are no more seeds than that.
    """
    if isinstance(config, PoolConfig):
        rounds = config.rounds.model_copy(update={"most": min(sample or ROUNDS, config.rounds.most)})
        return config.model_copy(update={"rounds": rounds}), seeds
    assert isinstance(config, TreeConfig)
    count, sample = len(seeds.seeds), sample or SEEDS
    if count <= sample:
        raise ConfigError(
            f"{count} seeds are no more than the {sample} of a small run: start the whole one with `instructree run`, "
            f"or give a lower --sample ({FEWEST} at least)"
        )
    drawn = sorted(random.Random(config.seed).sample(range(count), sample))
    harvest = config.harvest.model_copy(update={"size": ceil(config.harvest.size * sample / count)})
    few = Seeds(seeds=tuple(seeds.seeds[i] for i in drawn), duplicates=0)
    return config.model_copy(update={"harvest": harvest}), few


def told(connection: Connection, run: Run, config: RunConfig, seeds: int) -> dict[str, Any]:
    """What the whole run will come to, by its small one which has ended; `config` and `seeds` are the whole one's.

    Raises:
        ConfigError: a cap ended the small run, or nothing came of it.
    """
    whole = _whole(connection, run, config, seeds)
    if whole is None or run.status == "stopped":
        raise ConfigError(
            f"run {run.name} says nothing of a whole one ({run.reason or 'nothing came of it'}): "
            "raise the cap that ended it, or see what `instructree status` says of it"
        )
    hours = forecast.hours_of(whole, _means(connection, run, config))
    dollars = whole.nusd and forecast.times(whole.nusd, 1 / NUSD_PER_USD)
    pool = isinstance(config, PoolConfig)
    return {
        "run": run.name,
        "recipe": run.recipe,
        "of": whole.calls.n,
        "unit": "rounds" if pool else "seeds",
        "seeds": seeds,
        "calls": _span(whole.calls),
        "tokens": _span(whole.tokens),
        "usd": _span(dollars, digits=6),
        "hours": {"low": _rounded(hours[0], 4), "high": _rounded(hours[1], 4)},
        "rows": _span(whole.rows),
        "caps": forecast.reached(whole, hours, run.caps),
        "spent": {
            "calls": run.spent.calls,
            "tokens": run.spent.tokens,
            "usd": None if dollars is None else run.spent.nusd / NUSD_PER_USD,
            "seconds": round(run.driven_s, 1),
        },
    }


def _whole(connection: Connection, run: Run, config: RunConfig, seeds: int) -> Forecast | None:
    if isinstance(config, TreeConfig):
        return forecast.of_trees(tree_costs.of_run(connection, run.id), seeds, config.harvest.size)
    assert isinstance(config, PoolConfig)
    return forecast.of_pool(compare([outcome_of(connection, run.recipe, run)]).standings[0], config.rounds.target)


def _means(connection: Connection, run: Run, config: RunConfig) -> Means:
    taken = sum(progress.taken_by_role(connection, run.id).values(), Taken())
    paid_mostly = taken.calls > run.calls_replayed
    endpoints = [config.work.endpoints[name] for name in {config.work.role(role).endpoint for role in Role}]
    limits = [one.requests_per_minute for one in endpoints if one.requests_per_minute]
    return Means(
        slots=sum(worker.slots for worker in workers.alive(connection)),
        concurrency=sum(one.concurrency for one in endpoints),
        per_minute=sum(limits) if len(limits) == len(endpoints) else None,
        busy=taken.seconds / warm_s(connection, run) if paid_mostly else None,
    )


def _span(found: Estimate | None, digits: int = 0) -> dict[str, float | None] | None:
    """Low and high are None where there were too few units for an interval."""
    if found is None:
        return None
    low, high = found.interval or (None, None)
    return {"low": _rounded(low, digits), "mean": _rounded(found.mean, digits), "high": _rounded(high, digits)}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits or None)
