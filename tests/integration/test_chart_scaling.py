"""What KEDA asks the database, on real rows: who scales to zero must count everything that somebody may still need."""

import pytest
from sqlalchemy import Engine, text

from tests.chart import CLASSES, LEAST, of_kind, rendered
from tests.integration.night import start


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = rendered(tmp_path_factory.mktemp("chart"), {**LEAST, "workers": CLASSES})
    (scaled,) = of_kind(found, "ScaledObject").values()
    told: str = scaled["spec"]["triggers"][0]["metadata"]["query"]
    return told


def counted(engine: Engine, query: str, *changes: str) -> int:
    with engine.begin() as connection:
        for change in changes:
            connection.execute(text(change))
        return int(connection.execute(text(query)).scalar_one())


def test_due_waiting_and_leased_tasks_of_its_queues_are_counted(engine: Engine, query: str):
    assert counted(engine, query) == 0
    driver = start(engine)
    driver.tick()
    assert counted(engine, query) == 3
    later = "UPDATE tasks SET not_before = now() + interval '1 hour' WHERE id = (SELECT min(id) FROM tasks)"
    held = "UPDATE tasks SET state = 'leased' WHERE id = (SELECT max(id) FROM tasks)"
    assert counted(engine, query, later, held) == 3
    assert counted(engine, query, "UPDATE tasks SET kind = 'respond' WHERE state = 'ready'") == 1  # another class's
    assert counted(engine, query, "UPDATE tasks SET state = 'done'") == 0


def test_of_a_paused_run_only_what_is_in_hand_keeps_a_worker(engine: Engine, query: str):
    driver = start(engine)
    driver.tick()
    held = (
        "UPDATE tasks SET state = 'leased', lease_until = now() + interval '9 s' WHERE id = (SELECT max(id) FROM tasks)"
    )
    assert counted(engine, query, held, "UPDATE runs SET status = 'paused'") == 1
    died = "UPDATE tasks SET lease_until = now() - interval '9 s' WHERE state = 'leased'"
    assert counted(engine, query, died) == 0  # nobody sweeps a paused run
    assert counted(engine, query, "UPDATE tasks SET state = 'ready'") == 0
