"""The orchestrator process: adopts runs and drives them until it is told to stop."""

import time
from threading import Event

import structlog
from sqlalchemy import Engine

from db import runs, workers
from db.engine import AWAY, cause_of
from db.errors import ConfigError, ServiceError, StaleLease, UserError
from db.guard import check_schema
from db.migrate import head
from db.records import Run
from orchestrator.driver import HINT_AGE_S, OWNER_LEASE_S, Driver
from orchestrator.endings import pause
from orchestrator.hints import Hints
from orchestrator.waiting import GATHER_S, wait_for_results

log = structlog.get_logger()

IDLE_S = 0.1
SWEEP_S = 5.0


class Orchestrator:
    """Any number of these may run; each run has one owner at a time, and a dead owner's runs are adopted by others."""

    def __init__(self, engine: Engine, hints: Hints, *, stall_s: float | None = None) -> None:
        self._engine = engine
        self._stall_s = stall_s
        self._hints = hints
        self._identity = workers.Identity.of_this_process((workers.ORCHESTRATOR,), 0)
        with engine.begin() as connection:
            workers.register(connection, self._identity)
        self._drivers: dict[int, Driver] = {}
        self._swept = 0.0
        self._schema = head()

    def serve(self, stop: Event) -> None:
        """Works until `stop` is set. A database that is away is waited for.

        Raises:
            ServiceError: the database was migrated meanwhile: what we write may not be all that there is to be written.
        """
        while not stop.is_set():
            try:
                if not self.round():
                    self._wait(stop)
                elif not any(driver.is_eager for driver in self._drivers.values()):
                    stop.wait(GATHER_S)
            except AWAY as error:
                log.warning("database_away", cause=cause_of(error))
                stop.wait(1.0)
            except ServiceError:
                self._leave()
                raise
        self._leave()

    def _wait(self, stop: Event) -> None:
        if self._drivers:
            known = sum(driver.unready for driver in self._drivers.values())
            wait_for_results(self._engine, self._drivers, stop, known=known)
        else:
            stop.wait(IDLE_S)

    def round(self) -> bool:
        """One tick of every run in hand, after adopting what is free. Returns whether anything moved."""
        sweeping = time.monotonic() - self._swept >= SWEEP_S
        wiped = False
        if sweeping:
            self._swept = time.monotonic()
            wiped = self._hints.lost()  # first: whose beat shows a mark has just put it there
            self._beat()
        if sweeping or not self._drivers:
            self._adopt()
        hint_age_s = None if not sweeping else 0.0 if wiped else HINT_AGE_S
        moved = False
        for run_id in list(self._drivers):
            moved |= self._drive(run_id, hint_age_s)
        return moved

    def _beat(self) -> None:
        with self._engine.begin() as connection:
            mine, mark = self._identity.id, self._hints.mark
            workers.beat(connection, mine, busy=len(self._drivers), tasks_done=0, mark=mark)
            check_schema(connection, self._schema)

    def _leave(self) -> None:
        try:
            for driver in self._drivers.values():
                driver.let_go()
            with self._engine.begin() as connection:
                workers.leave(connection, self._identity.id)
        except AWAY:
            log.warning("database_away", while_="leaving")  # our ownership ends by itself

    def _adopt(self) -> None:
        while True:
            with self._engine.begin() as connection:
                run = runs.adopt(connection, owner=self._identity.id, lease_s=OWNER_LEASE_S)
            if run is None:
                return
            log.info("run_adopted", run=run.name, token=run.owner_token)
            try:
                self._drivers[run.id] = Driver(self._engine, run)
            except ConfigError as error:
                self._pause(run, str(error))

    def _pause(self, run: Run, reason: str) -> None:
        with self._engine.begin() as connection:
            if runs.hold(connection, run, lease_s=OWNER_LEASE_S).status == "running":
                pause(connection, run, reason)
            runs.let_go(connection, run)

    def _drive(self, run_id: int, hint_age_s: float | None) -> bool:
        """One tick; with an age, a sweep too, which hints again what was last hinted so long ago."""
        driver = self._drivers[run_id]
        try:
            moved, due = driver.tick()
            if hint_age_s is not None and not driver.over:
                due += driver.sweep(hint_age_s, stall_s=self._stall_s)
        except StaleLease:
            log.warning("run_lost", run=driver.run.name)
            del self._drivers[run_id]
            return False
        except UserError as error:  # such as an embedder that is not installed here
            self._pause(driver.run, str(error))
            del self._drivers[run_id]
            return False
        if driver.over:
            driver.let_go()
            del self._drivers[run_id]
        self._hints.send(due)
        return moved
