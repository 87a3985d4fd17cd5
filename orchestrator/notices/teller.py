"""Tells what is to be told, in a thread of its own, so that a webhook that hangs holds nobody up."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread

import structlog
from sqlalchemy import Engine

from db import notices, runs
from db.engine import AWAY, cause_of
from db.notices import Notice
from orchestrator.notices.channels import ANSWER_S, COMMAND_S, Channel, Untold
from orchestrator.notices.message import body_of
from orchestrator.status import status_of

log = structlog.get_logger()

_POLL_S = 2.0
# Longer than any channel takes, names looked up and rows read.
_LEASE_S = ANSWER_S + COMMAND_S + 20.0
# Between tries: whoever is away for a night's backup is told all the same, an hour later in the end.
_DELAYS_S = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_PARTING_S = 12.0


class Teller:
    """Any number of these may be at work: each notice is claimed under a lease, told outside of any transaction, and
    marked. One that dies in between leaves it to the next, so that it is told at least once, and normally once.
    """

    def __init__(self, engine: Engine, channels: Sequence[Channel], *, delays_s: Sequence[float] = _DELAYS_S) -> None:
        self._engine = engine
        self._channels: Mapping[str, Channel] = {channel.name: channel for channel in channels}
        self._delays_s = delays_s

    def serve(self, stop: Event) -> None:
        """Works until `stop` is set. A database that is away is waited for."""
        while not stop.is_set():
            try:
                told = self.round()
            except AWAY as error:
                log.warning("database_away", cause=cause_of(error), while_="telling")
                told = False
            except Exception:  # the thread's edge: what fails here is one notice, and the next may be told
                log.exception("teller_failed")
                told = False
            if not told:
                stop.wait(_POLL_S)

    def round(self) -> bool:
        """Tells the oldest notice that is due. Returns whether there was one."""
        with self._engine.begin() as connection:
            notice = notices.claim(connection, self._channels, lease_s=_LEASE_S)
        if notice is None:
            return False
        with self._engine.connect() as connection:
            run = runs.by_id(connection, notice.run_id)
            body = body_of(notice, status_of(connection, run))
        channel = self._channels[notice.channel]
        told = {"run": run.name, "notice": notice.event, "to": channel.place}
        try:
            channel.tell(body)
        except Untold as error:
            self._fail(notice, str(error), told)
        else:
            with self._engine.begin() as connection:
                notices.told(connection, notice)
            log.info("notice_told", **told)
        return True

    def _fail(self, notice: Notice, error: str, told: Mapping[str, str]) -> None:
        delay_s = self._delays_s[notice.attempts - 1] if notice.attempts <= len(self._delays_s) else None
        with self._engine.begin() as connection:
            notices.untold(connection, notice, error=error, delay_s=delay_s)
        if delay_s is None:
            log.error("notice_given_up", cause=error, attempts=notice.attempts, **told)
        else:
            log.warning("notice_untold", cause=error, again_in_s=delay_s, **told)


@contextmanager
def telling(engine: Engine, channels: Sequence[Channel]) -> Iterator[None]:
    """Tells while the block lasts, where there is anything to tell by. What is in hand at its end is let finish."""
    if not channels:
        yield
        return
    stop = Event()
    thread = Thread(target=Teller(engine, channels).serve, args=(stop,), name="teller", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_PARTING_S)
