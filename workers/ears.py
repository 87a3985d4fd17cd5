"""Whether a worker at work hears the broker that orchestrators send to, and has its limits where all others have them.

At its start nobody may be there to compare with.
"""

from threading import Event, Thread

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import guard
from db.errors import ServiceError
from workers.process import Held

log = structlog.get_logger()

LOOK_S = 15.0
# In a row. A mark that was wiped is back after a sweep of five seconds, or after SILENT_S where its orchestrator hangs.
LOOKS = 4
_AWAY = (SQLAlchemyError, RedisError, ServiceError, OSError)


class Ears:
    """Looks for the orchestrators' marks in a thread of its own, so that a server that hangs holds up no heartbeat."""

    def __init__(self, engine: Engine, held: Held, broker: str, limiter: str) -> None:
        self._engine = engine
        self._held = held
        self._broker = broker
        self._limiter = limiter
        self._missed = 0
        self._stop = Event()
        self._thread = Thread(target=self._look_on, name="ears", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except Exception:  # the thread's edge: without it nobody would look any more, or know why
                log.exception("ears_failed")

    def look(self) -> None:
        """Notes this process as unfit when so many looks have found no mark. A server that is away shows nothing."""
        try:
            cause = guard.estranged(self._engine, self._broker, self._limiter)
        except _AWAY:
            cause = None
        self._missed = self._missed + 1 if cause else 0
        if self._missed >= LOOKS:
            self._held.unfit = cause
