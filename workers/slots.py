"""How many tasks a worker takes at once: a number that may change while it works.

Celery's threads pool can neither grow nor shrink. Here threads come as tasks do, and the number of tasks is bounded
twice: by how many hints are fetched before one is acknowledged (Celery's prefetch; acknowledged late, those are the
tasks in hand), which leaves hints to other workers; and by a place for each task in this process, which holds whatever
the broker makes of a prefetch count that changes.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import Any

import structlog
from celery.concurrency.thread import TaskPool
from celery.worker.consumer import Consumer

from db.workers import MOST_SLOTS

log = structlog.get_logger()


class Slots:
    """The places for tasks. Safe to use from many threads."""

    def __init__(self, count: int) -> None:
        self._news = Condition()
        self._count = count
        self._taken = 0
        self._closed = False
        self._consumer: Consumer | None = None

    @property
    def count(self) -> int:
        return self._count

    def heard_by(self, consumer: Consumer) -> None:
        """Celery's consumer, once there is one: it fetches as many hints as there are places."""
        self._consumer = consumer

    def change(self, count: int) -> None:
        """Sets their number, brought into 1..MOST_SLOTS; tasks in hand beyond it are finished."""
        with self._news:
            before, self._count = self._count, min(max(count, 1), MOST_SLOTS)
            self._news.notify_all()
            if self._consumer is not None:
                _fetch(self._consumer, self._count - before)
        log.info("slots_changed", before=before, slots=self._count)

    def close(self) -> None:
        """No task is begun any more."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    @contextmanager
    def one(self) -> Iterator[bool]:
        """A place for one task, waited for; False where no task is to be begun any more."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self._taken < self._count)
            mine = not self._closed
            self._taken += mine
        try:
            yield mine
        finally:
            with self._news:
                self._taken -= mine
                self._news.notify()


def _fetch(consumer: Consumer, more: int) -> None:
    """As Celery's own `pool_grow` and `pool_shrink` do it, from a thread of ours: its loop looks once a second."""
    consumer.pool.limit += more
    if consumer.qos is None:  # between two connections; the next one begins with it
        consumer.initial_prefetch_count = consumer.pool.limit * consumer.prefetch_multiplier
    else:
        consumer._update_prefetch_count(more)


class Pool(TaskPool):  # type: ignore[misc]  # celery ships no types
    """For `worker_pool`: a thread is made when a task comes and none is idle."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.executor = ThreadPoolExecutor(max_workers=MOST_SLOTS, thread_name_prefix="slot")
