"""Places for tasks: as many at once as there are, whatever their number was before."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from time import sleep
from types import SimpleNamespace

from db.workers import MOST_SLOTS
from tests.e2e.house import until
from workers.slots import Slots


class Work:
    """Tasks that wait to be let go, and how many have a place."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lock = Lock()
        self.inside = 0
        self.refused = 0
        self.done = Event()

    def task(self) -> None:
        with self._slots.one() as free:
            with self._lock:
                self.inside += free
                self.refused += not free
            if free:
                self.done.wait(20)
            with self._lock:
                self.inside -= free


def test_more_places_let_those_in_who_wait_and_fewer_let_nobody_in_until_enough_have_left():
    slots = Slots(2)
    work = Work(slots)
    with ThreadPoolExecutor(12) as threads:
        for _ in range(12):
            threads.submit(work.task)
        until(lambda: work.inside == 2, "two are in", every_s=0.01)
        slots.change(5)
        until(lambda: work.inside == 5, "five are in", every_s=0.01)
        slots.change(1)
        sleep(0.05)
        assert work.inside == 5  # what was begun is finished
        work.done.set()
    assert work.inside == 0


def test_when_it_closes_nobody_begins_any_more():
    slots = Slots(1)
    work = Work(slots)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(work.task)
        until(lambda: work.inside == 1, "one is in", every_s=0.01)
        slots.close()
        until(lambda: work.refused == 3, "the others are sent away", every_s=0.01)
        assert work.inside == 1
        work.done.set()


def test_there_is_always_one_and_never_more_than_a_process_can_have():
    slots = Slots(4)
    slots.change(0)
    assert slots.count == 1
    slots.change(10**6)
    assert slots.count == MOST_SLOTS


def test_between_two_connections_the_next_one_is_told():
    """Celery's consumer has no prefetch count while it is not connected."""
    consumer = SimpleNamespace(pool=SimpleNamespace(limit=4), qos=None, prefetch_multiplier=1, initial_prefetch_count=4)
    slots = Slots(4)
    slots.heard_by(consumer)
    slots.change(9)
    assert (consumer.pool.limit, consumer.initial_prefetch_count) == (9, 9)
