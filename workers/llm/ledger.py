"""The ledger's writer: a response counts as received when its row is committed, and many rows share one commit.

One thread serves all tasks of the process. It carries out what is waiting at most once in `GATHER_S`, so an idle ledger
answers at once and a busy one writes up to `MOST` rows in one transaction.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Protocol

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db import calls
from db.records import CallRow
from workers.llm.errors import LedgerAway, LedgerRefused, ModelError

log = structlog.get_logger()

GATHER_S = 0.02
MOST = 200
# Waits between attempts to reach the database: long enough for a restart, shorter than a lease can wait.
PAUSES_S = (0.1, 0.3, 1.0, 2.0, 4.0, 6.0)
_AWAY = (OperationalError, InterfaceError, PoolTimeout)


class Ledger(Protocol):
    """Where paid responses are kept."""

    async def lookup(self, key: str) -> CallRow | None:
        """The row under this key. Raises LedgerAway when the database cannot be reached."""
        ...

    async def record(self, row: CallRow) -> CallRow:
        """Returns once the row is committed: this row, or the one that already stood under its key.

        Raises:
            LedgerAway: it is not committed yet; it is kept and written before anything else is.
            LedgerRefused: it never will be.
        """
        ...

    def close(self) -> None:
        """Writes what is waiting, then stops. Blocks. Raises LedgerAway when rows could not be written."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    """A lookup (no row) or a row to write, and who waits for it."""

    key: str
    row: CallRow | None
    loop: asyncio.AbstractEventLoop
    waiter: "asyncio.Future[CallRow | None]"


_Answered = tuple[_Wish, CallRow | ModelError | None]


class DatabaseLedger:
    """The ledger in table `calls`. `doubled` counts paid responses whose key was already taken."""

    def __init__(self, engine: Engine, *, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._engine = engine
        self._pauses_s = pauses_s
        self._wishes: SimpleQueue[_Wish | None] = SimpleQueue()
        self._unwritten: dict[str, CallRow] = {}
        self._begun = 0.0
        self._closing = Lock()
        self._closed = False
        self.doubled = 0
        self._thread = Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    async def lookup(self, key: str) -> CallRow | None:
        return await self._wish(key, None)

    async def record(self, row: CallRow) -> CallRow:
        standing = await self._wish(row.key, row)
        assert standing is not None
        return standing

    async def _wish(self, key: str, row: CallRow | None) -> CallRow | None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[CallRow | None] = loop.create_future()
        with self._closing:
            if self._closed:
                raise LedgerAway("the ledger is closed: this process is shutting down")
            self._wishes.put(_Wish(key, row, loop, waiter))
        return await waiter

    def close(self) -> None:
        with self._closing:
            if not self._closed:
                self._closed = True
                self._wishes.put(None)
        self._thread.join()
        if self._unwritten:
            raise LedgerAway(f"{len(self._unwritten)} paid answers could not be written: the database was away")

    def _serve(self) -> None:
        going_on = True
        while going_on:
            wishes, going_on = self._gather()
            try:
                _wake(self._carry_out(wishes))
            except Exception as error:  # the thread's edge: a bug here must not leave waiters for ever
                log.exception("ledger_crashed")
                self._keep(wishes)
                _wake([(wish, LedgerAway(f"the ledger failed: {type(error).__name__}")) for wish in wishes])

    def _gather(self) -> tuple[list[_Wish], bool]:
        """What is waiting, and whether more may come."""
        wish = self._wishes.get()
        until = self._begun + GATHER_S
        wishes: list[_Wish] = []
        while wish is not None:
            wishes.append(wish)
            left = until - time.monotonic()
            if len(wishes) == MOST:
                break
            try:
                wish = self._wishes.get(timeout=left) if left > 0 else self._wishes.get_nowait()
            except Empty:
                break
        self._begun = time.monotonic()
        return wishes, wish is not None

    def _carry_out(self, wishes: Sequence[_Wish]) -> list[_Answered]:
        """Every wish with its answer. Rows whose turn failed for want of a database stay in `_unwritten`."""
        self._keep(wishes)
        rows, wanted = list(self._unwritten.values()), {wish.key for wish in wishes}
        try:
            found = self._persist(rows, wanted)
        except _AWAY as error:
            log.error("ledger_away", unwritten=len(rows), waiting=len(wishes))
            away = LedgerAway(f"the database cannot be reached ({_cause(error)})")
            return [(wish, away) for wish in wishes]
        except DBAPIError:
            return self._one_by_one(rows, wishes)
        self._unwritten.clear()
        return [(wish, found.get(wish.key)) for wish in wishes]

    def _keep(self, wishes: Sequence[_Wish]) -> None:
        for wish in wishes:
            if wish.row is not None and self._unwritten.setdefault(wish.key, wish.row) is not wish.row:
                self._count_doubled(wish.row)

    def _persist(self, rows: Sequence[CallRow], wanted: set[str]) -> dict[str, CallRow]:
        """Writes the rows and finds what is wanted, trying again while the database is away."""
        for pause_s in (*self._pauses_s, None):
            try:
                return self._transact(rows, wanted)
            except _AWAY:
                if pause_s is None:
                    raise
                time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _transact(self, rows: Sequence[CallRow], wanted: set[str]) -> dict[str, CallRow]:
        with self._engine.begin() as connection:
            added = calls.insert(connection, rows)
            found = {row.key: row for row in rows if row.key in added}
            found.update(calls.find(connection, wanted.union(row.key for row in rows) - added))
        for row in rows:
            # An attempt whose commit was done but not heard of finds its own row: that is no second payment.
            if row.key not in added and found.get(row.key) != row:
                self._count_doubled(row)
        return found

    def _count_doubled(self, row: CallRow) -> None:
        self.doubled += 1
        log.warning("paid_twice", key=row.key, run=row.run_id, task=row.task_id, nusd=row.nusd)

    def _one_by_one(self, rows: Sequence[CallRow], wishes: Sequence[_Wish]) -> list[_Answered]:
        """After a row was refused: each in a transaction of its own, so that one does not take the others with it."""
        refused: dict[str, ModelError] = {}
        found: dict[str, CallRow] = {}
        try:
            for row in rows:
                found.update(self._persist_alone(row, refused))
                del self._unwritten[row.key]
            found.update(self._persist([], {wish.key for wish in wishes if wish.row is None}))
        except _AWAY as error:
            away = LedgerAway(f"the database cannot be reached ({_cause(error)})")
            return [(wish, refused.get(wish.key) or found.get(wish.key) or away) for wish in wishes]
        return [(wish, refused.get(wish.key) or found.get(wish.key)) for wish in wishes]

    def _persist_alone(self, row: CallRow, refused: dict[str, ModelError]) -> dict[str, CallRow]:
        try:
            return self._persist([row], set())
        except _AWAY:
            raise
        except DBAPIError as error:
            log.error("ledger_refused", key=row.key, run=row.run_id, task=row.task_id, cause=_cause(error))
            refused[row.key] = LedgerRefused(f"the database does not take the row of this call ({_cause(error)})")
            return {}


def _cause(error: SQLAlchemyError) -> str:
    """The database's own first line, without statement and parameters."""
    told = str(getattr(error, "orig", None) or type(error).__name__).strip()
    return told.splitlines()[0][:160] if told else type(error).__name__


def _wake(answered: Sequence[_Answered]) -> None:
    """Hands the answers over, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answered]] = defaultdict(list)
    for item in answered:
        by_loop[item[0].loop].append(item)
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, items)
        except RuntimeError:
            log.warning("ledger_waiter_gone", waiting=len(items))  # its loop is closed; the rows are written


def _settle(items: Sequence[_Answered]) -> None:
    for wish, answer in items:
        if wish.waiter.done():
            continue
        if isinstance(answer, ModelError):
            wish.waiter.set_exception(answer)
        else:
            wish.waiter.set_result(answer)


class MemoryLedger:
    """A ledger for commands that need no database (`calibrate`, `doctor`): gone with the process."""

    def __init__(self) -> None:
        self.rows: dict[str, CallRow] = {}

    async def lookup(self, key: str) -> CallRow | None:
        return self.rows.get(key)

    async def record(self, row: CallRow) -> CallRow:
        return self.rows.setdefault(row.key, row)

    def close(self) -> None:
        return None
