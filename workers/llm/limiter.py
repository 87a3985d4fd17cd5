"""The seam for limits: who may ask now. Limits shared by all machines take this place; here is the one per process."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from workers.llm.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Leave to make one attempt. Its id is used once, so taking twice by mistake can be noticed.

    `tokens` is the most that the attempt may use, prompt and answer together.
    """

    id: str
    endpoint: str
    tokens: int
    concurrency: int


class Limiter(Protocol):
    """Every `acquire` that returned is followed by one `release`; `settle` comes before it if there was an answer."""

    async def acquire(self, take: Take) -> None:
        """Waits until the attempt may be made. Raises RetryLater when that would take too long."""
        ...

    async def settle(self, take: Take, *, tokens: int) -> None:
        """Says what the attempt really used."""
        ...

    async def release(self, take: Take, failure: ModelError | None) -> None:
        """Gives the place back and says how the attempt went: None is well, or nobody knows."""
        ...


class ProcessLimiter:
    """So many calls at a time to each endpoint, for this process and one event loop."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], asyncio.Semaphore] = {}

    def _place(self, take: Take) -> asyncio.Semaphore:
        return self._places.setdefault((take.endpoint, take.concurrency), asyncio.Semaphore(take.concurrency))

    async def acquire(self, take: Take) -> None:
        await self._place(take).acquire()

    async def settle(self, take: Take, *, tokens: int) -> None:
        return None

    async def release(self, take: Take, failure: ModelError | None) -> None:
        self._place(take).release()
