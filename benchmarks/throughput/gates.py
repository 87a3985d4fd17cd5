"""The figures that must hold, each as one line `gate NAME VALUE LIMIT ok|short`. Pure."""

from collections.abc import Iterator, Sequence

from benchmarks.page import Gate
from benchmarks.throughput.figures import BARE, OURS, Measured

LEAST_RATE, LEAST_USE, MOST_BYTES = 500.0, 0.95, 250e6
LEAST_SCALING, LONG_S = 3.6, 45.0


def all_gates(found: Sequence[Measured], scaling: Sequence[Measured] = ()) -> list[Gate]:
    """Those for which there is a measurement. `scaling`: ours, on simulated cores."""
    ours = [one for one in found if one.system == OURS]
    return [*_pace(ours, found), *_slots(ours), *_every_answer([*ours, *scaling]), *_memory(ours), *_scales(scaling)]


def _pace(ours: Sequence[Measured], found: Sequence[Measured]) -> Iterator[Gate]:
    """Two workers of 64 slots at 0.1 s: the cell of the target, and the one that rivals are held against."""
    for one in ours:
        if (one.cell.workers, one.cell.slots, one.cell.latency_s) == (2, 64, 0.1):
            yield Gate(name="calls_per_s_2x64_0.1s", value=one.rate, limit=LEAST_RATE, least=True)
            for system in dict.fromkeys(rival.system for rival in found if rival.system not in (OURS, BARE)):
                best = max(rival.rate for rival in found if rival.system == system)
                slug = system.lower().replace(" ", "_")
                yield Gate(name=f"times_{slug}", value=one.rate / best, limit=1.0, least=True)


def _slots(ours: Sequence[Measured]) -> Iterator[Gate]:
    """A worker of 128 slots at 1 s, for a minute."""
    for one in ours:
        if (one.cell.workers, one.cell.slots, one.cell.latency_s) == (1, 128, 1.0) and one.seconds >= LONG_S:
            yield Gate(name="slots_busy_1x128_1s", value=one.use, limit=LEAST_USE, least=True)


def _every_answer(ours: Sequence[Measured]) -> Iterator[Gate]:
    if ours:
        yield Gate(name="answers_not_in_the_ledger", value=sum(abs(one.unrecorded or 0) for one in ours), limit=0)


def _memory(ours: Sequence[Measured]) -> Iterator[Gate]:
    if ours:
        most = max(one.worker_bytes for one in ours)
        yield Gate(name="worker_mb", value=most / 1e6, limit=MOST_BYTES / 1e6)


def _scales(scaling: Sequence[Measured]) -> Iterator[Gate]:
    by_workers = {one.cell.workers: one.rate for one in scaling}
    if 1 in by_workers and 4 in by_workers:
        yield Gate(name="four_workers_over_one", value=by_workers[4] / by_workers[1], limit=LEAST_SCALING, least=True)
