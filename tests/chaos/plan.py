"""What is to go wrong, and when: decided by a seed before anything runs. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.chaos.programs import Part


class Deed(StrEnum):
    KILL = "kill -9"
    PAUSE = "pause"
    TERM = "SIGTERM"
    WIPE = "FLUSHALL"
    FLOOD = "flood"
    HOLD = "hold locks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One deed at `at_s` seconds from the beginning. `seconds` is how long a pause or a lock lasts.

    `lot` (0..1) decides between what could be hit, which is known only then.
    """

    at_s: float
    deed: Deed
    part: Part
    seconds: float = 0.0
    lot: float = 0.0


# Out of a hundred kills.
_KILLED = {Part.WORKER: 52, Part.ORCHESTRATOR: 16, Part.ENDPOINT: 12, Part.VALKEY: 12, Part.POSTGRES: 8}
_GAP_S = (1.5, 5.5)
_SHORT_S = (0.5, 8.0)
# Longer than a lease (30 s; an orchestrator has 20) and an idle transaction may last (30 s): they wake as zombies.
_ZOMBIE_S = {Part.WORKER: 36.0, Part.ORCHESTRATOR: 34.0}
# Longer than the product waits for a lock (20 s).
_LONG_HOLD_S = 24.0


def plan(kills: int, seed: int) -> list[Act]:
    """So many kills in the proportions above, each kind at least once, and about half as many other deeds."""
    chance = Random(f"{seed}:plan")
    parts = _deck(kills, chance)
    times = _times(kills, chance)
    acts = [
        Act(at_s=at_s, deed=Deed.KILL, part=part, lot=chance.random()) for at_s, part in zip(times, parts, strict=True)
    ]
    end_s = times[-1] if times else 0.0
    acts += _others(kills, end_s, chance)
    return sorted(acts, key=lambda act: act.at_s)


def _deck(kills: int, chance: Random) -> list[Part]:
    once = list(_KILLED)[:kills]
    rest = kills - len(once)
    drawn = chance.choices(list(_KILLED), weights=list(_KILLED.values()), k=rest)
    deck = once + drawn
    chance.shuffle(deck)
    return deck


def _times(kills: int, chance: Random) -> list[float]:
    times, at_s = [], 0.0
    for _ in range(kills):
        at_s += chance.uniform(*_GAP_S)
        times.append(at_s)
    return times


def _others(kills: int, end_s: float, chance: Random) -> list[Act]:
    acts: list[Act] = []

    def add(deed: Deed, part: Part, seconds: float, count: int) -> None:
        for _ in range(count):
            acts.append(Act(at_s=chance.uniform(0, end_s), deed=deed, part=part, seconds=seconds, lot=chance.random()))

    some = max(1, kills // 30)
    add(Deed.PAUSE, Part.WORKER, _ZOMBIE_S[Part.WORKER], some)
    add(Deed.PAUSE, Part.ORCHESTRATOR, _ZOMBIE_S[Part.ORCHESTRATOR], some)
    for part in Part:
        for _ in range(some):
            add(Deed.PAUSE, part, chance.uniform(*_SHORT_S), 1)
    add(Deed.TERM, Part.WORKER, 0.0, some)
    add(Deed.WIPE, Part.VALKEY, 0.0, 2 * some)
    add(Deed.FLOOD, Part.VALKEY, 0.0, 2 * some)
    for _ in range(2 * some):
        add(Deed.HOLD, Part.POSTGRES, chance.uniform(2, 8), 1)
    add(Deed.HOLD, Part.POSTGRES, _LONG_HOLD_S, kills // 60)
    return acts
