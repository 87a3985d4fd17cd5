"""Things wanted by many, taken up together."""

import time
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

# Measured with `make bench`. Where hundreds come in a second the cores are full, and a transaction for many of them
# saves a fifth of what a call costs. Where they come in bursts of a slow model's answers, slots wait for nothing else.
EVERY_S, CROWD_S = 0.02, 0.08
MOST, CROWD, CROWD_PER_S = 200, 12, 500.0


class Gatherer(Generic[T]):
    """A queue that one thread empties at most once in `every_s` seconds, up to `most` things at a time.

    What comes to an idle one is handed over at once. Where more than `crowd_per_s` things have come in the last second
    or so, and `crowd` of them are there, it is given `crowd_s`: then what each costs matters more than when it is done.
    """

    def __init__(
        self,
        *,
        every_s: float = EVERY_S,
        most: int = MOST,
        crowd: int = CROWD,
        crowd_s: float = CROWD_S,
        crowd_per_s: float = CROWD_PER_S,
    ) -> None:
        self._every_s = every_s
        self._most = most
        self._crowd = crowd
        self._crowd_s = crowd_s
        self._crowd_per_s = crowd_per_s
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._begun = 0.0
        self._per_s = 0.0
        self._closing = Lock()
        self._closed = False
        self._ended = False

    def put(self, item: T) -> bool:
        """Whether it was taken: after `close` nothing is."""
        with self._closing:
            if not self._closed:
                self._queue.put(item)
            return not self._closed

    def close(self) -> None:
        """Nothing more comes in; what is there is still taken up."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)

    def take(self) -> list[T]:
        """What is waiting, or the next that comes; empty when it has been closed and nothing is left."""
        item = None if self._ended else self._queue.get()
        items: list[T] = []
        while item is not None:
            items.append(item)
            if len(items) == self._most:
                break
            left = self._begun + self._patience_s(len(items)) - time.monotonic()
            try:
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                break
        else:
            self._ended = True
        self._note(len(items))
        return items

    def _patience_s(self, waiting: int) -> float:
        crowded = waiting >= self._crowd and self._per_s >= self._crowd_per_s
        return self._crowd_s if crowded else self._every_s

    def _note(self, taken: int) -> None:
        """How many come in a second: a mean that forgets within about one."""
        now = time.monotonic()
        passed_s = now - self._begun
        self._per_s += (taken - self._per_s * passed_s) / max(passed_s, 1.0)
        self._begun = now
