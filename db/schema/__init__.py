"""The tables. Their laws are listed in `docs/design.md`, section 4, and recounted by `db.laws`.

Money is in whole nano-dollars (1e-9 USD): a price of 0.15 USD per million tokens is 150 nano-dollars a token, so sums
are exact. A price that is not known is NULL, never zero.
"""

from db.schema.base import metadata
from db.schema.ledger import attempts, call_totals, calls, totals
from db.schema.pools import batches, instructions, lessons, rounds, seed_events
from db.schema.queue import minutes, notices, task_totals, tasks, workers
from db.schema.trees import examples, judgements, nodes, rollouts, runs, trees, verdicts

__all__ = [
    "attempts",
    "batches",
    "call_totals",
    "calls",
    "examples",
    "instructions",
    "judgements",
    "lessons",
    "metadata",
    "minutes",
    "nodes",
    "notices",
    "rollouts",
    "rounds",
    "runs",
    "seed_events",
    "task_totals",
    "tasks",
    "totals",
    "trees",
    "verdicts",
    "workers",
]
