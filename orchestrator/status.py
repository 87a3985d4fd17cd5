"""The state of a run as one object: what `status --json` prints, and what every display is drawn from."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from db import minutes, notices, pool_views, views, workers
from db.changes import TRAITS, endpoints_now
from db.minutes import Lately
from db.records import Run
from orchestrator.eta import eta_of
from orchestrator.pool_eta import pool_eta
from orchestrator.pool_status import counted, is_pool, pool_of
from workers.config import NUSD_PER_USD

_DIMENSIONS = ("quality", "diversity", "complexity", "reward")


def status_of(connection: Connection, run: Run) -> dict[str, Any]:
    """Counts, rates, spend and reasons, each counted from the rows. `pool` is None for a run that grows trees."""
    elapsed = views.elapsed_s(connection, run.id)
    lately = minutes.lately(connection, run.id)
    grown = _grown(connection, run, lately)
    return {
        "name": run.name,
        "recipe": run.recipe,
        "status": run.status,
        "phase": run.phase,
        "reason": run.reason,
        "stalled": run.stalled,
        **grown,
        **_spent(connection, run),
        "failures": dict(views.reasons(connection, run.id)),
        "failed_tasks": dict(views.failed_tasks(connection, run.id)),
        "mean_seed": _means(views.seed_means(connection, run.id)),
        "mean_evolved": _means(views.evolved_means(connection, run.id)),
        "mean_harvest": _means(views.harvest_means(connection, run.id)),
        "queues": {kind: dict(queue) for kind, queue in views.queues(connection, run.id).items()},
        "workers": [{**asdict(w), "silent_s": round(w.silent_s, 1)} for w in workers.alive(connection)],
        "refused": [asdict(one) for one in workers.refused(connection)],
        "changes": [change.row() for change in run.changes],
        "endpoints": _endpoints(run),
        "notices": [asdict(told) | {"at": told.at.isoformat()} for told in notices.of_run(connection, run.id)],
        "rate": {name: round(value, 3) for name, value in lately.rates().items()},
        "elapsed_s": round(elapsed, 1),
        "driven_s": round(run.driven_s, 1),
    }


def light_status(connection: Connection, run: Run) -> dict[str, Any]:
    """As much of a status as a line of a list shows, counted without looking at nodes, texts or calls."""
    trees, examples = views.tree_counts(connection, run.id), views.example_counts(connection, run.id)
    return {
        "name": run.name,
        "status": run.status,
        "phase": run.phase,
        "reason": run.reason,
        "pool": _light_pool(connection, run) if is_pool(run) else None,
        "seeds": sum(trees.values()),
        "trees_done": trees.get("grown", 0),
        "examples": examples.get("accepted", 0),
        "examples_rejected": examples.get("rejected", 0),
        "examples_failed": examples.get("failed", 0),
        "examples_pending": examples.get("pending", 0),
        "eta_s": {"low": None, "high": None},
    }


def _light_pool(connection: Connection, run: Run) -> dict[str, Any]:
    """What says how far a run that widens a pool has come."""
    return {
        "target": run.config.get("rounds", {}).get("target"),
        "kept": views.text_counts(connection, run.id).get("kept", 0),
        "rounds_done": pool_views.round_counts(connection, run.id).done,
    }


def _grown(connection: Connection, run: Run, lately: Lately) -> dict[str, Any]:
    """What has grown so far, and when the rest will have."""
    nodes = views.node_counts(connection, run.id)
    trees = views.tree_counts(connection, run.id)
    examples = views.example_counts(connection, run.id)
    pool = counted(connection, run) if is_pool(run) else None
    if pool is None:
        low, high = eta_of(
            connection,
            run,
            trees=trees,
            nodes=sum(nodes.values()),
            pending=examples.get("pending", 0),
            lately=lately,
        )
    else:
        low, high = pool_eta(connection, run, pool, lately)
    return {
        "seeds": sum(trees.values()) if pool is None else pool_views.seeds(connection, run.id),
        "seeds_duplicate": run.seeds_duplicate,
        "trees_done": trees.get("grown", 0),
        "trees_cut": trees.get("cut", 0),
        "trees_open": trees.get("growing", 0),
        "nodes": sum(nodes.values()),
        "nodes_scored": nodes.get("scored", 0),
        "nodes_unscored": nodes.get("unscored", 0),
        "nodes_rejected": nodes.get("rejected", 0),
        "nodes_failed": nodes.get("failed", 0),
        "examples": examples.get("accepted", 0),
        "examples_pending": examples.get("pending", 0),
        "examples_rejected": examples.get("rejected", 0),
        "examples_failed": examples.get("failed", 0),
        "eta_s": {"low": low, "high": high},
        "pool": None if pool is None else pool_of(connection, run, pool),
    }


def _spent(connection: Connection, run: Run) -> dict[str, Any]:
    spend = views.call_sums(connection, run.id)
    return {
        "calls": spend["calls"],
        "calls_replayed": run.calls_replayed,
        "calls_unanswered": dict(views.unanswered(connection, run.id)),
        "waiting": views.waiting(connection, run.id),
        "tokens_in": spend["tokens_in"],
        "tokens_out": spend["tokens_out"],
        "usd": None if spend["nusd"] is None else spend["nusd"] / NUSD_PER_USD,
        "caps": {
            "calls": run.caps.calls,
            "tokens": run.caps.tokens,
            "usd": None if run.caps.nusd is None else run.caps.nusd / NUSD_PER_USD,
            "hours": None if run.caps.seconds is None else run.caps.seconds / 3600,
        },
        # What the caps are held against: answers, and what may have to be paid for without one.
        "spent": {
            "calls": run.spent.calls,
            "tokens": run.spent.tokens,
            "usd": run.spent.nusd / NUSD_PER_USD,
            "hours": round(run.driven_s / 3600, 3),
        },
        "reserved": {"calls": run.reserved.calls, "tokens": run.reserved.tokens},
    }


def _endpoints(run: Run) -> dict[str, dict[str, float | None]]:
    """The limits and prices of each endpoint, as they are now."""
    return {name: {trait: found.get(trait) for trait in TRAITS} for name, found in endpoints_now(run).items()}


def _means(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if (value := row[name]) is None else round(float(value), 4) for name in _DIMENSIONS}
