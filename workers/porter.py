"""The porter: what the slots of a process want of the database, carried there together.

A claim with the texts for it, a result: each is a small transaction, and a busy process wants hundreds a second. One
thread carries out all that is wanted at about the same time in one transaction; an idle one does so at once.
"""

from collections.abc import Collection, MutableMapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from db import tasks
from db.engine import AWAY, patiently
from db.errors import ServiceError, StaleLease
from db.records import Json, Lease
from workers.contracts import MAX_ATTEMPTS
from workers.gather import Gatherer
from workers.process import LEASE_S
from workers.reading import Found, brief_all

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    task_id: int


@dataclass(frozen=True, slots=True, eq=False)
class _Finish:
    lease: Lease
    result: Json


_Wanted = _Claim | _Finish


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    wanted: _Wanted
    answer: "Future[Any]" = field(default_factory=Future)


class Porter:
    """Safe to call from many threads; each call returns when what it wanted is committed.

    `claim` and `finish` raise what the database raised, one of AWAY only after `patiently` has waited, and ServiceError
    when the porter has been closed.
    """

    def __init__(self, engine: Engine, worker: str) -> None:
        self._engine = engine
        self._worker = worker
        self._wishes: Gatherer[_Wish] = Gatherer()
        self._thread = Thread(target=self._serve, name="porter", daemon=True)
        self._thread.start()

    def claim(self, task_id: int) -> tuple[Lease, Found] | None:
        """The lease on this task and what it is about, None if there is nothing to claim."""
        claimed: tuple[Lease, Found] | None = self._wish(_Claim(task_id))
        return claimed

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
        """After something was refused each is carried alone, so that one takes no others with it."""
        wanted = [wish.wanted for wish in wishes]
        try:
            return patiently(self._engine, partial(self._page, wanted=wanted))
        except AWAY:
            raise
        except DBAPIError as error:
            if len(wishes) == 1:
                return [error]
            return [answer for wish in wishes for answer in self._answers([wish])]

    def _page(self, connection: Connection, wanted: Sequence[_Wanted]) -> list[Any]:
        """Results first, then claims: one transaction, in the order in which locks are taken."""
        ended = [(one.lease, one.result) for one in wanted if isinstance(one, _Finish)]
        claiming = [one.task_id for one in wanted if isinstance(one, _Claim)]
        stored = tasks.finish_all(connection, ended)
        leases = tasks.claim_all(connection, claiming, worker=self._worker, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
        found = brief_all(connection, [lease.payload for lease in leases.values()])
        claimed = {lease.task_id: (lease, brief) for lease, brief in zip(leases.values(), found, strict=True)}
        return [_answer(one, stored, claimed) for one in wanted]


def _answer(
    one: _Wanted, stored: Collection[tuple[int, int]], claimed: MutableMapping[int, tuple[Lease, Found]]
) -> Any:
    if isinstance(one, _Claim):
        return claimed.pop(one.task_id, None)  # of a doubled hint one has it
    return None if (one.lease.task_id, one.lease.token) in stored else StaleLease(tasks.stale(one.lease))
