"""The page of the figures, made by the command and never by hand. Pure."""

from collections.abc import Sequence

from benchmarks.page import Gate, table, table_of
from benchmarks.throughput.figures import BARE, ENDPOINT, OURS, Measured

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


def page(found: Sequence[Measured], scaling: Sequence[Measured], gates: Sequence[Gate], conditions: str) -> str:
    parts = [_HEAD.format(conditions=conditions), "## Gates\n", table_of(gates), "## Ours\n", _FULL, _ours(found)]
    if bare := [one for one in found if one.system == BARE]:
        parts += ["## The bare client: the ceiling\n", _BARE, _table(bare)]
    if rivals := [one for one in found if one.system not in (OURS, BARE)]:
        parts += ["## Others, on their nearest pipeline\n", _RIVALS, _table(rivals)]
    if scaling:
        parts += ["## Workers on simulated cores\n", _SCALING, _ours(scaling)]
    return "\n".join(parts)


_FULL = (
    "The cores are full where calls/s x (all ms + endpoint ms) comes near to so many thousands as there are of them: "
    "there, more workers share the same processors, and each costs some of its own.\n"
)
_BARE = "`AsyncOpenAI` on its aiohttp transport in one process, which keeps nothing.\n"
_RIVALS = (
    "Each in an environment of its own, timed between the first and the last tenth of its calls. Neither keeps its "
    "calls in a database.\n"
)
_SCALING = (
    "A model that sleeps for so long that two real cores are no limit: what is left is whether workers get in each "
    "other's way. The same run as above.\n"
)


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
    return table([*head, "all ms", "endpoint ms", "MB a worker", "not in the ledger"], rows)


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
    return table(["system", "slots", "latency s", "calls/s", "use", "CPU ms", "endpoint ms", "MB", ""], rows)
