"""The page of the figures, made by the command and never by hand. Pure."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.throughput.figures import BARE, ENDPOINT, OURS, Measured
from benchmarks.throughput.gates import Gate

# In the order of the columns; what belongs to none of them is the system's own process.
KINDS = ("worker", "orchestrator", "postgres", "valkey", "command")
_HEAD = """# Throughput

Made by `make bench`, never by hand. {conditions}

Everything shares these cores: endpoint, servers, orchestrator and workers. The endpoint is the scripted model, one
process on loopback, which answers each call after exactly the latency given. A *slot* is one call in flight: ours are
`--slots` of each worker, and the endpoint's `concurrency` holds all of them together to workers x slots. *Use* is the
share of the slots' time in which the endpoint worked for them (calls/s x latency / slots); CPU is processor
milliseconds a call, by kind of process. Ours is a product run of `idea-mcts` with its defaults and a cap on calls:
every answer is committed to the ledger before anything is made of it. Calls are counted in the ledger for us, by the
endpoint for the others, over a steady stretch, without start and end.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """On what it was measured. `load`: processes that were running or waiting when it began, ours not among them."""

    cores: int
    load: float
    date: str
    quick: bool

    def __str__(self) -> str:
        short = " A short round (`--quick`): figures of a few seconds each." if self.quick else ""
        return (
            f"{self.date}, Python {platform.python_version()} on {self.cores} cores, "
            f"load {self.load:.2f} before it began.{short}"
        )


def page(found: Sequence[Measured], scaling: Sequence[Measured], gates: Sequence[Gate], conditions: Conditions) -> str:
    parts = [_HEAD.format(conditions=conditions), "## Gates\n", _gates(gates), "## Ours\n", _ours(found)]
    if bare := [one for one in found if one.system == BARE]:
        parts += ["## The bare client: the ceiling\n", _BARE, _table(bare)]
    if rivals := [one for one in found if one.system not in (OURS, BARE)]:
        parts += ["## Others, on their nearest pipeline\n", _RIVALS, _table(rivals)]
    if scaling:
        parts += ["## Workers on simulated cores\n", _SCALING, _ours(scaling)]
    return "\n".join(parts)


_BARE = "`AsyncOpenAI` on its aiohttp transport in one process, which keeps nothing.\n"
_RIVALS = (
    "Each in an environment of its own, timed between the first and the last tenth of its calls. Neither keeps its "
    "calls in a database.\n"
)
_SCALING = (
    "A model that sleeps for so long that two real cores are no limit: what is left is whether workers get in each "
    "other's way. The same run as above.\n"
)


def _gates(gates: Sequence[Gate]) -> str:
    rows = [[g.name, f"{g.value:.4g}", f"{g.limit:.4g}", "ok" if g.holds else "short"] for g in gates]
    return _markdown(["gate", "value", "limit", ""], rows)


def _ours(found: Sequence[Measured]) -> str:
    head = ["workers", "slots each", "latency s", "calls/s", "use", *(f"{kind} ms" for kind in KINDS)]
    rows = [
        [
            str(one.cell.workers),
            str(one.cell.slots),
            f"{one.cell.latency_s:g}",
            f"{one.rate:.0f}",
            f"{one.use:.0%}",
            *(f"{one.ms(kind):.2f}" for kind in KINDS),
            f"{one.own_ms:.2f}",
            f"{one.ms(ENDPOINT):.2f}",
            f"{one.worker_bytes / 1e6:.0f}",
            str(one.unrecorded),
        ]
        for one in found
        if one.system == OURS
    ]
    return _markdown([*head, "all ms", "endpoint ms", "MB a worker", "not in the ledger"], rows)


def _table(found: Sequence[Measured]) -> str:
    rows = [
        [
            one.system,
            str(one.cell.at_once),
            f"{one.cell.latency_s:g}",
            f"{one.rate:.0f}",
            f"{one.use:.0%}",
            f"{one.own_ms:.2f}",
            f"{one.ms(ENDPOINT):.2f}",
            f"{one.worker_bytes / 1e6:.0f}" if one.worker_bytes else "",
            one.note,
        ]
        for one in found
    ]
    return _markdown(["system", "slots", "latency s", "calls/s", "use", "CPU ms", "endpoint ms", "MB", ""], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
