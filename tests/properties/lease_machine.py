"""The queue of one run on a real database, driven at random beside its model.

Time does not pass: it is written into the rows. All of an example happens in one transaction that is rolled back, so
`now()` stands still and the next example finds an empty database; what a worker or scheduler does in a transaction of
its own is a savepoint here. (What happens between transactions of several connections is tests/integration's part.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection, Engine, text

from db import laws, runs, tasks
from db.errors import StaleLease
from db.records import Caps, Lease, NewTask, Run, Spend
from tests.properties.lease_model import MAX_ATTEMPTS, Book

LEASE_S, HINT_AGE_S, LATER_S = 30.0, 30.0, 60.0
KEYS = [f"t{i}" for i in range(12)]

_TASKS = """
    SELECT id, key, state, attempts, lease_token,
           state = 'leased' AND lease_until < now(), state = 'leased' AND deadline <= now(),
           state = 'ready' AND not_before <= now(),
           coalesce(state = 'ready' AND hinted_at >= now() - make_interval(secs => :age), false),
           applied_at IS NOT NULL, reserved_calls, reserved_tokens, reserved_nusd
    FROM tasks
"""
_LATE = "lease_until = now() - interval '1 second'"
_OVERDUE = f"{_LATE}, deadline = now() - interval '1 second'"
_DUE = "not_before = now()"
_FORGOTTEN = "hinted_at = now() - interval '1 hour'"


# What may happen, the more often the likelier. Acts for which there is no occasion do nothing.
ACTS = (
    *6 * ("claim",),
    *4 * ("issue", "relieve"),
    *2 * ("clock", "sweep", "apply", "pause", "resume", "end_at_once"),
    *("beat", "finish", "fail", "retry", "give_back", "withdraw", "cancel"),
    *("apply_and_die", "succeed", "apply_as_former_owner"),
)


@dataclass(frozen=True, slots=True)
class Lot:
    """What chance adds to an act: on which of many, in which of two ways, and how much."""

    pick: int
    odd: bool
    size: int  # 0 to 99


LOTS = st.builds(Lot, st.integers(0, 11), st.booleans(), st.integers(0, 99))


def gentle(examples: int, steps: int) -> settings:
    """The same examples on every machine, and no clock: the database of a busy machine may be slow.

    A failure is shown as it was found, for shrinking one takes minutes: whoever hunts one leaves `phases` out.
    """
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class LeaseMachine(RuleBasedStateMachine):
    """Workers, sweeps, a scheduler, a user and the clock, in any order.

    It has a single rule with a choice: hypothesis leaves out about half of a machine's rules in each example, so that
    of many the few that make up a story would hardly ever come together.
    """

    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        self.connection = self.engine.connect()
        self._around = self.connection.begin()
        self.leases: list[Lease] = []
        self.owners: list[Run] = []
        self._tokens: dict[int, int] = {}

    def teardown(self) -> None:
        self._around.rollback()
        self.connection.close()

    @initialize(calls=st.none() | st.integers(4, 30), tokens=st.none() | st.integers(300, 4000))
    def begin(self, calls: int | None, tokens: int | None) -> None:
        self.start(Caps(calls=calls, tokens=tokens))

    @rule(what=st.sampled_from(ACTS), lot=LOTS)
    def happens(self, what: str, lot: Lot) -> None:
        getattr(self, what)(lot)

    def start(self, caps: Caps) -> None:
        """A run with two tasks, one of them claimed, as far as the caps allow."""
        self.book = Book(caps=caps)
        run = runs.create(
            self.connection,
            name="r",
            recipe="idea-mcts",
            config={},
            config_hash="h",
            caps=caps,
            seeds=[{"instruction": "a"}],
            duplicates=0,
        )
        (self._tree,) = runs.trees_of(self.connection, run.id)
        self.run_id = run.id
        self._adopt("first")
        self._issue(KEYS[:2], Spend(calls=2, tokens=150, nusd=300))
        self.claim(Lot(0, False, 0))

    def _adopt(self, owner: str) -> None:
        run = runs.adopt(self.connection, owner=owner, lease_s=20)
        assert run is not None
        assert runs.adopt(self.connection, owner="other", lease_s=20) is None
        self.owners.append(run)

    @property
    def running(self) -> bool:
        return self.book.status == "running"

    def lease(self, lot: Lot) -> Lease | None:
        """One that was given out once; in two of three cases one that still holds."""
        held = [lease for lease in self.leases if self.book.holds(lease.task_id, lease.token)]
        found = held if held and lot.pick % 3 else self.leases
        return found[lot.pick % len(found)] if found else None

    def held(self, lot: Lot) -> Lease | None:
        lease = self.lease(lot)
        return lease if lease and self.book.holds(lease.task_id, lease.token) else None

    # -- workers

    def claim(self, lot: Lot) -> None:
        """As a hint says, be it the first, a doubled or a late one."""
        found = sorted(self.book.tasks, key=lambda task_id: (self.book.tasks[task_id].state != "ready", task_id))
        if found:
            self._claim(found[lot.pick % len(found)], "AB"[lot.odd])

    def _claim(self, task_id: int, worker: str) -> None:
        expected = self.book.claim(task_id)
        lease = tasks.claim(self.connection, task_id, worker=worker, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
        assert (lease and lease.token) == expected
        if lease:
            assert lease.token > self._tokens.get(task_id, 0)
            self._tokens[task_id] = lease.token
            self.leases.append(lease)

    def beat(self, lot: Lot) -> None:
        held = {(one.task_id, one.token) for one in (self.leases if lot.odd else [self.lease(lot)]) if one}
        assert tasks.beat(self.connection, held, lease_s=LEASE_S) == self.book.beat(held)

    def finish(self, lot: Lot) -> None:
        if lease := self.lease(lot):
            for _ in range(1 + lot.odd):
                accepted = self.book.finish(lease)
                assert accepted == self._accepts(partial(tasks.finish, lease=lease, result={"by": lease.token}))

    def fail(self, lot: Lot) -> None:
        if lease := self.lease(lot):
            accepted = self.book.fail(lease)
            assert accepted == self._accepts(partial(tasks.fail, lease=lease, error="no" * 10 * lot.size))

    def retry(self, lot: Lot) -> None:
        if lease := self.lease(lot):
            accepted = self.book.retry(lease, due=lot.odd)
            again = partial(tasks.retry, lease=lease, error="no", max_attempts=MAX_ATTEMPTS)
            assert accepted == self._accepts(partial(again, delay_s=0.0 if lot.odd else LATER_S))

    def give_back(self, lot: Lot) -> None:
        if lease := self.lease(lot):
            accepted = self.book.give_back(lease, due=lot.odd)
            again = partial(tasks.give_back, lease=lease, error="the world")
            assert accepted == self._accepts(partial(again, delay_s=0.0 if lot.odd else LATER_S))

    def _accepts(self, write: Callable[[Connection], object]) -> bool:
        """Whether a fenced write goes through, in a transaction of its own."""
        try:
            with self.connection.begin_nested():
                write(self.connection)
        except StaleLease:
            return False
        return True

    def relieve(self, lot: Lot) -> None:
        """A worker is silent or stuck, another takes its task over, and it knows nothing of that."""
        lease = self.held(lot)
        if lease and self.running:
            self._expire(lease.task_id, stuck=lot.odd)
            self.sweep(lot)
            self._claim(lease.task_id, "B")

    def end_at_once(self, lot: Lot) -> None:
        """A result is applied while requests of its worker, or of those before, may still be out."""
        if self.held(lot) and self.running:
            self.finish(lot)
            self.apply(lot)

    # -- the clock

    def clock(self, lot: Lot) -> None:
        """One of the two clocks of a lease runs out; or a task comes due, or its hint grows old."""
        going = sorted(self.book.outstanding().items())
        task_id, task = going[lot.pick % len(going)] if going else (0, None)
        if task and task.state == "leased":
            self._expire(task_id, stuck=lot.odd)
        elif task and task.state == "ready":
            self._write(task_id, "hinted_at = now() - interval '1 hour'" if lot.odd else "not_before = now()")
            task.hinted, task.due = task.hinted and not lot.odd, task.due or not lot.odd

    def _expire(self, task_id: int, *, stuck: bool) -> None:
        late = "now() - interval '1 second'"
        self._write(task_id, f"lease_until = {late}" + (f", deadline = {late}" if stuck else ""))
        task = self.book.tasks[task_id]
        task.late, task.overdue = True, task.overdue or stuck

    def _write(self, task_id: int, what: str) -> None:
        self.connection.execute(text(f"UPDATE tasks SET {what} WHERE id = :id"), {"id": task_id})

    # -- the scheduler

    def sweep(self, _: Lot) -> None:
        if self.running:
            runs.hold(self.connection, self.owners[-1], lease_s=20)
            hinted = tasks.sweep(self.connection, self.run_id, max_attempts=MAX_ATTEMPTS, hint_age_s=HINT_AGE_S)
            assert {task_id for task_id, _ in hinted} == self.book.sweep()

    def apply(self, _: Lot) -> None:
        if self.running:
            assert self._close_finished(self.owners[-1]) == self.book.apply()

    def apply_and_die(self, _: Lot) -> None:
        if self.running:
            with self.connection.begin_nested() as half:
                self._close_finished(self.owners[-1])
                half.rollback()

    def apply_as_former_owner(self, lot: Lot) -> None:
        if former := self.owners[:-1]:
            with pytest.raises(StaleLease), self.connection.begin_nested():
                self._close_finished(former[lot.pick % len(former)])

    def _close_finished(self, owner: Run) -> set[int]:
        """What a tick of the driver does with what has finished."""
        runs.hold(self.connection, owner, lease_s=20)
        finished = tasks.finished(self.connection, self.run_id, 200)
        reserved = sum((task.reserved for task in finished), Spend())
        runs.settle(self.connection, self.run_id, reserved=reserved, task_ids=[t.id for t in finished], replayed=0)
        tasks.close(self.connection, finished)
        return {task.id for task in finished}

    def succeed(self, _: Lot) -> None:
        """The owner dies, and another adopts its run."""
        if self.running:
            self.connection.execute(text("UPDATE runs SET owner_until = now() - interval '1 second'"))
            self._adopt("next")

    def withdraw(self, lot: Lot) -> None:
        if self.running and lot.pick == 0:
            tasks.withdraw(self.connection, self.run_id, "budget")
            self.book.withdraw()

    def issue(self, lot: Lot) -> None:
        tokens = 60 + lot.size
        start = lot.pick % len(KEYS)
        self._issue(KEYS[start : start + 1 + lot.odd], Spend(calls=1 + lot.size % 3, tokens=tokens, nusd=2 * tokens))

    def _issue(self, keys: Sequence[str], reserved: Spend) -> None:
        """What fits under the caps is reserved and enqueued, with what is there already and must not come twice."""
        present = {task.key for task in self.book.tasks.values()}
        fresh = [key for key in keys if key not in present and key not in self.book.ended]
        if not self.running or not self.book.fits(reserved.times(len(fresh))):
            return
        new = [self._task(key, reserved) for key in [*fresh, *(key for key in keys if key in present)]]
        runs.reserve(self.connection, self.run_id, reserved.times(len(fresh)))
        added = tasks.enqueue(self.connection, self.run_id, new)
        assert len(added) == len(fresh)
        for (task_id, _), key in zip(sorted(added), fresh, strict=True):
            self.book.enqueue(task_id, key, reserved)

    def _task(self, key: str, reserved: Spend) -> NewTask:
        return NewTask(tree_id=self._tree.id, key=key, kind="expand", payload={"children": []}, reserved=reserved)

    # -- the user

    def pause(self, _: Lot) -> None:
        if self.running:
            runs.set_status(self.connection, self.run_id, "paused", reason="paused")
            self.book.status = "paused"

    def resume(self, _: Lot) -> None:
        if self.book.status == "paused":
            tasks.forgive(self.connection, self.run_id)
            runs.set_status(self.connection, self.run_id, "running")
            self.book.forgive()
            self.book.status = "running"

    def cancel(self, _: Lot) -> None:
        """Late, or too many examples would end in their first steps."""
        if self.book.status != "cancelled" and len(self.leases) > 3:
            runs.cancel(self.connection, self.run_id)
            self.book.cancel()

    # -- the laws, after every step

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        rows = {row[0]: (*row[1:10], Spend(calls=row[10], tokens=row[11], nusd=row[12])) for row in self._rows()}
        assert rows == {task_id: task.seen for task_id, task in self.book.tasks.items()}
        run = runs.by_id(self.connection, self.run_id)
        assert (run.status, run.reserved, run.spent) == (self.book.status, self.book.reserved, self.book.spent)

    def _rows(self) -> Sequence[tuple]:
        return [tuple(row) for row in self.connection.execute(text(_TASKS), {"age": HINT_AGE_S})]

    @invariant()
    def no_task_ends_twice_or_is_attempted_too_often(self) -> None:
        assert all(ends <= 1 for ends in self.book.ended.values())
        assert all(task.ends <= 1 and task.attempts <= MAX_ATTEMPTS for task in self.book.tasks.values())

    @invariant()
    def the_laws_hold(self) -> None:
        assert self.book.fits(Spend())
        broken = {law: faults for law, faults in laws.recount(self.connection, self.run_id).items() if faults}
        assert broken == {}
