"""Faults that this process makes on purpose. There are none unless `INSTRUCTREE_CHAOS` asks for them.

`INSTRUCTREE_CHAOS="seed=7,share=0.05,seconds=2,copies=2"` stops a process for up to `seconds` at a `share` of the
points between a claim and its commit, and sends every hint `copies` times. It is how `make chaos` reaches the moments
that a kill from outside would hit once in a thousand runs.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from functools import cache
from random import Random

from db.errors import ConfigError

VARIABLE = "INSTRUCTREE_CHAOS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """How often to stop (0..1), for how long at most, and how many times each hint is sent."""

    seed: int = 0
    share: float = 0.0
    seconds: float = 1.0
    copies: int = 1


def parse(text: str) -> Chaos:
    """Raises ConfigError for a name that it does not know or a value that is no number."""
    known = {"seed": int, "share": float, "seconds": float, "copies": int}
    given: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        try:
            given[name] = known[name](value)
        except (KeyError, ValueError):
            raise ConfigError(f"{VARIABLE}: {part!r} is none of {', '.join(f'{n}=number' for n in known)}") from None
    return Chaos(**given)  # type: ignore[arg-type]  # the table above holds the types


@cache
def chaos() -> Chaos:
    """What this process was asked to do wrong."""
    return parse(os.environ.get(VARIABLE, ""))


@cache
def _lots() -> Random:
    return Random(f"{chaos().seed}:{os.getpid()}")


def _delay_s() -> float:
    wanted = chaos()
    if not wanted.share or _lots().random() >= wanted.share:
        return 0.0
    return _lots().uniform(0, wanted.seconds)


def stumble() -> None:
    """A point at which a process may be slow, or be killed: nothing that is right may depend on it being fast."""
    if delay_s := _delay_s():
        time.sleep(delay_s)


async def stumble_async() -> None:
    """The same for a coroutine, which must not hold the others up."""
    if delay_s := _delay_s():
        await asyncio.sleep(delay_s)
