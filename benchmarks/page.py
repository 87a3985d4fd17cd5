"""What the pages of docs/benchmarks/ have in common: gates, tables, and on what they were made."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A value that is at most its limit or, where `least` is said, at least."""

    name: str
    value: float
    limit: float
    least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        return f"gate {self.name} {self.value:.4g} {self.limit:.4g} {'ok' if self.holds else 'short'}"


def conditions() -> str:
    """Of this machine, now: said before anything is measured."""
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    return f"{date.today()}, Python {platform.python_version()} on {cores} cores, load {load:.2f} before it began."


def table_of(held: Sequence[Gate]) -> str:
    rows = [[gate.name, f"{gate.value:.4g}", f"{gate.limit:.4g}", "ok" if gate.holds else "short"] for gate in held]
    return table(("gate", "value", "limit", ""), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
