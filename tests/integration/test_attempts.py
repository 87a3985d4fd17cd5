"""Attempts between connections: what two transactions do to one task, one answer, one cap, at the same time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, text

from db import attempts, calls, laws, runs, tasks
from db.attempts import Refusal
from db.records import AttemptRow, CallRow, Caps, Lease, NewTask, Run, Spend
from workers.llm.errors import BudgetSpent, Withdrawn
from workers.llm.ledger import DatabaseLedger
from workers.llm.page import Page, Record, Unpaid, Wanted, write_page

MOST = Spend(calls=1, tokens=100, nusd=300)
REAL = Spend(calls=1, tokens=30, nusd=77)
_numbers = count()


def begin(engine: Engine, caps: Caps, reserved: Spend, number: int = 1) -> tuple[Run, list[Lease]]:
    """A run that is owned, with tasks that are claimed."""
    with engine.begin() as connection:
        runs.create(
            connection,
            name="r",
            recipe="idea-mcts",
            config={},
            config_hash="h",
            caps=caps,
            seeds=[{"instruction": "a"}],
            duplicates=0,
        )
        run = runs.adopt(connection, owner="driver", lease_s=60)
        assert run is not None
        return run, [claim(connection, issue(connection, run, reserved)) for _ in range(number)]


def issue(connection: Connection, run: Run, reserved: Spend) -> int:
    (tree,) = runs.trees_of(connection, run.id)
    new = NewTask(tree_id=tree.id, key=f"t{next(_numbers)}", kind="expand", payload={}, reserved=reserved)
    runs.reserve(connection, run.id, reserved)
    ((task_id, _),) = tasks.enqueue(connection, run.id, [new])
    return task_id


def claim(connection: Connection, task_id: int) -> Lease:
    lease = tasks.claim(connection, task_id, worker="w", lease_s=60, max_attempts=5)
    assert lease is not None
    return lease


def attempt(lease: Lease, key: str | None = None, most: Spend = MOST) -> AttemptRow:
    number = next(_numbers)
    return AttemptRow(
        id=f"a{number:06}",
        key=key or f"k{number}",
        run_id=lease.run_id,
        task_id=lease.task_id,
        lease_token=lease.token,
        role="evolver",
        endpoint="default",
        tokens=most.tokens,
        nusd=most.nusd,
    )


def answer(made: AttemptRow, cost: Spend = REAL) -> Record:
    row = CallRow(
        key=made.key,
        run_id=made.run_id,
        task_id=made.task_id,
        role=made.role,
        endpoint=made.endpoint,
        model="m",
        tokens_in=cost.tokens,
        tokens_out=0,
        nusd=cost.nusd,
        latency_s=float(next(_numbers)),
        outcome="ok",
        response={"text": made.id},
    )
    return Record(row, made.id)


def page(engine: Engine, records: Sequence[Record] = (), others: Sequence[Wanted] = ()) -> Page:
    with engine.begin() as connection:
        return write_page(connection, records, others)


def finish(engine: Engine, *leases: Lease) -> None:
    with engine.begin() as connection:
        for lease in leases:
            tasks.finish(connection, lease, {})


def apply(connection: Connection, run: Run) -> None:
    """What a tick of the driver does with what has finished."""
    runs.hold(connection, run, lease_s=60)
    finished = tasks.finished(connection, run.id, 200)
    reserved = sum((task.reserved for task in finished), Spend())
    runs.settle(connection, run.id, reserved=reserved, task_ids=[task.id for task in finished], replayed=0)
    tasks.close(connection, finished)


def spent(engine: Engine, run: Run) -> Spend:
    """What the run has spent, once every law was found to hold."""
    with engine.connect() as connection:
        assert {law: faults for law, faults in laws.recount(connection, run.id).items() if faults} == {}
        return runs.by_id(connection, run.id).spent


def blocked(engine: Engine, connection: Connection, work: Callable[[], object]) -> "Future[object]":
    """Lets a thread do this on the connection, and returns once it waits there for another's lock."""
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    threads = ThreadPoolExecutor(max_workers=1)
    waiting = threads.submit(work)
    threads.shutdown(wait=False)
    query, until = text("SELECT cardinality(pg_blocking_pids(:pid))"), time.monotonic() + 20
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watch:
        while not watch.execute(query, {"pid": pid}).scalar_one():
            assert not waiting.done() and time.monotonic() < until, "it did not wait for anybody"
            time.sleep(0.01)
    return waiting


def test_threads_that_open_attempts_of_one_task_never_pass_its_reservation(engine: Engine):
    run, (lease,) = begin(engine, Caps(), Spend(calls=20, tokens=1750, nusd=10_000))
    together = Barrier(8)

    def open_some(_: int) -> int:
        together.wait()
        wanted = [attempt(lease) for _ in range(10)]
        return sum(one.id not in page(engine, others=[one]).refused for one in wanted)

    with ThreadPoolExecutor(max_workers=8) as threads:
        assert sum(threads.map(open_some, range(8))) == 17  # of 80: for more the tokens do not suffice
    assert spent(engine, run) == Spend()


def test_threads_that_cover_attempts_never_pass_a_cap(engine: Engine):
    run, leases = begin(engine, Caps(calls=40, nusd=10_000), Spend(calls=1, tokens=100, nusd=300), number=6)
    together = Barrier(6)

    def ask(lease: Lease) -> list[Refusal | None]:
        together.wait()
        said: list[Refusal | None] = []
        for one in (attempt(lease) for _ in range(10)):
            if page(engine, others=[one]).uncovered:
                with engine.begin() as connection:
                    said.append(attempts.cover(connection, one))
            else:
                said.append(None)
        return said

    with ThreadPoolExecutor(max_workers=6) as threads:
        said = [refusal for some in threads.map(ask, leases) for refusal in some]
    assert (said.count(None), said.count(Refusal.CAP)) == (33, 27)  # money for 33
    spent(engine, run)
    finish(engine, *leases)
    with engine.begin() as connection:
        apply(connection, run)
    assert spent(engine, run) == MOST.times(33)


# -- an answer and the settling of its task, in every order


def one_open(engine: Engine) -> tuple[Run, AttemptRow]:
    """A finished task one of whose attempts is open: its worker was relieved while the call was out."""
    run, (lease,) = begin(engine, Caps(calls=2), MOST)
    made = attempt(lease)
    assert page(engine, others=[made]).refused == {}
    finish(engine, lease)
    return run, made


def test_an_answer_before_settling_counts_once_at_its_price(engine: Engine):
    run, made = one_open(engine)
    with engine.connect() as ledger, engine.connect() as driver:
        write_page(ledger, [answer(made)], [])
        settling = blocked(engine, driver, lambda: apply(driver, run))
        ledger.commit()
        settling.result()
        driver.commit()
    assert spent(engine, run) == REAL


def test_an_answer_during_settling_counts_once_at_its_price(engine: Engine):
    run, made = one_open(engine)
    with engine.connect() as ledger, engine.connect() as driver:
        apply(driver, run)
        recording = blocked(engine, ledger, lambda: write_page(ledger, [answer(made)], []))
        driver.commit()
        recording.result()
        assert spent(engine, run) == MOST  # until the answer is committed, it may be lost again
        ledger.commit()
    assert spent(engine, run) == REAL


def test_an_answer_half_written_when_its_task_is_settled_counts_once_at_its_price(engine: Engine):
    run, made = one_open(engine)
    record = answer(made)
    with engine.connect() as ledger, engine.begin() as driver:
        calls.insert(ledger, [record.row])
        apply(driver, run)
        driver.commit()
        attempts.close_all(ledger, {made.id: REAL})
        ledger.commit()
    assert spent(engine, run) == REAL


def test_a_refusal_to_serve_during_settling_is_not_paid_for(engine: Engine):
    run, made = one_open(engine)
    with engine.connect() as ledger, engine.connect() as driver:
        apply(driver, run)
        taking_back = blocked(engine, ledger, lambda: write_page(ledger, [], [Unpaid(made.id)]))
        driver.commit()
        taking_back.result()
        ledger.commit()
    assert spent(engine, run) == Spend()


def test_a_second_answer_during_settling_counts_at_its_own_price(engine: Engine):
    run, (lease,) = begin(engine, Caps(), MOST.times(2))
    first, second = attempt(lease, "k"), attempt(lease, "k")
    page(engine, others=[first, second])
    page(engine, [answer(first)])
    finish(engine, lease)
    dearer = Spend(calls=1, tokens=99, nusd=299)
    with engine.connect() as ledger, engine.connect() as driver:
        apply(driver, run)
        recording = blocked(engine, ledger, lambda: write_page(ledger, [answer(second, dearer)], []))
        driver.commit()
        recording.result()
        ledger.commit()
    assert spent(engine, run) == REAL + dearer


@pytest.mark.parametrize("written", [1, 3])
def test_a_late_answer_gives_back_the_difference_to_the_cent(engine: Engine, written: int):
    """However often its page is written because nobody heard of the commit."""
    run, made = one_open(engine)
    with engine.begin() as connection:
        apply(connection, run)
    assert spent(engine, run) == MOST
    late = answer(made)
    for _ in range(written):
        assert page(engine, [late]).answer(late) == late.row
    assert spent(engine, run) == REAL


def test_a_cancelled_run_takes_late_answers_too(engine: Engine):
    run, leases = begin(engine, Caps(calls=5), MOST, number=2)
    made = [attempt(lease) for lease in leases]
    page(engine, others=made)
    with engine.begin() as connection:
        runs.cancel(connection, run.id)
    assert spent(engine, run) == MOST.times(2)
    page(engine, [answer(made[0])])
    assert spent(engine, run) == MOST + REAL


def test_late_answers_and_settling_do_not_wait_for_each_other(engine: Engine):
    """A worker that was stopped for long comes back: one answer's task is settled, the other's is at this moment."""
    run, leases = begin(engine, Caps(calls=10), MOST, number=2)
    past, present = (attempt(lease) for lease in leases)
    page(engine, others=[past, present])
    finish(engine, leases[0])
    with engine.begin() as connection:
        apply(connection, run)
    finish(engine, leases[1])
    with engine.connect() as driver, engine.connect() as ledger:
        runs.hold(driver, run, lease_s=60)
        recording = blocked(engine, ledger, lambda: write_page(ledger, [answer(past), answer(present)], []))
        apply(driver, run)
        driver.commit()
        recording.result()
        ledger.commit()
    assert spent(engine, run) == REAL.times(2)


# -- commits that nobody heard of


def test_an_attempt_that_is_opened_twice_counts_once(engine: Engine):
    run, (lease,) = begin(engine, Caps(), MOST)
    made = attempt(lease)
    with engine.connect() as first, engine.connect() as again:
        assert write_page(first, [], [made]).refused == {}
        opening = blocked(engine, again, lambda: write_page(again, [], [made]))
        first.commit()
        opening.result()
        again.commit()
    assert page(engine, others=[made]).refused == {}
    finish(engine, lease)
    with engine.begin() as connection:
        apply(connection, run)
    assert spent(engine, run) == MOST


def test_an_attempt_that_is_covered_twice_is_reserved_for_once(engine: Engine):
    run, (lease,) = begin(engine, Caps(calls=2), MOST)
    made = attempt(lease), attempt(lease)
    assert page(engine, others=made).uncovered == [made[1]]
    for _ in range(2):
        with engine.begin() as connection:
            assert attempts.cover(connection, made[1]) is None
    with engine.connect() as connection:
        assert runs.by_id(connection, run.id).reserved == MOST.times(2)


def test_a_page_written_again_after_its_task_was_settled_sends_nothing(engine: Engine):
    """The ledger tries for up to a quarter of a minute; by then somebody else may have ended the task."""
    run, made = one_open(engine)
    with engine.begin() as connection:
        apply(connection, run)
    assert page(engine, others=[made]).refused == {made.id: Refusal.STALE}
    assert spent(engine, run) == MOST


# -- what a worker is told


def told(engine: Engine, wanted: AttemptRow) -> None:
    ledger = DatabaseLedger(engine)
    try:
        asyncio.run(ledger.open(wanted))
    finally:
        ledger.close()


def test_whoever_has_lost_its_lease_or_its_run_may_not_ask(engine: Engine):
    run, (lease,) = begin(engine, Caps(), MOST.times(5))
    told(engine, attempt(lease))
    with engine.begin() as connection:
        runs.set_status(connection, run.id, "paused", reason="paused")
    with pytest.raises(Withdrawn, match="not running"):
        told(engine, attempt(lease))
    with engine.begin() as connection:
        runs.set_status(connection, run.id, "running")
        connection.execute(text("UPDATE tasks SET lease_until = now() - interval '1 second'"))
        tasks.sweep(connection, run.id, max_attempts=5, hint_age_s=0)
    with pytest.raises(Withdrawn, match="taken away"):
        told(engine, attempt(lease))
    with engine.begin() as connection:
        mine = claim(connection, lease.task_id)
    told(engine, attempt(mine))
    with pytest.raises(Withdrawn, match="taken away"):
        told(engine, attempt(lease))


def test_a_pause_between_page_and_cover_reserves_nothing(engine: Engine):
    run, (lease,) = begin(engine, Caps(), MOST)
    made = attempt(lease), attempt(lease)
    assert page(engine, others=made).uncovered == [made[1]]
    with engine.begin() as connection:
        runs.set_status(connection, run.id, "paused", reason="paused")
        assert attempts.cover(connection, made[1]) is Refusal.HALTED
        assert runs.by_id(connection, run.id).reserved == MOST


def test_where_no_cap_leaves_room_a_worker_hears_so(engine: Engine):
    run, (lease,) = begin(engine, Caps(calls=2), MOST)
    told(engine, attempt(lease))
    told(engine, attempt(lease))
    with pytest.raises(BudgetSpent):
        told(engine, attempt(lease))
    assert spent(engine, run) == Spend()
