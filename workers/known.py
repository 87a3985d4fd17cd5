"""What a worker process knows of the settings of runs: loaded when a task of one comes, and kept as they are now."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

import structlog
from sqlalchemy import Connection, Engine

from db import runs
from db.changes import config_now
from db.engine import patiently
from workers.config import WorkSettings

log = structlog.get_logger()

# Of so many runs, those whose tasks came last.
_MOST = 64


@dataclass(slots=True)
class Standing:
    """The settings of one run as they are now; the same object for as long as they are known. `changes`: how many."""

    settings: WorkSettings
    changes: int
    created_at: datetime


class Known:
    """Safe to use from many threads. Who holds a `Standing` sees what was changed since, without asking anybody."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._runs: OrderedDict[int, Standing] = OrderedDict()

    def of(self, run_id: int) -> Standing:
        """What stands for this run; read from its row where it is not known yet."""
        with self._lock:
            if found := self._runs.get(run_id):
                self._runs.move_to_end(run_id)
                return found
        loaded = patiently(self._engine, lambda connection: _load(connection, run_id))
        with self._lock:
            kept = self._runs.setdefault(run_id, loaded)
            if len(self._runs) > _MOST:
                self._runs.popitem(last=False)
            return kept

    def refresh(self) -> None:
        """Takes in what was changed since. Raises the database's errors as they come."""
        with self._lock:
            before = dict(self._runs)
        with self._engine.connect() as connection:
            counts = runs.changes_made(connection, before.keys())
            for run_id, standing in before.items():
                if counts.get(run_id, standing.changes) != standing.changes:
                    now = _load(connection, run_id)
                    standing.settings, standing.changes = now.settings, now.changes
                    log.info("settings_changed", run=run_id, changes=now.changes)


def _load(connection: Connection, run_id: int) -> Standing:
    run = runs.by_id(connection, run_id)
    settings = WorkSettings.model_validate(config_now(run)["work"])
    return Standing(settings=settings, changes=len(run.changes), created_at=run.created_at)
