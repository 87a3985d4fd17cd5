"""Lets a player grow one tree of a landscape under a simulated clock, and measures what its harvest is worth.

A call takes .3 + Exp(1) of a second that nobody waits for, or .3 + a log-normal one with a heavy tail.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from benchmarks.search.landscapes import HARVEST, Draws, Finite, Point, World, mixed

LATENCIES: dict[str, Callable[[Draws], float]] = {
    "mild": lambda draws: 0.3 + draws.exponential(1.0),
    "heavy": lambda draws: 0.3 + draws.lognormvariate(-0.72, 1.2),
}


class Ask(NamedTuple):
    """One call that a player wants; `parent` is the point that the child is made of."""

    ticket: object
    parent: Point
    operator: int


class Player(Protocol):
    """A search that chooses calls. `tell` brings the child of each, duplicates included."""

    def ask(self, most: int) -> Sequence[Ask]: ...

    def tell(self, ticket: object, point: Point) -> None: ...


class Entry(NamedTuple):
    """One call: the key of the point it was made of, what came of it, and when, in simulated seconds."""

    parent: int
    point: Point
    arrived: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A grown tree: its calls in the order in which they were issued."""

    entries: tuple[Entry, ...]

    @property
    def seconds(self) -> float:
        """Until all were back."""
        return max(entry.arrived for entry in self.entries)

    def first(self, calls: int) -> "Growth":
        """What it was after so many calls, if one call was under way at a time and nobody knew the budget."""
        return Growth(entries=self.entries[:calls])


def grow(world: World, player: Player, *, calls: int, in_flight: int = 1, latency: str = "mild") -> Growth:
    """Ends early if the player asks for nothing while nothing is under way."""
    draws, takes = Draws(), LATENCIES[latency]
    draws.at(mixed(world.root.key, 99))
    uses: defaultdict[tuple[int, int], int] = defaultdict(int)
    entries: list[Entry] = []
    flying: list[tuple[float, int, object]] = []
    clock = 0.0
    while True:
        room = min(in_flight - len(flying), calls - len(entries))
        for ask in player.ask(room)[:room] if room > 0 else ():
            place = (ask.parent.key, ask.operator)
            child = world.child(ask.parent, ask.operator, uses[place])
            uses[place] += 1
            arrives = clock + takes(draws)
            heapq.heappush(flying, (arrives, len(entries), ask.ticket))
            entries.append(Entry(ask.parent.key, child, arrives))
        if not flying:
            return Growth(entries=tuple(entries))
        clock, number, ticket = heapq.heappop(flying)
        player.tell(ticket, entries[number].point)


def survivors(growth: Growth) -> list[Point]:
    return [entry.point for entry in growth.entries if not entry.point.duplicate]


def regret(world: World, growth: Growth, worth: Callable[[Point], float]) -> float:
    """Optimum minus the mean true value of the 20 nodes of most worth; the older one where two are worth the same."""
    chosen = sorted(survivors(growth), key=worth, reverse=True)[:HARVEST]
    best = world.best_possible(len(growth.entries)) if isinstance(world, Finite) else world.optimum
    return best - sum(point.true for point in chosen) / len(chosen)


def judged(point: Point) -> float:
    return point.judged
