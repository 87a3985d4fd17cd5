"""Rewards as shades: which of nine a reward has, and the legend that says so."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.report.numbers import edges, finite
from orchestrator.report.wording import axis

_MOST, _LAST = 8, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shades:
    """Rewards cut into classes at round numbers. `bounds` hold each class's upper edge; the last takes all above."""

    bounds: tuple[float, ...]

    @classmethod
    def over(cls, rewards: Iterable[float | None]) -> "Shades":
        """The lowest and the highest fiftieth do not stretch the classes."""
        values = sorted(finite(rewards))
        if not values:
            return cls(bounds=())
        low, high = values[len(values) // 50], values[-1 - len(values) // 50]
        return cls(bounds=edges([low, (low + high) / 2, high], most=_MOST)[1:])

    def of(self, reward: float) -> int:
        """0 to 8, spread over the classes there are."""
        return self._spread(min(sum(reward >= bound for bound in self.bounds), len(self.bounds) - 1))

    def legend(self) -> list[tuple[int, str]]:
        """Each class's shade with its upper edge. The outer two take the outliers too, so the last has no edge."""
        labels = [*(axis(bound) for bound in self.bounds[:-1]), ""][: len(self.bounds)]
        return [(self._spread(index), label) for index, label in enumerate(labels)]

    def _spread(self, index: int) -> int:
        return round(max(0, index) * _LAST / max(1, len(self.bounds) - 1))
