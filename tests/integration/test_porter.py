"""The porter on real rows: what many slots want shares transactions, and each is told its own answer."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from db import tasks
from db.engine import patiently
from db.errors import ServiceError, StaleLease
from db.records import Lease
from tests.e2e.house import until
from tests.integration.night import Hands, finish, seed_of, start
from workers.bodies.evaluate import EvaluateTexts
from workers.bodies.expand import ExpandTexts
from workers.contracts import EvaluatePayload, ExpandPayload, RespondPayload, TreePayload
from workers.porter import Porter
from workers.reading import Brief, Found, Texts, brief_all

SEEDS = 40


@pytest.fixture
def porter(engine: Engine) -> Iterator[Porter]:
    porter = Porter(engine, "w")
    yield porter
    porter.close()


def ready(engine: Engine) -> list[int]:
    """The ids of as many tasks as there are seeds: the scores of each."""
    start(engine, "trees_at_once=1000", seeds=SEEDS).tick()
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT id FROM tasks ORDER BY id")))


def about(lease: Lease, found: Found) -> EvaluateTexts:
    """The texts of a task that scores seeds: those of its own payload."""
    assert isinstance(found, Brief) and isinstance(found.texts, EvaluateTexts)
    assert list(found.texts.nodes) == lease.payload["nodes"] and found.texts.parent is None
    return found.texts


def state(engine: Engine, task_id: int) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT state FROM tasks WHERE id = :id"), {"id": task_id}))


def claim(porter: Porter, task_id: int) -> Lease | None:
    claimed = porter.claim(task_id)
    return claimed[0] if claimed else None


def at_once(calls: list[Future[Lease | None]]) -> list[Lease]:
    return [lease for call in calls if (lease := call.result())]


def test_slots_share_transactions_and_each_has_its_own(engine: Engine, porter: Porter):
    ids = ready(engine)
    commits: list[None] = []
    event.listen(engine, "commit", lambda connection: commits.append(None))
    with ThreadPoolExecutor(SEEDS) as slots:
        claimed = [one for one in slots.map(porter.claim, ids) if one]
        assert [lease.task_id for lease, _ in claimed] == ids
        texts = [about(*one) for one in claimed]
        assert {text for found in texts for text in found.nodes.values()} == {
            seed_of(number)["instruction"] for number in range(SEEDS)
        }
        list(slots.map(lambda one: porter.finish(one[0], {"of": one[0].task_id}), claimed))
    assert len(commits) < SEEDS / 2  # for two things of each
    with engine.connect() as connection:
        assert all(row.result == {"of": row.id} for row in connection.execute(text("SELECT id, result FROM tasks")))


def test_of_doubled_hints_one_has_the_task(engine: Engine, porter: Porter):
    (task_id, *_) = ready(engine)
    with ThreadPoolExecutor(8) as slots:
        leases = at_once([slots.submit(claim, porter, task_id) for _ in range(8)])
    assert [lease.task_id for lease in leases] == [task_id]
    assert porter.claim(task_id) is None


def test_a_stale_lease_changes_nothing_not_even_beside_the_good_one(engine: Engine, porter: Porter):
    (task_id, *_) = ready(engine)
    old = claim(porter, task_id)
    assert old is not None
    with engine.begin() as connection:
        tasks.give_back(connection, old, error="lost", delay_s=0)
    new = claim(porter, task_id)
    assert new is not None and new.token > old.token
    with ThreadPoolExecutor(2) as slots:
        late, good = slots.submit(porter.finish, old, {"by": "old"}), slots.submit(porter.finish, new, {"by": "new"})
        assert good.result() is None
        with pytest.raises(StaleLease, match=f"task {task_id}"):
            late.result()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT result FROM tasks WHERE id = :id"), {"id": task_id}) == {"by": "new"}


def test_a_result_that_is_never_taken_does_not_take_others_along(engine: Engine, porter: Porter):
    ids = ready(engine)[:6]
    leases = [lease for task_id in ids if (lease := claim(porter, task_id))]
    results = [{"text": "\x00" if lease.task_id == ids[2] else "good"} for lease in leases]
    with ThreadPoolExecutor(6) as slots:
        told = [slots.submit(porter.finish, lease, result) for lease, result in zip(leases, results, strict=True)]
    assert isinstance(told[2].exception(), DBAPIError)
    assert [one.exception() for one in (*told[:2], *told[3:])] == [None] * 5
    assert [state(engine, task_id) for task_id in ids] == ["done", "done", "leased", "done", "done", "done"]


def test_a_database_that_goes_away_among_several_takes_nobody_along_who_was_served(
    engine: Engine, porter: Porter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workers.porter.patiently", partial(patiently, pauses_s=()))
    first, bad, good, lost = ready(engine)[:4]
    refused = claim(porter, bad)
    assert refused is not None
    begun, gathered = Event(), Event()

    def execute(_cursor: object, _statement: str, given: dict[str, Any], _context: object) -> None:
        if given.get("ids") == [first]:
            begun.set()
            assert gathered.wait(30)
        if given.get("ids") == [lost]:
            raise psycopg2.OperationalError("server closed the connection unexpectedly")

    event.listen(engine, "do_execute", execute)
    with ThreadPoolExecutor(4) as slots:
        slots.submit(claim, porter, first)
        assert begun.wait(30)
        finishing = slots.submit(porter.finish, refused, {"text": "\x00"})
        claiming = {task_id: slots.submit(claim, porter, task_id) for task_id in (good, lost)}
        until(lambda: porter._wishes._queue.qsize() == 3, "the others wait together", every_s=0.01)
        gathered.set()
    event.remove(engine, "do_execute", execute)
    assert isinstance(finishing.exception(), DataError)
    assert isinstance(claiming[lost].exception(), OperationalError)
    assert [lease.task_id for lease in at_once([claiming[good]])] == [good]
    assert [state(engine, task_id) for task_id in (good, lost)] == ["leased", "ready"]


def test_what_is_to_be_read_is_each_tasks_own(engine: Engine, porter: Porter):
    """In a run that has grown: parents, anchors, rewards, and a text that is not there."""
    finish(start(engine, "harvest.responses=false", seeds=1), Hands(engine))
    with engine.connect() as connection:
        child = connection.execute(
            text("SELECT * FROM nodes WHERE depth = 2 AND operator <> 'brand-new' ORDER BY key LIMIT 1")
        ).one()
        parent = connection.execute(
            text("SELECT * FROM nodes WHERE tree_id = :tree AND key = :key"),
            {"tree": child.tree_id, "key": child.parent_key},
        ).one()
    anchor = parent.text if parent.operator == "brand-new" else seed_of(0)["instruction"]
    about: dict[TreePayload, Texts] = {
        ExpandPayload(tree_id=child.tree_id, parent=child.key, children=()): ExpandTexts(
            parent=child.text, anchor=anchor
        ),
        EvaluatePayload(tree_id=child.tree_id, parent=parent.key, nodes=(child.key,)): EvaluateTexts(
            nodes={child.key: child.text}, parent=parent.text, parent_reward=parent.reward
        ),
        RespondPayload(tree_id=child.tree_id, node=child.key): child.text,
    }
    missing = RespondPayload(tree_id=child.tree_id, node="no such node")
    unknown = {"kind": "expand", "tree_id": child.tree_id, "surprise": True}
    given = [payload.model_dump(mode="json") for payload in (*about, missing)]
    with engine.connect() as connection:
        *found, no_text, no_payload = brief_all(connection, [*given, unknown])
    assert found == [Brief(*one) for one in about.items()]
    assert isinstance(no_text, KeyError) and isinstance(no_payload, ValueError)


def test_a_closed_porter_takes_nothing_more(engine: Engine):
    (task_id, *_) = ready(engine)
    porter = Porter(engine, "w")
    porter.close()
    with pytest.raises(ServiceError, match="shutting down"):
        porter.claim(task_id)
    assert state(engine, task_id) == "ready"
