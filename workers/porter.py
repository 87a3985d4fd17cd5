"""The porter: what the slots of a process want of the database, carried there together.

A claim, the texts for it, a result: each is a small transaction, and a busy process wants hundreds a second. One thread
carries out all that is wanted at about the same time in one transaction, at most once in `GATHER_S`; an idle one does
so at once.
"""

from collections.abc import Collection, Iterator, MutableMapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from db import tasks
from db.engine import AWAY, patiently
from db.errors import ServiceError, StaleLease
from db.records import Json, Lease
from workers.contracts import MAX_ATTEMPTS, TreePayload
from workers.gather import Gatherer
from workers.process import LEASE_S
from workers.reading import Texts, read_all

log = structlog.get_logger()
T = TypeVar("T")

GATHER_S = 0.02
MOST, CROWD = 200, 12


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    task_id: int


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    payload: TreePayload


@dataclass(frozen=True, slots=True, eq=False)
class _Finish:
    lease: Lease
    result: Json


_Wanted = _Claim | _Read | _Finish


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    wanted: _Wanted
    answer: "Future[Any]" = field(default_factory=Future)


class Porter:
    """Safe to call from many threads; each call returns when what it wanted is committed.

    All of them raise what the database raised when it was away for longer than `patiently` waits, and ServiceError when
    the porter has been closed.
    """

    def __init__(self, engine: Engine, worker: str) -> None:
        self._engine = engine
        self._worker = worker
        self._wishes: Gatherer[_Wish] = Gatherer(every_s=GATHER_S, most=MOST, crowd=CROWD)
        self._thread = Thread(target=self._serve, name="porter", daemon=True)
        self._thread.start()

    def claim(self, task_id: int) -> Lease | None:
        """The lease on this task, None if there is nothing to claim."""
        found: Lease | None = self._wish(_Claim(task_id))
        return found

    def read(self, payload: TreePayload) -> Texts:
        """What a task is about. Raises KeyError where a text is missing."""
        found: Texts = self._wish(_Read(payload))
        return found

    def finish(self, lease: Lease, result: Json) -> None:
        """Stores a result. Raises StaleLease when the lease has gone to somebody else."""
        self._wish(_Finish(lease, result))

    def close(self) -> None:
        """Carries out what is waiting, then stops. Blocks."""
        self._wishes.close()
        self._thread.join()

    def _wish(self, wanted: _Wanted) -> Any:
        wish = _Wish(wanted)
        if not self._wishes.put(wish):
            raise ServiceError("this process is shutting down")
        return wish.answer.result()

    def _serve(self) -> None:
        while wishes := self._wishes.take():
            answers = self._answers(wishes)
            for wish, answer in zip(wishes, answers, strict=True):
                if isinstance(answer, Exception):
                    wish.answer.set_exception(answer)
                else:
                    wish.answer.set_result(answer)

    def _answers(self, wishes: Sequence[_Wish]) -> list[Any]:
        """An answer or an exception for each, whatever happens: a slot that was told nothing would wait for ever."""
        try:
            return self._carry(wishes)
        except AWAY as error:
            return [error] * len(wishes)
        except Exception as error:
            log.exception("porter_crashed")
            return [error] * len(wishes)

    def _carry(self, wishes: Sequence[_Wish]) -> list[Any]:
        """After something was refused each is carried alone, so that one does not take others with it."""
        wanted = [wish.wanted for wish in wishes]
        try:
            return patiently(self._engine, partial(self._page, wanted=wanted))
        except AWAY:
            raise
        except DBAPIError as error:
            if len(wishes) == 1:
                return [error]
            return [answer for wish in wishes for answer in self._carry([wish])]

    def _page(self, connection: Connection, wanted: Sequence[_Wanted]) -> list[Any]:
        """Results first, then claims, then texts: one transaction, in the order in which locks are taken."""
        ended = [(one.lease, one.result) for one in wanted if isinstance(one, _Finish)]
        claiming = [one.task_id for one in wanted if isinstance(one, _Claim)]
        reading = [one.payload for one in wanted if isinstance(one, _Read)]
        stored = tasks.finish_all(connection, ended)
        leases = tasks.claim_all(connection, claiming, worker=self._worker, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
        texts = iter(read_all(connection, reading))
        return [self._answer(one, stored, leases, texts) for one in wanted]

    def _answer(
        self,
        one: _Wanted,
        stored: Collection[tuple[int, int]],
        leases: MutableMapping[int, Lease],
        texts: Iterator[Texts | KeyError],
    ) -> Any:
        if isinstance(one, _Claim):
            return leases.pop(one.task_id, None)  # of a doubled hint one has it
        if isinstance(one, _Read):
            return next(texts)
        return None if (one.lease.task_id, one.lease.token) in stored else StaleLease(tasks.stale(one.lease))
