"""Leases on real rows: claims, fences, recovery. Nothing here waits: time passes by writing it into the row."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from db import runs, tasks
from db.errors import StaleLease
from db.records import Caps, Lease, NewTask, Run, Spend


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def run(connection: Connection) -> Run:
    return runs.create(
        connection,
        name="r",
        recipe="idea-mcts",
        config={},
        config_hash="h",
        caps=Caps(calls=100),
        seeds=[{"instruction": "a"}],
        duplicates=0,
    )


@pytest.fixture
def task(connection: Connection, run: Run) -> int:
    (tree,) = runs.trees_of(connection, run.id)
    new = NewTask(tree_id=tree.id, key="k", kind="expand", payload={"n": 1}, reserved=Spend(calls=5))
    ((task_id, kind),) = tasks.enqueue(connection, run.id, [new])
    assert kind == "expand"
    assert tasks.enqueue(connection, run.id, [new]) == []
    return task_id


def claim(connection: Connection, task_id: int, worker: str = "w") -> Lease | None:
    return tasks.claim(connection, task_id, worker=worker, lease_s=30, max_attempts=3)


def claimed(connection: Connection, task_id: int) -> Lease:
    lease = claim(connection, task_id)
    assert lease is not None
    return lease


def expire(connection: Connection) -> None:
    connection.execute(text("UPDATE tasks SET lease_until = now() - interval '1 second'"))


def state(connection: Connection) -> str:
    return str(connection.execute(text("SELECT state FROM tasks")).scalar_one())


def test_a_doubled_hint_finds_nothing_to_claim(connection: Connection, task: int):
    assert claim(connection, task) is not None
    assert claim(connection, task, "other") is None
    assert claim(connection, task + 1) is None


def test_two_workers_at_once_get_one_lease(engine: Engine, connection: Connection, task: int):
    connection.commit()
    with engine.connect() as other:
        first = claim(connection, task)
        second = claim(other, task)
        assert first is not None
        assert second is None


def test_a_result_is_written_under_the_lease(connection: Connection, run: Run, task: int):
    tasks.finish(connection, claimed(connection, task), {"text": "x"})
    (done,) = tasks.finished(connection, run.id, 10)
    assert (done.state, done.result, done.reserved) == ("done", {"text": "x"}, Spend(calls=5))
    tasks.close(connection, [done])
    assert not tasks.any_open(connection, run.id)


def test_a_stale_lease_changes_nothing(connection: Connection, run: Run, task: int):
    old = claimed(connection, task)
    expire(connection)
    tasks.sweep(connection, run.id, max_attempts=3, hint_age_s=0)
    new = claimed(connection, task)
    assert new.token > old.token
    for write in (
        lambda: tasks.finish(connection, old, {}),
        lambda: tasks.fail(connection, old, error="x"),
        lambda: tasks.give_back(connection, old, error="x", delay_s=0),
        lambda: tasks.retry(connection, old, error="x", delay_s=0, max_attempts=3),
    ):
        with pytest.raises(StaleLease):
            write()
    assert tasks.beat(connection, [(task, old.token)], lease_s=30) == set()
    assert tasks.beat(connection, [(task, new.token)], lease_s=30) == {task}


def test_a_task_that_keeps_killing_its_worker_runs_out_of_attempts(connection: Connection, run: Run, task: int):
    for _ in range(3):
        assert claim(connection, task) is not None
        expire(connection)
        tasks.sweep(connection, run.id, max_attempts=3, hint_age_s=0)
    assert state(connection) == "failed"
    (failed,) = tasks.finished(connection, run.id, 10)
    assert failed.error == "its worker stopped beating"
    tasks.close(connection, [failed])
    assert tasks.finished(connection, run.id, 10) == []
    assert state(connection) == "failed"


def test_a_retry_waits_and_is_hinted_when_due(connection: Connection, run: Run, task: int):
    assert tasks.retry(connection, claimed(connection, task), error="x", delay_s=60, max_attempts=3) == "ready"
    assert claim(connection, task) is None
    assert tasks.sweep(connection, run.id, max_attempts=3, hint_age_s=0) == []
    connection.execute(text("UPDATE tasks SET not_before = now()"))
    assert tasks.sweep(connection, run.id, max_attempts=3, hint_age_s=60) == [(task, "expand")]
    assert claim(connection, task) is not None


def test_what_failed_for_good_is_due_no_later_than_it_was_begun(connection: Connection, task: int):
    assert tasks.retry(connection, claimed(connection, task), error="x", delay_s=60, max_attempts=1) == "failed"
    times = tasks.times_of(connection, [task])[task]
    assert times.claimed_s is not None and times.due_s <= times.claimed_s


def test_the_worlds_fault_is_not_the_tasks(connection: Connection, run: Run, task: int):
    for _ in range(10):
        tasks.give_back(connection, claimed(connection, task), error="EndpointBroken: 401", delay_s=0)
    assert tasks.complaint(connection, run.id, "EndpointBroken") == "EndpointBroken: 401; worker w was told so"
    tasks.forgive(connection, run.id)
    assert tasks.complaint(connection, run.id, "EndpointBroken") is None


def test_a_paused_run_hands_out_nothing(connection: Connection, run: Run, task: int):
    runs.set_status(connection, run.id, "paused", reason="paused")
    assert claim(connection, task) is None
    runs.set_status(connection, run.id, "running")
    assert claim(connection, task) is not None


def test_one_owner_a_run_and_the_old_one_is_fenced_off(connection: Connection, run: Run):
    first = runs.adopt(connection, owner="a", lease_s=20)
    assert first is not None
    assert runs.adopt(connection, owner="b", lease_s=20) is None
    connection.execute(text("UPDATE runs SET owner_until = now() - interval '1 second'"))
    second = runs.adopt(connection, owner="b", lease_s=20)
    assert second is not None
    with pytest.raises(StaleLease):
        runs.hold(connection, first, lease_s=20)
    assert runs.hold(connection, second, lease_s=20).owner_token == second.owner_token


def test_the_table_itself_refuses_to_break_a_cap(connection: Connection, run: Run):
    from sqlalchemy.exc import IntegrityError

    runs.reserve(connection, run.id, Spend(calls=100))
    with pytest.raises(IntegrityError, match="cap_calls"):
        runs.reserve(connection, run.id, Spend(calls=1))
