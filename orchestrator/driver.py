"""The scheduler of one run: applies what workers finished, asks the core, issues what it proposes.

Everything a tick does is one transaction, fenced by the run's owner token: results applied, statistics, follow-up tasks
and the budget change together or not at all. Hints go out after the commit. Trees in memory are a copy of their rows;
when a transaction fails they are thrown away and read again.
"""

import structlog
from sqlalchemy import Connection, Engine

from db import calls, minutes, notices, runs, tasks
from db.changes import trait_of
from db.chaos import stumble
from db.errors import BROKEN_ENDPOINT
from db.records import Run, Spend, TaskRow
from orchestrator import outages
from orchestrator.budget import Prompts
from orchestrator.config import PoolConfig, RunConfig, TreeConfig, present_config
from orchestrator.course import Course, Due
from orchestrator.endings import pause
from orchestrator.traces import Traces
from orchestrator.trees import Trees
from orchestrator.widening import Widening
from workers.config import Role
from workers.contracts import MAX_ATTEMPTS

log = structlog.get_logger()

OWNER_LEASE_S = 20.0
HINT_AGE_S = 30.0
BATCH = 200


class Driver:
    """Drives one run that this process owns, one transaction per `tick`.

    `unready` is how many tasks the last one found that had ended and could not be applied yet; `is_eager`, whether it
    left something to do that needs no waiting.
    """

    def __init__(self, engine: Engine, run: Run) -> None:
        self._engine = engine
        self._run = run
        self._prompts: dict[Role, int] = {}
        self._course = course_of(present_config(run), self._prompts)
        self._changes = run.changes
        self._loaded = False
        self._traces = Traces(run)
        self.unready = 0
        self.is_eager = False

    @property
    def run(self) -> Run:
        return self._run

    @property
    def over(self) -> bool:
        """Nothing to drive any more: the run has ended, or its user has stopped it for now."""
        return self._run.status != "running"

    def tick(self) -> tuple[bool, Due]:
        """One round. Returns whether anything moved, and the (id, kind) of tasks to hint.

        Raises:
            StaleLease: another orchestrator has adopted the run.
        """
        try:
            with self._engine.begin() as connection:
                self._run = runs.hold(connection, self._run, lease_s=OWNER_LEASE_S)
                done = (False, []) if self.over else self._round(connection)
                stumble()
            self._traces.tell()
            stumble()
            return done
        except BaseException:
            self._loaded = False
            self._traces.forget()
            raise

    def sweep(self, hint_age_s: float = HINT_AGE_S, *, stall_s: float | None = None) -> Due:
        """Frees what dead workers held, and returns due tasks whose hint seems lost; pauses on a broken endpoint, and
        announces a run in which nothing has moved for `stall_s`, and before that an endpoint that is down.
        """
        with self._engine.begin() as connection:
            self._run = runs.hold(connection, self._run, lease_s=OWNER_LEASE_S)
            if error := tasks.complaint(connection, self._run.id, BROKEN_ENDPOINT):
                pause(connection, self._run, error.partition(": ")[2])
                self._run = runs.by_id(connection, self._run.id)
                return []
            if stall_s is not None:
                self._watch(connection, stall_s)
            return tasks.sweep(connection, self._run.id, max_attempts=MAX_ATTEMPTS, hint_age_s=hint_age_s)

    def _watch(self, connection: Connection, stall_s: float) -> None:
        outages.watch(connection, self._run, stall_s=stall_s)
        if notices.watch(connection, self._run.id, after_s=stall_s):
            log.warning("run_stalled", run=self._run.name)

    def let_go(self) -> None:
        with self._engine.begin() as connection:
            runs.let_go(connection, self._run)

    def _round(self, connection: Connection) -> tuple[bool, Due]:
        if self._run.changes != self._changes:
            self._take_in_changes()
        if not self._loaded:
            self._course.load(connection, self._run.id)
            self._loaded = True
        applied = self._apply(connection)
        if applied:
            self._run = runs.by_id(connection, self._run.id)
        added = self._course.step(connection, self._run)
        self._run = runs.by_id(connection, self._run.id)
        self.is_eager = applied == BATCH or self._course.is_busy
        return bool(applied or added or self._course.is_busy), added

    def _take_in_changes(self) -> None:
        """What reads the configuration is made anew. Caps need none of that: they are read at every step."""
        if any(trait_of(change.what) for change in self._run.changes[len(self._changes) :]):
            self._course = course_of(present_config(self._run), self._prompts)
            self._loaded = False
        self._changes = self._run.changes

    def _apply(self, connection: Connection) -> int:
        """Takes in what workers finished, and what it cost; their tasks are done with."""
        ended = tasks.finished(connection, self._run.id, BATCH)
        finished = self._course.ready(ended)
        self.unready = len(ended) - len(finished)
        if not finished:
            return 0
        replayed = self._course.apply(connection, self._run, finished)
        runs.settle(
            connection,
            self._run.id,
            reserved=sum((task.reserved for task in finished), Spend()),
            task_ids=[task.id for task in finished],
            replayed=replayed,
        )
        self._learn(connection, finished)
        self._traces.note(connection, finished)
        minutes.record(connection, [task.id for task in finished])
        tasks.close(connection, finished)
        return len(finished)

    def _learn(self, connection: Connection, finished: list[TaskRow]) -> None:
        """How long prompts really are, so that no more is reserved than may be needed."""
        for role, tokens in calls.longest_prompts(connection, [task.id for task in finished]).items():
            self._prompts[Role(role)] = max(tokens, self._prompts.get(Role(role), 0))


def course_of(config: RunConfig, prompts: Prompts) -> Course:
    """How a run of this configuration goes."""
    if isinstance(config, PoolConfig):
        return Widening(config, prompts)
    assert isinstance(config, TreeConfig)
    return Trees(config, prompts)
