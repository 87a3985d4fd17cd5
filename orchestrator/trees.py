"""The course of a run that grows trees: growing, judging, responding, ended."""

from collections.abc import Sequence

from sqlalchemy import Connection

from db import examples, judgements, nodes, runs, tasks
from db.records import Run, TaskRow
from orchestrator.apply import interpret
from orchestrator.budget import Prompts
from orchestrator.config import TreeConfig
from orchestrator.course import Due
from orchestrator.growth import Growth
from orchestrator.harvest import Harvest


class Trees:
    """Trees in memory are a copy of their rows."""

    def __init__(self, config: TreeConfig, prompts: Prompts) -> None:
        self._growth = Growth(config, prompts)
        self._harvest = Harvest(config, prompts)

    def load(self, connection: Connection, run_id: int) -> None:
        self._growth.load(connection, run_id)
        self._harvest.forget()

    @property
    def is_busy(self) -> bool:
        return self._harvest.is_gathering

    def ready(self, finished: Sequence[TaskRow]) -> list[TaskRow]:
        """All: the core is told in any order, and counts results in the order in which it asked for them."""
        return list(finished)

    def apply(self, connection: Connection, run: Run, finished: Sequence[TaskRow]) -> int:
        """Nodes, judgements and examples."""
        applied = [interpret(task) for task in finished]
        nodes.settle(connection, self._growth.tell(applied))
        judgements.add(connection, [row for news in applied for row in news.judgements])
        examples.settle(connection, run.id, [example for news in applied for example in news.examples])
        return sum(news.replayed for news in applied)

    def step(self, connection: Connection, run: Run) -> Due:
        if run.phase != "growing" or self._harvest.is_gathering:
            return self._harvest.step(connection, run)
        added, blocked = self._growth.step(connection, run)
        if not added and self._growth.is_over:
            return self._harvest.begin(connection, run)
        if blocked and not added and not tasks.any_open(connection, run.id):
            self._growth.cut(connection, run.id)
            return self._harvest.begin(connection, runs.by_id(connection, run.id))
        return added
