"""The ledger's writer: a response counts as received when its row is committed, and many rows share one commit.

One thread serves all tasks of the process. It carries out together what is wanted at about the same time, so an idle
ledger answers at once and a busy one writes many rows in one transaction.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Protocol

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db import attempts
from db.engine import AWAY, PAUSES_S, cause_of, patiently
from db.records import AttemptRow, CallRow
from workers.gather import Gatherer
from workers.llm.errors import LedgerAway, LedgerRefused, ModelError
from workers.llm.page import Answer, Lookup, Page, Record, Unpaid, Wanted, write_page

log = structlog.get_logger()


class Ledger(Protocol):
    """Where attempts are announced and paid responses are kept. Each call returns once it is committed."""

    async def lookup(self, key: str) -> CallRow | None:
        """The row under this key. Raises LedgerAway when the database cannot be reached."""
        ...

    async def open(self, attempt: AttemptRow) -> None:
        """Announces an attempt: from here on it may have to be paid for.

        Raises:
            LedgerAway: it could not be announced, so it must not be made.
            Withdrawn: its task has been taken away, or its run is paused.
            BudgetSpent: no cap leaves room for it.
        """
        ...

    async def record(self, row: CallRow, attempt: str | None = None) -> CallRow:
        """The answer of an attempt: this row, or the one that already stood under its key.

        Raises:
            LedgerAway: it is not committed yet; it is kept and written before anything else is.
            LedgerRefused: it never will be.
        """
        ...

    async def unpaid(self, attempt: str) -> None:
        """Takes back an attempt that was surely not paid for. Raises LedgerAway; it then counts as lost."""
        ...

    def close(self) -> None:
        """Writes what is waiting, then stops. Blocks. Raises LedgerAway when rows could not be written."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    """What is wanted, and who waits for it."""

    wanted: Wanted
    loop: asyncio.AbstractEventLoop
    waiter: "asyncio.Future[CallRow | None]"


_Answered = tuple[_Wish, Answer]


class DatabaseLedger:
    """The ledger in tables `calls` and `attempts`. `doubled` counts responses whose key was already taken."""

    def __init__(self, engine: Engine, *, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._engine = engine
        self._pauses_s = pauses_s
        self._wishes: Gatherer[_Wish] = Gatherer()
        self._unwritten: dict[int, Record] = {}
        self.doubled = 0
        self._thread = Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    async def lookup(self, key: str) -> CallRow | None:
        return await self._wish(Lookup(key))

    async def open(self, attempt: AttemptRow) -> None:
        await self._wish(attempt)

    async def record(self, row: CallRow, attempt: str | None = None) -> CallRow:
        standing = await self._wish(Record(row, attempt))
        assert standing is not None
        return standing

    async def unpaid(self, attempt: str) -> None:
        await self._wish(Unpaid(attempt))

    async def _wish(self, wanted: Wanted) -> CallRow | None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[CallRow | None] = loop.create_future()
        if not self._wishes.put(_Wish(wanted, loop, waiter)):
            raise LedgerAway("the ledger is closed: this process is shutting down")
        return await waiter

    def close(self) -> None:
        self._wishes.close()
        self._thread.join()
        if self._unwritten:
            raise LedgerAway(f"{len(self._unwritten)} paid answers could not be written: the database was away")

    def _serve(self) -> None:
        while wishes := self._wishes.take():
            try:
                _wake(self._carry_out(wishes))
            except Exception as error:  # the thread's edge: a bug here must not leave waiters for ever
                log.exception("ledger_crashed")
                self._keep(wishes)
                _wake([(wish, LedgerAway(f"the ledger failed: {type(error).__name__}")) for wish in wishes])

    def _carry_out(self, wishes: Sequence[_Wish]) -> list[_Answered]:
        """Every wish with its answer. Rows whose turn failed for want of a database stay in `_unwritten`."""
        self._keep(wishes)
        records = list(self._unwritten.values())
        others = [wish.wanted for wish in wishes if not isinstance(wish.wanted, Record)]
        try:
            page = self._persist(records, others)
        except AWAY as error:
            log.error("ledger_away", unwritten=len(records), waiting=len(wishes))
            away = LedgerAway(f"the database cannot be reached ({cause_of(error)})")
            return [(wish, away) for wish in wishes]
        except DBAPIError:
            return self._one_by_one(records, wishes)
        self._unwritten.clear()
        return [(wish, page.answer(wish.wanted)) for wish in wishes]

    def _keep(self, wishes: Sequence[_Wish]) -> None:
        self._unwritten.update({id(w.wanted): w.wanted for w in wishes if isinstance(w.wanted, Record)})

    def _persist(self, records: Sequence[Record], others: Sequence[Wanted]) -> Page:
        """Carries everything out in one transaction, then what needs one of its own."""
        page = patiently(self._engine, lambda c: write_page(c, records, others), pauses_s=self._pauses_s)
        for attempt in page.uncovered:  # it locks its run first
            page.refused[attempt.id] = patiently(
                self._engine, partial(attempts.cover, attempt=attempt), pauses_s=self._pauses_s
            )
        self._count_doubled(page)
        return page

    def _count_doubled(self, page: Page) -> None:
        for row in page.doubled:
            self.doubled += 1
            log.warning("paid_twice", key=row.key, run=row.run_id, task=row.task_id, nusd=row.nusd)

    def _one_by_one(self, records: Sequence[Record], wishes: Sequence[_Wish]) -> list[_Answered]:
        """After something was refused: each in a transaction of its own, so that one does not take others with it."""
        answers: dict[int, Answer] = {}
        wanted: list[Wanted] = [*records, *(w.wanted for w in wishes if not isinstance(w.wanted, Record))]
        for item in wanted:
            answers[id(item)] = self._alone(item)
        for name, record in list(self._unwritten.items()):
            if not isinstance(answers[id(record)], LedgerAway):
                del self._unwritten[name]
        return [(wish, answers[id(wish.wanted)]) for wish in wishes]

    def _alone(self, item: Wanted) -> Answer:
        try:
            page = self._persist([item], []) if isinstance(item, Record) else self._persist([], [item])
            return page.answer(item)
        except AWAY as error:
            return LedgerAway(f"the database cannot be reached ({cause_of(error)})")
        except DBAPIError as error:
            log.error("ledger_refused", wanted=type(item).__name__, cause=cause_of(error))
            return LedgerRefused(f"the database does not take the row of this call ({cause_of(error)})")


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
    """A ledger for commands that need no database (`calibrate`, `doctor`) and for tests: gone with the process."""

    def __init__(self) -> None:
        self.rows: dict[str, CallRow] = {}
        self.attempts: dict[str, AttemptRow] = {}

    async def lookup(self, key: str) -> CallRow | None:
        return self.rows.get(key)

    async def open(self, attempt: AttemptRow) -> None:
        self.attempts[attempt.id] = attempt

    async def record(self, row: CallRow, attempt: str | None = None) -> CallRow:
        await self.unpaid(attempt or "")
        return self.rows.setdefault(row.key, row)

    async def unpaid(self, attempt: str) -> None:
        self.attempts.pop(attempt, None)

    def close(self) -> None:
        return None
