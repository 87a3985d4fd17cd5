"""A worker process: its engine, its event loop, its ledger and gateway, its leases, and its sign of life.

It is built whole before the first task is taken. (Two threads that built it on demand once lost two tasks to the race.)
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from db import tasks, workers
from db.engine import AWAY, cause_of
from db.errors import UserError
from db.guard import check_fit
from db.migrate import head
from db.records import Lease
from db.workers import Identity
from workers.config import LONGEST_DEADLINE_S
from workers.known import Known
from workers.slots import Slots

T = TypeVar("T")
log = structlog.get_logger()

LEASE_S = 30.0
BEAT_S = 5.0
DEADLINE_S = LONGEST_DEADLINE_S
# A slot that is not free so long after its task's deadline never will be.
STUCK_S = 60.0
STUCK_EXIT = 70


class Loop:
    """An event loop in a thread of its own, on which all model calls of this process wait."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="models", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine there and waits for it here."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@dataclass(slots=True)
class Held:
    """The leases this process works under, and how many tasks it has done. Times are of the monotonic clock.

    `unfit`: why this process was found unfit for its work, such as what its machine lacks for a task that it was given.
    """

    _lock: Lock = field(default_factory=Lock)
    _leases: dict[int, tuple[Lease, float]] = field(default_factory=dict)
    done: int = 0
    unfit: str | None = None

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases[lease.task_id] = (lease, time.monotonic())

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._leases.pop(lease.task_id, None)
            self.done += 1

    def leases(self) -> list[Lease]:
        with self._lock:
            return [lease for lease, _ in self._leases.values()]

    def tokens(self) -> list[tuple[int, int]]:
        return [(lease.task_id, lease.token) for lease in self.leases()]

    def stuck(self, now: float) -> list[int]:
        """Tasks that hold their slot although their own time limit should have freed it."""
        with self._lock:
            return [id_ for id_, (lease, begun) in self._leases.items() if now - begun > lease.deadline_s + STUCK_S]


class Heart:
    """Beats: extends the leases held, shows in the register that this worker lives, and looks what was changed.

    One that does not go with the orchestrator or the database any more, or that lacks what its tasks need, is `refused`
    work: it begins no task from then on, and `end` is called, which lets it finish what is in hand.
    """

    refused: str | None = None

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        held: Held,
        known: Known,
        slots: Slots,
        *,
        end: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
    ) -> None:
        self._engine = engine
        self._identity = identity
        self._held = held
        self._known = known
        self._slots = slots
        self._end = end
        self._schema = head()
        self._stop = Event()
        self._thread = Thread(target=self._beat_on, name="heart", daemon=True)

    @property
    def worker(self) -> str:
        return self._identity.id

    def start(self) -> None:
        with self._engine.begin() as connection:
            workers.register(connection, self._identity)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=BEAT_S)
        try:
            with self._engine.begin() as connection:
                workers.leave(connection, self._identity.id)
        except AWAY:
            log.warning("database_away", while_="leaving")

    def _beat_on(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self.beat()
            except AWAY as error:
                log.warning("database_away", cause=cause_of(error))
            except Exception:  # the thread's edge: without it every lease would end, and nobody would know why
                log.exception("heart_failed")
            if stuck := self._held.stuck(time.monotonic()):
                self._give_up(stuck)

    def _give_up(self, stuck: list[int]) -> None:
        """Ends the process: a thread cannot be freed. Leases bring its tasks back; whoever runs us starts us anew."""
        log.critical("slots_stuck", tasks=stuck, exit_code=STUCK_EXIT)
        os._exit(STUCK_EXIT)

    def beat(self) -> None:
        """Looks about first: what is said to a database that was migrated since may not be understood."""
        if self.refused is None:
            self._look_about()
        tokens = self._held.tokens()
        with self._engine.begin() as connection:
            kept = tasks.beat(connection, tokens, lease_s=LEASE_S)
            wanted = self._show(connection, busy=len(tokens))
        for task_id, _ in tokens:
            if task_id not in kept:
                log.warning("lease_lost", task=task_id)
        if wanted not in (None, self._slots.count):
            self._slots.change(wanted)
            with self._engine.begin() as connection:
                self._show(connection, busy=len(self._held.tokens()))
        self._known.refresh()

    def _look_about(self) -> None:
        """Ends this process where there is a reason to."""
        self.refused = self._held.unfit or self._misfit()
        if self.refused is None:
            return
        log.critical("refused", cause=self.refused)
        self._slots.close()
        try:
            with self._engine.begin() as connection:
                workers.refuse(connection, self._identity.id, self.refused)
        finally:
            self._end()

    def _misfit(self) -> str | None:
        """Why we do not go with the others any more, if so."""
        try:
            with self._engine.connect() as connection:
                check_fit(connection, self._identity.version, self._schema)
        except UserError as error:
            return str(error)
        return None

    def _show(self, connection: Connection, *, busy: int) -> int | None:
        """In the register; returns how many slots we are to have, where somebody said so."""
        mine, done = self._identity.id, self._held.done
        return workers.beat(connection, mine, busy=busy, tasks_done=done, slots=self._slots.count)
