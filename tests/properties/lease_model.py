"""What the queue, the ledger and the budget of one run should look like: plain Python, told everything that happens.

It predicts who may do what and what it changes, after the words of `db.tasks` and `db.attempts`, not their code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from db.attempts import Refusal
from db.records import AttemptRow, Caps, Lease, Spend

MAX_ATTEMPTS = 3


@dataclass(slots=True, kw_only=True)
class Task:
    key: str
    reserved: Spend
    state: str = "ready"
    attempts: int = 0
    token: int = 0
    late: bool = False  # its lease has run out, and nobody has noticed yet
    overdue: bool = False  # and so has its deadline: no beat helps any more
    due: bool = True
    hinted: bool = True  # not so long ago that the hint must be lost
    applied: bool = False
    ends: int = 0

    @property
    def seen(self) -> tuple[object, ...]:
        """What a row shows: clocks only where they mean something."""
        leased, ready = self.state == "leased", self.state == "ready"
        clocks = (leased and self.late, leased and self.overdue, ready and self.due, ready and self.hinted)
        return (self.key, self.state, self.attempts, self.token, *clocks, self.applied, self.reserved)


@dataclass(slots=True, kw_only=True)
class Attempt:
    key: str
    task_id: int
    cost: Spend  # the most it can cost; once doubled, what it did cost
    fate: str = "open"
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    task_id: int
    cost: Spend


@dataclass(slots=True, kw_only=True)
class Book:
    """The run as it should be. Ids are those that the database gave."""

    caps: Caps
    status: str = "running"
    reserved: Spend = field(default_factory=Spend)
    spent: Spend = field(default_factory=Spend)
    tasks: dict[int, Task] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # how often each task of the past came to an end
    attempts: dict[str, Attempt] = field(default_factory=dict)
    calls: dict[str, Paid] = field(default_factory=dict)

    # -- the queue

    def outstanding(self) -> dict[int, Task]:
        return {task_id: task for task_id, task in self.tasks.items() if not task.applied}

    def enqueue(self, task_id: int, key: str, reserved: Spend) -> None:
        self.tasks[task_id] = Task(key=key, reserved=reserved)
        self.reserved += reserved

    def claim(self, task_id: int) -> int | None:
        """The token that a claim gets, if it gets one."""
        task = self.tasks.get(task_id)
        if task is None or self.status != "running":
            return None
        if task.state != "ready" or not task.due or task.attempts >= MAX_ATTEMPTS:
            return None
        task.state, task.late, task.overdue = "leased", False, False
        task.attempts += 1
        task.token += 1
        return task.token

    def holds(self, task_id: int, token: int) -> bool:
        task = self.tasks.get(task_id)
        return task is not None and task.state == "leased" and task.token == token

    def beat(self, pairs: Iterable[tuple[int, int]]) -> set[int]:
        kept = {task_id for task_id, token in pairs if self.holds(task_id, token) and not self.tasks[task_id].overdue}
        for task_id in kept:
            self.tasks[task_id].late = False
        return kept

    def finish(self, lease: Lease) -> bool:
        return self._end_lease(lease, "done")

    def fail(self, lease: Lease) -> bool:
        return self._end_lease(lease, "failed")

    def retry(self, lease: Lease, *, due: bool) -> bool:
        return self._end_lease(lease, "ready" if lease.attempts < MAX_ATTEMPTS else "failed", due=due)

    def give_back(self, lease: Lease, *, due: bool) -> bool:
        if not self._end_lease(lease, "ready", due=due):
            return False
        self.tasks[lease.task_id].attempts -= 1
        return True

    def _end_lease(self, lease: Lease, state: str, *, due: bool = True) -> bool:
        if not self.holds(lease.task_id, lease.token):
            return False
        self._become(self.tasks[lease.task_id], state, due=due)
        return True

    def _become(self, task: Task, state: str, *, due: bool) -> None:
        task.state, task.due, task.hinted = state, due, False
        if state in ("done", "failed"):
            task.ends += 1

    def sweep(self) -> set[int]:
        """The tasks whose hints are sent again."""
        for task in self.tasks.values():
            if task.state == "leased" and task.late:
                self._become(task, "failed" if task.attempts >= MAX_ATTEMPTS else "ready", due=True)
        forgotten = {i for i, task in self.tasks.items() if task.state == "ready" and task.due and not task.hinted}
        for task_id in forgotten:
            self.tasks[task_id].hinted = True
        return forgotten

    def forgive(self) -> None:
        for task in self.tasks.values():
            if task.state == "ready":
                task.due, task.hinted = True, False

    def withdraw(self) -> None:
        for task in self.tasks.values():
            if task.state == "ready":
                self._become(task, "failed", due=True)

    # -- the budget

    def apply(self) -> set[int]:
        """The scheduler applies all that has finished, and closes it."""
        finished = {i for i, task in self.outstanding().items() if task.state in ("done", "failed")}
        self._settle(finished)
        for task_id in finished:
            task = self.tasks[task_id]
            self.reserved -= task.reserved
            if task.state == "done":
                self._forget(task_id)
            else:
                task.applied, task.reserved = True, Spend()
        return finished

    def cancel(self) -> None:
        going = set(self.outstanding())
        self._settle(going)
        for task_id in going:
            self._forget(task_id)
        self.reserved, self.status = Spend(), "cancelled"

    def _forget(self, task_id: int) -> None:
        task = self.tasks.pop(task_id)
        self.ended[task.key] = task.ends

    def _settle(self, task_ids: set[int]) -> None:
        self.spent += sum((self.used(task_id) for task_id in task_ids), Spend())
        for attempt in self.attempts.values():
            if attempt.task_id in task_ids:
                attempt.settled = True
                attempt.fate = "lost" if attempt.fate == "open" else attempt.fate

    def used(self, task_id: int) -> Spend:
        """What was paid for a task, or may have been."""
        answers = [paid.cost for paid in self.calls.values() if paid.task_id == task_id]
        return sum((a.cost for a in self.attempts.values() if a.task_id == task_id), sum(answers, Spend()))

    def fits(self, more: Spend) -> bool:
        total = self.reserved + self.spent + more
        pairs = ((self.caps.calls, total.calls), (self.caps.tokens, total.tokens), (self.caps.nusd, total.nusd))
        return all(cap is None or amount <= cap for cap, amount in pairs)

    # -- attempts and answers

    def open(self, wanted: AttemptRow) -> Refusal | None:
        """Again is harmless while it is open; one that was lost meanwhile is not sent any more."""
        if wanted.id in self.attempts and self.attempts[wanted.id].fate == "open":
            return None
        if not self.holds(wanted.task_id, wanted.lease_token):
            return Refusal.STALE
        if self.status != "running":
            return Refusal.HALTED
        if self._lacks(wanted) != Spend():
            return Refusal.UNCOVERED
        self.attempts[wanted.id] = Attempt(key=wanted.key, task_id=wanted.task_id, cost=_most(wanted))
        return None

    def cover(self, wanted: AttemptRow) -> Refusal | None:
        """Reserves only what the attempt still lacks, and only for an attempt that is then made."""
        refused = self.open(wanted)
        if refused is not Refusal.UNCOVERED:
            return refused
        more = self._lacks(wanted)
        if not self.fits(more):
            return Refusal.CAP
        self.reserved += more
        self.tasks[wanted.task_id].reserved += more
        return self.open(wanted)

    def _lacks(self, wanted: AttemptRow) -> Spend:
        short = self.used(wanted.task_id) + _most(wanted) - self.tasks[wanted.task_id].reserved
        return Spend(calls=max(short.calls, 0), tokens=max(short.tokens, 0), nusd=max(short.nusd, 0))

    def unpaid(self, attempt_id: str) -> None:
        self._drop(attempt_id, Spend())

    def record(self, answers: Sequence[tuple[str, Spend]]) -> None:
        """Answers of attempts that are known: the first under a key stands, another was paid for in vain."""
        for attempt_id, cost in answers:
            attempt = self.attempts[attempt_id]
            if attempt.key not in self.calls:
                self.calls[attempt.key] = Paid(task_id=attempt.task_id, cost=cost)
                self._drop(attempt_id, cost)
            else:
                if attempt.settled:
                    self.spent += cost - attempt.cost
                attempt.cost, attempt.fate = cost, "doubled"

    def _drop(self, attempt_id: str, cost: Spend) -> None:
        attempt = self.attempts.pop(attempt_id)
        if attempt.settled:
            self.spent += cost - attempt.cost


def _most(wanted: AttemptRow) -> Spend:
    return Spend(calls=1, tokens=wanted.tokens, nusd=wanted.nusd or 0)
