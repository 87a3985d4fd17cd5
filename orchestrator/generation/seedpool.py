"""The seed pool of a run: a value that only events change, so that no seed that left is lost."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPool:
    """The instructions that prompts may show, by ordinal, in the order in which they entered."""

    members: tuple[int, ...]

    def after(self, event: "Event") -> "SeedPool":
        """The pool after one event.

        Raises:
            ValueError: one that is a member enters, or one that is none leaves: the history is not this pool's.
        """
        inside = event.instruction in self.members
        if inside == (event.kind == "entered"):
            raise ValueError(f"instruction {event.instruction} cannot have {event.kind}: it was {_WHERE[inside]}")
        if inside:
            return SeedPool(members=tuple(one for one in self.members if one != event.instruction))
        return SeedPool(members=(*self.members, event.instruction))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of the pool and why. `signal` is what it was chosen by, in units of the rules' signal."""

    kind: Literal["entered", "left"]
    instruction: int
    reason: str
    signal: float | None = None


_WHERE = {True: "in the pool", False: "outside"}


def replayed(start: Iterable[int], events: Iterable[Event]) -> SeedPool:
    """The pool that began with `start`, after its history in order.

    Raises:
        ValueError: an event that cannot follow those before it.
    """
    pool = SeedPool(members=tuple(dict.fromkeys(start)))
    for event in events:
        pool = pool.after(event)
    return pool
