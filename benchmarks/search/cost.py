"""What the core itself costs: microseconds per ask and tell, on trees that grow to 10,000 nodes."""

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

from benchmarks.search.landscapes import world
from benchmarks.search.players import DEFAULT, FRONT, PLAYERS, UCT, Terms

SMALL, LARGE = 1_000, 10_000
# How often each is grown.
ROUNDS = {SMALL: 9, LARGE: 3}
LAST = 5
MEASURED = (DEFAULT, FRONT, UCT, "UCT normalised", "beam 4", "chains")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Microseconds per ask and tell in the last fifth of a tree of 1,000 and of one of 10,000 nodes."""

    small: float
    large: float

    @property
    def growth(self) -> float:
        """How much of what log n would allow it grew: 1 is growth with log n."""
        return self.large / self.small / (math.log(LARGE) / math.log(SMALL))


def measure(name: str) -> Cost:
    """Of time on the processor, the least of several growths: who else uses the machine is not in it."""
    small, large = (min(last_fifth(name, size) for _ in range(rounds)) for size, rounds in ROUNDS.items())
    return Cost(small=small, large=large)


def last_fifth(name: str, calls: int) -> float:
    """A mean over calls. The landscape's own time is not in it."""
    tree = world("D", 1)
    player = PLAYERS[name](tree, Terms(calls=calls))
    took: list[int] = []
    uses: defaultdict[int, int] = defaultdict(int)
    clock = time.thread_time_ns
    for _ in range(calls):
        begun = clock()
        (ask,) = player.ask(1)
        asked = clock()
        point = tree.child(ask.parent, ask.operator, uses[ask.parent.key])
        uses[ask.parent.key] += 1
        ready = clock()
        player.tell(ask.ticket, point)
        took.append(asked - begun + clock() - ready)
    return fmean(took[-calls // LAST :]) / 1000
