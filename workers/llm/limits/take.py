"""The seam for limits: leave to make one attempt, who gives it, and the plainest one who does."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from workers.llm.errors import ModelError


class Limits(Protocol):
    """What the configuration allows an endpoint; None where it gives no limit."""

    @property
    def concurrency(self) -> int: ...

    @property
    def requests_per_minute(self) -> float | None: ...

    @property
    def tokens_per_minute(self) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Leave to make one attempt. Its id is used once, so taking twice by mistake can be noticed.

    `tokens` is about what the attempt will use, prompt and answer together. `retry`: the same call was attempted
    before. Limits that the configuration does not give are None; `latest` says what they are by now.
    """

    id: str
    endpoint: str
    tokens: int
    concurrency: int
    model: str = ""
    retry: bool = False
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    latest: Callable[[], Limits] | None = field(default=None, compare=False, repr=False)

    def as_of_now(self) -> "Take":
        """With the limits as they are now: they may be changed while it stands in line."""
        if self.latest is None:
            return self
        now = self.latest()
        return replace(
            self,
            concurrency=now.concurrency,
            requests_per_minute=now.requests_per_minute,
            tokens_per_minute=now.tokens_per_minute,
        )


class Limiter(Protocol):
    """Every `acquire` that returned is followed by one `release`; `settle` comes before it if there was an answer."""

    async def acquire(self, take: Take) -> None:
        """Waits until the attempt may be made. Raises NoLeave when that would take too long."""
        ...

    async def settle(self, take: Take, *, tokens: int) -> None:
        """Says what the attempt really used."""
        ...

    async def release(self, take: Take, failure: ModelError | None) -> None:
        """Gives the place back and says how the attempt went: None is well, or nobody knows."""
        ...

    async def close(self) -> None:
        """After the last release."""
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

    async def close(self) -> None:
        return None
