"""How a run goes, from its first tasks to its end: what the driver asks of trees and of pools alike."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection

from db.records import Run, TaskRow

# The (id, kind) of tasks to hint.
Due = list[tuple[int, str]]


class Course(Protocol):
    """All of it happens inside the transaction of one tick; when that fails, `load` reads everything again."""

    @property
    def is_busy(self) -> bool:
        """The next step has something to do, whether results come or not."""
        ...

    def load(self, connection: Connection, run_id: int) -> None:
        """Takes the run up from its rows."""

    def ready(self, finished: Sequence[TaskRow]) -> list[TaskRow]:
        """Those of the finished tasks that may be applied now, in the order in which they count."""
        ...

    def apply(self, connection: Connection, run: Run, finished: Sequence[TaskRow]) -> int:
        """Takes in what workers found; returns how many calls were replayed."""
        ...

    def step(self, connection: Connection, run: Run) -> Due:
        """Asks for what comes next, or ends the run."""
        ...
