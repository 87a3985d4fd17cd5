"""What an orchestrator tells of a run's time: seeds, what became of each task, examples. See `db.tracing`."""

import time
from collections.abc import Sequence

from sqlalchemy import Connection

from db import tasks, tracing
from db.records import Run, TaskRow
from db.tasks import Times
from db.tracing import Fact, Scope, Span
from orchestrator.apply import interpret
from workers.contracts import Kind


class Traces:
    """Notes what a transaction brings, and tells it once that is committed. For one run and one thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._roots: set[int] = set()
        self._noted: list[Span] = []

    def note(self, connection: Connection, finished: Sequence[TaskRow]) -> None:
        """Of tasks that are being applied."""
        if not tracing.on():
            return
        times = tasks.times_of(connection, [task.id for task in finished])
        for task in sorted(finished, key=lambda task: times[task.id].created_s):
            self._noted += self._of_task(task, times[task.id])

    def tell(self) -> None:
        for span in self._noted:
            tracing.tell(span)
        self._noted.clear()

    def forget(self) -> None:
        """What was noted has not come to pass."""
        self._noted.clear()

    def _of_task(self, task: TaskRow, times: Times) -> list[Span]:
        group = tracing.group_of(task.tree_id, task.payload)
        root = tracing.root_scope(self._run.id, self._run.created_at, group)
        above = root if times.claimed_s is None else tracing.task_scope(root, task.id, times.token)
        applied = Span(
            name="apply",
            scope=tracing.below(above, "apply", task.id),
            above=above,
            begun_s=times.ended_s,
            ended_s=time.time(),
            failed=(task.error or "unknown").partition(":")[0][:80] if task.state == "failed" else None,
            facts=_facts(task, times),
        )
        return [*self._root(root, group, times), applied, *_examples(task, applied)]

    def _root(self, root: Scope, group: str, times: Times) -> list[Span]:
        """With the first task of its trace that is seen here. (Another orchestrator may tell it again.)"""
        if root.span in self._roots:
            return []
        self._roots.add(root.span)
        facts: dict[str, Fact] = {"instructree.run": self._run.name, "instructree.recipe": self._run.recipe}
        return [
            Span(
                name=group.partition("/")[0],
                scope=root,
                above=None,
                begun_s=times.created_s,
                ended_s=times.created_s,
                facts=facts,
            )
        ]


def _facts(task: TaskRow, times: Times) -> dict[str, Fact]:
    facts: dict[str, Fact] = {
        "instructree.kind": task.kind,
        "instructree.state": task.state,
        "instructree.attempts": task.attempts,
    }
    if times.claimed_s is not None:
        facts["instructree.wait_s"] = max(0.0, times.claimed_s - times.due_s)
    return facts


def _examples(task: TaskRow, applied: Span) -> list[Span]:
    """A response makes an instruction an example, or is the reason why it is none."""
    if task.kind != Kind.RESPOND:
        return []
    (example,) = interpret(task).examples
    facts: dict[str, Fact] = {"instructree.status": example["status"], "instructree.reason": example["reason"] or ""}
    return [
        Span(
            name="example",
            scope=tracing.below(applied.scope, "example", task.id),
            above=applied.scope,
            begun_s=applied.ended_s,
            ended_s=applied.ended_s,
            facts=facts,
        )
    ]
