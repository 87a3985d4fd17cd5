"""Watches how the runs get on, so that the time from a kill to the next progress is known."""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

_EVERY_S = 0.1
# Every task that is applied was answered at least once, paid for or replayed; and at the end a run changes its phase.
_PROGRESS = """
    SELECT coalesce(sum(spent_calls + calls_replayed), 0) + count(*) FILTER (WHERE phase <> 'growing')
         + 2 * count(*) FILTER (WHERE phase = 'ended')
    FROM runs
"""


@dataclass(slots=True, kw_only=True)
class Watch:
    """`moved` are the moments (monotonic) at which something was seen to have been applied."""

    engine: Engine
    clock: Callable[[], float] = time.monotonic
    moved: list[float] = field(default_factory=list)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        self._thread = Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _look_on(self) -> None:
        last: int | None = None
        while not self._stop.wait(_EVERY_S):
            found = self._progress()
            # What was applied before the database went is no sign of its recovery.
            if found is not None and last is not None and found != last:
                self.moved.append(self.clock())
            last = found

    def _progress(self) -> int | None:
        try:
            with self.engine.connect() as connection:
                return int(connection.execute(text(_PROGRESS)).scalar_one())
        except SQLAlchemyError:
            return None

    def recovery(self, at: float) -> float | None:
        """Seconds from a moment to the next progress, None when there was none any more."""
        index = bisect_right(self.moved, at)
        return self.moved[index] - at if index < len(self.moved) else None
