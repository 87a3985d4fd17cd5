"""How a run comes to rest: ended, or paused until its owner has mended something. Both are logged and announced."""

import structlog
from sqlalchemy import Connection

from db import notices, runs
from db.records import Run

log = structlog.get_logger()


def end(connection: Connection, run: Run, reason: str | None, *, cut: bool) -> None:
    """`cut`: a cap has kept something from being done."""
    status = "stopped" if cut else "done"
    runs.set_phase(connection, run.id, "ended")
    runs.set_status(connection, run.id, status, reason=reason)
    notices.announce(connection, run.id, status, reason)
    log.info("run_ended", run=run.name, status=status, reason=reason)


def pause(connection: Connection, run: Run, reason: str) -> None:
    runs.set_status(connection, run.id, "paused", reason=reason)
    notices.announce(connection, run.id, "paused", reason)
    log.error("run_paused", run=run.name, cause=reason)
