"""`instructree workers`: the register as its user sees it, and slots said to those that live."""

import json
from importlib.metadata import version

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from db import workers
from db.errors import ConfigError
from db.workers import Identity
from orchestrator.cli import app


@pytest.fixture
def register(engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Two workers on one host, one on another, an orchestrator, one that left, and one that was refused."""
    monkeypatch.setenv("INSTRUCTREE_DATABASE_URL", database_url)
    with engine.begin() as connection:
        for id_, host in (("one:1", "one"), ("one:2", "one"), ("two:1", "two"), ("gone:1", "gone")):
            workers.register(connection, worker(id_, host))
        workers.register(connection, worker("one:9", "one", workers.ORCHESTRATOR))
        workers.leave(connection, "gone:1")
        for _ in range(2):
            workers.refuse_start(connection, worker("old:1", "old"), "this worker is 0.0.9, and \x1b[2J\ntwo lines")
    return engine


def worker(id_: str, host: str, queue: str = "expand") -> Identity:
    return Identity(id=id_, host=host, pid=1, version=version("instructree"), queues=(queue,), slots=4)


def asked(*options: str) -> Result:
    return CliRunner().invoke(app, ["workers", *options])


def wanted(engine: Engine) -> dict[str, int | None]:
    with engine.connect() as connection:
        return {one.id: one.slots_wanted for one in workers.alive(connection)}


@pytest.mark.usefixtures("register")
def test_the_register_names_who_lives_and_who_was_refused():
    found = asked().stdout
    assert all(name in found for name in ("one:1", "one:2", "two:1", "orchestrator", version("instructree")))
    assert "gone:1" not in found and "\x1b" not in found
    assert found.count("this worker is 0.0.9") == 1
    told = json.loads(asked("--json").stdout)
    assert [one["id"] for one in told["workers"]] == ["one:1", "one:2", "two:1"]
    assert [one["id"] for one in told["orchestrators"]] == ["one:9"]
    assert [one["host"] for one in told["refused"]] == ["old"]


@pytest.mark.parametrize(
    ("names", "told"),
    [((), {"one:1", "one:2", "two:1"}), (("one",), {"one:1", "one:2"}), (("one:2", "two"), {"one:2", "two:1"})],
)
def test_slots_are_said_to_all_or_to_those_that_are_named(register: Engine, names: tuple[str, ...], told: set[str]):
    assert asked(*names, "--slots", "64").exit_code == 0
    assert {id_ for id_, slots in wanted(register).items() if slots == 64} == told
    assert "4 -> 64" in asked().stdout
    with register.begin() as connection:
        assert workers.beat(connection, "one:2", busy=1, tasks_done=2, slots=4) == wanted(register)["one:2"]


def test_one_that_does_not_live_is_refused_with_those_that_do(register: Engine):
    found = asked("gone", "--slots", "2")
    assert isinstance(found.exception, ConfigError)
    assert str(found.exception) == "no living worker 'gone'; there are: one:1, one:2, two:1"
    assert set(wanted(register).values()) == {None}
    assert asked("--slots", "0").exit_code == 2


def test_slots_are_said_to_somebody(register: Engine):
    with register.begin() as connection:
        for id_ in wanted(register):
            workers.leave(connection, id_)
    assert str(asked("--slots", "2").exception).startswith("no worker is alive: start one")


@pytest.mark.parametrize("refused", [False, True])
def test_whoever_ended_over_a_week_ago_is_forgotten_when_another_process_starts(register: Engine, refused: bool):
    with register.begin() as connection:
        for id_, days in (("one:2", 8), ("gone:1", 6), ("old:refused:" + version("instructree"), 8)):
            beaten = text("UPDATE workers SET beat_at = now() - make_interval(days => :days) WHERE id = :id")
            assert connection.execute(beaten, {"id": id_, "days": days}).rowcount == 1
        new = worker("new:1", "new")
        workers.refuse_start(connection, new, "no") if refused else workers.register(connection, new)
        found = set(connection.scalars(text("SELECT CASE host WHEN 'new' THEN host ELSE id END FROM workers")))
    assert found == {"one:1", "one:9", "two:1", "gone:1", "new"}
