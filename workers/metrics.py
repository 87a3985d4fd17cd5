"""What a worker process tells of itself. Everything that concerns more than one process is told by orchestrators."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from workers.process import Held
from workers.slots import Slots


class OwnFigures(Collector):
    """Slots and tasks of this process."""

    def __init__(self, held: Held, slots: Slots) -> None:
        self._held = held
        self._slots = slots

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("instructree_slots", "Tasks that this process takes at once.", self._slots.count)
        busy = len(self._held.tokens())
        yield GaugeMetricFamily("instructree_slots_busy", "Tasks that this process has in hand.", busy)
        done = self._held.done
        yield CounterMetricFamily("instructree_tasks_handled", "Tasks this process has let go of, well or not.", done)
