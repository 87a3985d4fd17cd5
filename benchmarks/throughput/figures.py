"""What was measured, and what follows from it. Pure: no clock, no process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

OURS, BARE = "instructree", "bare client"
# Where the processor time of a run goes that is not the endpoint's.
ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One setting: so many workers with so many slots each, at an endpoint that takes so long to answer.

    A slot is one call in flight, for everybody: the bare client has one process, a rival as many as it likes.
    """

    workers: int
    slots: int
    latency_s: float

    @property
    def at_once(self) -> int:
        """The most calls in flight."""
        return self.workers * self.slots

    @property
    def ideal(self) -> float:
        """Calls a second if every slot were busy all the time."""
        return self.at_once / self.latency_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One system in one cell: `calls` answered in `seconds` of steady work.

    cpu_s: processor seconds in that time by kind of process. worker_bytes: the resident memory of the largest worker.
    unrecorded: answers of the endpoint that are in no ledger, None where there is no ledger to hold them.
    """

    system: str
    cell: Cell
    seconds: float
    calls: int
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    worker_bytes: int = 0
    unrecorded: int | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def use(self) -> float:
        """The share of the slots' time in which the endpoint was working for them: 1 is ideal."""
        return self.rate / self.cell.ideal

    def ms(self, kind: str) -> float:
        """Processor milliseconds a call, of one kind of process."""
        return 1000 * self.cpu_s.get(kind, 0.0) / max(self.calls, 1)

    @property
    def own_ms(self) -> float:
        """Processor milliseconds a call, of everything but the endpoint."""
        return sum(self.ms(kind) for kind in self.cpu_s if kind != ENDPOINT)


def ours_at(found: list[Measured], workers: int, slots: int, latency_s: float) -> Measured | None:
    """Our own figure for a cell, if it was measured."""
    cell = Cell(workers=workers, slots=slots, latency_s=latency_s)
    return next((one for one in found if one.system == OURS and one.cell == cell), None)
