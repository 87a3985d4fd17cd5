"""What many want is taken up together; what one wants, at once."""

import time
from threading import Thread

from workers.gather import Gatherer

LONG_S = 0.5


def test_what_comes_to_an_idle_one_is_handed_over_at_once():
    gatherer = Gatherer[int](every_s=LONG_S, most=10, crowd=10)
    gatherer.put(1)
    begun = time.monotonic()
    assert gatherer.take() == [1]
    assert time.monotonic() - begun < LONG_S / 2


def test_what_comes_within_the_time_is_taken_up_together():
    gatherer = Gatherer[int](every_s=LONG_S, most=10, crowd=10)
    gatherer.put(0)
    gatherer.take()

    def feed() -> None:
        for number in range(1, 6):
            gatherer.put(number)
            time.sleep(0.01)

    feeding = Thread(target=feed)
    feeding.start()
    assert gatherer.take() == [1, 2, 3, 4, 5]
    feeding.join()


def test_no_more_than_so_many_are_taken_up_and_nothing_waits_behind_them():
    gatherer = Gatherer[int](every_s=LONG_S, most=3, crowd=3)
    for number in range(7):
        gatherer.put(number)
    begun = time.monotonic()
    assert [gatherer.take(), gatherer.take()] == [[0, 1, 2], [3, 4, 5]]
    assert time.monotonic() - begun < LONG_S / 2


def test_after_closing_nothing_comes_in_and_what_was_there_is_still_handed_over():
    gatherer = Gatherer[int](every_s=LONG_S, most=2, crowd=2)
    for number in range(3):
        assert gatherer.put(number)
    gatherer.close()
    gatherer.close()
    assert not gatherer.put(99)
    assert [gatherer.take(), gatherer.take(), gatherer.take(), gatherer.take()] == [[0, 1], [2], [], []]


def test_a_crowd_is_given_more_time_where_many_come_all_the_while():
    gatherer = Gatherer[int](every_s=0.3, most=100, crowd=3, crowd_s=0.6, crowd_per_s=10)

    def taken(count: int) -> float:
        """Seconds until so many were handed over, together."""
        begun = time.monotonic()
        for number in range(count):
            gatherer.put(number)
        assert gatherer.take() == list(range(count))
        return time.monotonic() - begun

    assert taken(20) < 0.1  # it was idle
    assert 0.2 < taken(20) < 0.5  # a burst
    assert 0.5 < taken(3) < 0.9
    assert 0.2 < taken(2) < 0.5  # no crowd
