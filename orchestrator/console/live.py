"""Pages that stay true while they are open: server-sent events, read off the database in a thread."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse

from db.engine import AWAY, cause_of
from orchestrator.report.text import visible

T = TypeVar("T")
EVERY_S = 2.0
_STEP_S = 0.2
# What nobody has asked for since is let go: there are as many answers as there are phrases to search for.
_KEPT_S = 60.0
# A page that hears nothing for eight seconds takes the console for gone (page.js): before that it is told what does not
# come.
QUIET_S = 5.0
# Part of a page -> its HTML, or another short text that says how it stands.
Parts = Mapping[str, str]


@dataclass(slots=True)
class _Kept(Generic[T]):
    at: float
    lock: Lock = field(default_factory=Lock)
    value: T | None = None


class Fresh(Generic[T]):
    """Answers that are computed at most once in `EVERY_S`, however many pages ask for them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept[T]] = {}
        self._lock = Lock()

    def get(self, name: str, compute: Callable[[], T]) -> T:
        now = self._clock()
        with self._lock:
            self._kept = {asked: one for asked, one in self._kept.items() if now - one.at < _KEPT_S}
            kept = self._kept.setdefault(name, _Kept(at=now))
        with kept.lock:
            if kept.value is None or self._clock() - kept.at > 0.9 * EVERY_S:
                kept.value, kept.at = compute(), self._clock()
            return kept.value

    def forget(self, name: str) -> None:
        """After something was changed: the next answer is computed anew."""
        with self._lock:
            self._kept.pop(name, None)


def stream(request: Request, look: Callable[[], Parts]) -> StreamingResponse:
    """Sends `figures` events: the parts that differ from what was sent before, and a beat even when none does.

    While the database is away or says nothing, or what the page shows is gone (`look` raises HTTPException), it sends
    `trouble` events with a line about it instead.
    """
    return StreamingResponse(_events(request, look), media_type="text/event-stream")


async def _events(request: Request, look: Callable[[], Parts]) -> AsyncIterator[str]:
    sent: dict[str, str] = {}
    closing: Callable[[], bool] = request.app.state.closing
    yield "retry: 2000\n\n"
    while not closing():
        looking = asyncio.create_task(run_in_threadpool(look))
        try:
            while not (await asyncio.wait({looking}, timeout=QUIET_S))[0]:
                yield _trouble(f"The database has not answered for {QUIET_S:.0f} s; still waiting.")
            parts = looking.result()
        except AWAY as error:
            yield _trouble(f"The database does not answer ({cause_of(error)}); trying again.")
        except HTTPException as error:
            yield _trouble(f"{error.detail}.")
        else:
            yield _event("figures", {"parts": {name: text for name, text in parts.items() if sent.get(name) != text}})
            sent = dict(parts)
        finally:
            looking.cancel()
        for _ in range(round(EVERY_S / _STEP_S)):
            if closing():
                return
            await asyncio.sleep(_STEP_S)


def _trouble(line: str) -> str:
    return _event("trouble", {"line": visible(line)})


def _event(name: str, data: Mapping[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
