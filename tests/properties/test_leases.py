"""Leases on real rows, in every order that hypothesis can think of; and the protocol's model beside the code."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Connection, Engine, text

from db import attempts, calls, laws, runs, tasks
from db.errors import StaleLease
from db.records import AttemptRow, CallRow, Caps, Lease, NewTask, Spend
from tests.properties.lease_machine import LeaseMachine, gentle
from tests.unit.lease_protocol import (
    ANNOUNCED,
    CLAIMED,
    IDLE,
    KNOWN,
    MAX_ATTEMPTS,
    MISSING,
    PAID,
    Move,
    State,
    walk,
)
from workers.llm.page import Record, write_page

pytestmark = pytest.mark.integration

WALKS = 150


def test_leases_do_what_their_model_says_whatever_happens(engine: Engine):
    class Here(LeaseMachine):
        pass

    Here.engine = engine
    run_state_machine_as_test(Here, settings=gentle(examples=40, steps=40))


def test_the_code_moves_as_the_protocol_that_was_explored(engine: Engine):
    """Walks through the model of tests/unit/lease_protocol.py, drawn at random, are gone with `db` as well."""
    visited: set[State] = set()
    made: set[str] = set()
    for seed in range(WALKS):
        with engine.connect() as connection:
            code = Code(connection)
            for move, expected in walk(Random(seed), most=60):
                code.make(move)
                assert code.seen() == _seen(expected), f"walk {seed}, after {move}"
                visited.add(expected)
                made.add(move.what)
            code.check_laws()
            connection.rollback()
    assert made == set(Code.MOVES)
    assert len(visited) > 1000


def _seen(state: State) -> tuple[object, ...]:
    """What the model and the database both can tell of a state."""
    task = state.task
    leased = task.state == "leased"
    row = (task.state, task.attempts, task.token, leased and task.late, leased and task.overdue)
    hinted = task.hinted and task.state == "ready"
    shown = ("gone",) if task.state == "gone" else (*row, hinted)
    return (shown, state.ledger, state.applied, state.paid, tuple(hand.phase for hand in state.hands))


class Code:
    """One task on a real database, two workers, and everybody else, each doing what the code does."""

    MOVES = (
        "claims",
        "dies",
        "beats",
        "commits",
        "commits unheard",
        "records",
        "loses the answer",
        "looks into the ledger",
        "announces",
        "is answered",
        "fails",
        "gives back",
        "the hint is lost",
        "the lease runs out",
        "the deadline passes",
        "the sweep passes",
        "the scheduler applies",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        run = runs.create(
            connection,
            name="r",
            recipe="idea-mcts",
            config={},
            config_hash="h",
            caps=Caps(calls=20),
            seeds=[{"instruction": "a"}],
            duplicates=0,
        )
        (tree,) = runs.trees_of(connection, run.id)
        reserved = Spend(calls=20, tokens=20_000)
        runs.reserve(connection, run.id, reserved)
        new = NewTask(tree_id=tree.id, key="t", kind="expand", payload={"children": []}, reserved=reserved)
        ((self.task_id, _),) = tasks.enqueue(connection, run.id, [new])
        owned = runs.adopt(connection, owner="o", lease_s=60)
        assert owned is not None
        self.run = owned
        self.leases: list[Lease | None] = [None, None]
        self.phases = [IDLE, IDLE]
        self.sent: list[AttemptRow] = []
        self.open_ones: list[AttemptRow | None] = [None, None]
        self.paid = self.applied = 0

    def make(self, move: Move) -> None:
        assert move.what in self.MOVES
        act = getattr(self, "_" + move.what.replace(" ", "_"))
        if move.who is None:
            act()
        else:
            act(move.who)

    def seen(self) -> tuple[object, ...]:
        query = """
            SELECT CASE WHEN applied_at IS NULL THEN state ELSE 'kept' END, attempts, lease_token,
                   state = 'leased' AND lease_until < now(), state = 'leased' AND deadline <= now(),
                   state = 'ready' AND coalesce(hinted_at > now() - interval '30 s', false)
            FROM tasks
        """
        row = self.connection.execute(text(query)).one_or_none()
        known = bool(calls.find(self.connection, ["k"]))
        return (tuple(row) if row else ("gone",), known, self.applied, self.paid, tuple(self.phases))

    def check_laws(self) -> None:
        assert not any(laws.recount(self.connection, self.run.id).values())

    @contextmanager
    def _fenced(self, who: int) -> Iterator[Lease]:
        """A write under this worker's lease; however it goes, the worker then turns to something else."""
        lease = self.leases[who]
        assert lease is not None
        self._dies(who)
        with suppress(StaleLease), self.connection.begin_nested():
            yield lease

    def _claims(self, who: int) -> None:
        lease = tasks.claim(self.connection, self.task_id, worker="AB"[who], lease_s=30, max_attempts=MAX_ATTEMPTS)
        self.leases[who], self.phases[who] = lease, CLAIMED if lease else IDLE

    def _dies(self, who: int) -> None:
        self.leases[who], self.phases[who], self.open_ones[who] = None, IDLE, None

    def _beats(self, who: int) -> None:
        lease = self.leases[who]
        assert lease is not None
        tasks.beat(self.connection, [(lease.task_id, lease.token)], lease_s=30)

    def _commits(self, who: int) -> None:
        with self._fenced(who) as lease:
            tasks.finish(self.connection, lease, {})

    def _commits_unheard(self, who: int) -> None:
        lease = self.leases[who]
        assert lease is not None
        try:
            with self.connection.begin_nested():
                tasks.finish(self.connection, lease, {})
        except StaleLease:
            self._dies(who)

    def _fails(self, who: int) -> None:
        with self._fenced(who) as lease:
            tasks.fail(self.connection, lease, error="no")

    def _gives_back(self, who: int) -> None:
        with self._fenced(who) as lease:
            tasks.give_back(self.connection, lease, error="world", delay_s=0)

    def _loses_the_answer(self, who: int) -> None:
        with self._fenced(who) as lease:
            tasks.retry(self.connection, lease, error="lost", delay_s=0, max_attempts=MAX_ATTEMPTS)

    def _looks_into_the_ledger(self, who: int) -> None:
        self.phases[who] = KNOWN if calls.find(self.connection, ["k"]) else MISSING

    def _announces(self, who: int) -> None:
        lease = self.leases[who]
        assert lease is not None
        wanted = AttemptRow(
            id=f"a{len(self.sent)}",
            key="k",
            run_id=self.run.id,
            task_id=self.task_id,
            lease_token=lease.token,
            role="evolver",
            endpoint="default",
            tokens=100,
            nusd=None,
        )
        if attempts.open_all(self.connection, [wanted]):
            self._dies(who)
        else:
            self.sent.append(wanted)
            self.open_ones[who], self.phases[who] = wanted, ANNOUNCED

    def _is_answered(self, who: int) -> None:
        self.paid += 1
        self.phases[who] = PAID

    def _records(self, who: int) -> None:
        made = self.open_ones[who]
        assert made is not None
        row = CallRow(
            key="k",
            run_id=self.run.id,
            task_id=self.task_id,
            role="evolver",
            endpoint="default",
            model="m",
            tokens_in=10,
            tokens_out=5,
            nusd=None,
            latency_s=float(self.paid),
            outcome="ok",
            response={"text": made.id},
        )
        write_page(self.connection, [Record(row, made.id)], [])
        self.phases[who] = KNOWN

    def _the_hint_is_lost(self) -> None:
        self._set("hinted_at = now() - interval '1 hour'")

    def _the_lease_runs_out(self) -> None:
        self._set("lease_until = now() - interval '1 second'")

    def _the_deadline_passes(self) -> None:
        self._set("lease_until = now() - interval '1 second', deadline = now() - interval '1 second'")

    def _set(self, what: str) -> None:
        self.connection.execute(text(f"UPDATE tasks SET {what}"))

    def _the_sweep_passes(self) -> None:
        tasks.sweep(self.connection, self.run.id, max_attempts=MAX_ATTEMPTS, hint_age_s=30)

    def _the_scheduler_applies(self) -> None:
        runs.hold(self.connection, self.run, lease_s=60)
        finished = tasks.finished(self.connection, self.run.id, 200)
        reserved = sum((task.reserved for task in finished), Spend())
        runs.settle(self.connection, self.run.id, reserved=reserved, task_ids=[t.id for t in finished], replayed=0)
        tasks.close(self.connection, finished)
        self.applied += len(finished)
