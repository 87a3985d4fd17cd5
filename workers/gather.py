"""Things wanted by many, taken up together."""

import time
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

# Measured with `make bench`: a call waits for three or four of these, of a second or more that a model takes; where
# hundreds come in a second both cores are full, and a transaction for many of them saves a fifth of what a call costs.
EVERY_S, CROWD_S = 0.02, 0.08
MOST, CROWD = 200, 12


class Gatherer(Generic[T]):
    """A queue that one thread empties at most once in `every_s` seconds, up to `most` things at a time.

    What comes to an idle one is handed over at once. Where `crowd` things come within the time it is given `crowd_s`:
    then what each costs matters more than when it is done.
    """

    def __init__(
        self, *, every_s: float = EVERY_S, most: int = MOST, crowd: int = CROWD, crowd_s: float = CROWD_S
    ) -> None:
        self._every_s = every_s
        self._most = most
        self._crowd = crowd
        self._crowd_s = crowd_s
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._begun = 0.0
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
            patience_s = self._every_s if len(items) < self._crowd else self._crowd_s
            left = self._begun + patience_s - time.monotonic()
            try:
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                break
        else:
            self._ended = True
        self._begun = time.monotonic()
        return items
