"""A run that is changed while it is on: refused or done whole, kept beside what it was begun with, and obeyed."""

import json

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from db import runs
from db.errors import ConfigError
from db.records import Caps, Run
from orchestrator.changing import Wanted, change
from orchestrator.cli import app
from orchestrator.config import frozen_config, present_config
from orchestrator.driver import Driver
from orchestrator.status import status_of
from tests.integration.night import Hands, assert_lawful, finish, start
from workers.config import Role
from workers.known import Known

PRICE = "endpoints.default.usd_per_million_out"
ROOM = "endpoints.default.concurrency"


def changed(engine: Engine, run: Run, wanted: Wanted) -> list[tuple[str, float | None, float | None]]:
    with engine.begin() as connection:
        return [(one.what, one.before, one.after) for one in change(connection, run, wanted)]


def now(engine: Engine, driver: Driver) -> Run:
    with engine.connect() as connection:
        return runs.by_id(connection, driver.run.id)


def reserved(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT reserved_nusd FROM tasks WHERE state = 'ready' ORDER BY id")))


def test_what_it_was_begun_with_stays_and_what_was_changed_is_beside_it(engine: Engine):
    driver = start(engine, caps=Caps(calls=1000))
    before = now(engine, driver)
    assert changed(engine, before, {"max_calls": 900, ROOM: 2}) == [("max_calls", 1000, 900), (ROOM, 32, 2)]
    assert changed(engine, before, {"max_calls": None, "max_hours": 1.5, ROOM: 3}) == [
        ("max_calls", 900, None),
        ("max_hours", None, 1.5),
        (ROOM, 2, 3),
    ]
    run = now(engine, driver)
    assert (run.config, run.config_hash) == (before.config, before.config_hash)
    assert run.caps == Caps(seconds=5400)
    assert frozen_config(run).work.endpoints["default"].concurrency == 32
    assert present_config(run).work.endpoints["default"].concurrency == 3
    assert sorted(one.at for one in run.changes) == [one.at for one in run.changes]
    with engine.connect() as connection:
        found = status_of(connection, run)
    assert [(one["what"], one["from"], one["to"]) for one in found["changes"]][-1] == (ROOM, 2, 3)
    assert found["endpoints"]["default"]["concurrency"] == 3 and found["caps"]["hours"] == 1.5


def test_what_is_so_already_is_no_change(engine: Engine):
    driver = start(engine, caps=Caps(calls=1000))
    assert changed(engine, driver.run, {"max_calls": 1000, ROOM: 32, "max_usd": None}) == []
    assert now(engine, driver).changes == ()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"max_calls": 1}, "--max-calls 1: run night has already used or reserved"),
        ({"max_tokens": 1}, "--max-tokens 1: run night has already used or reserved"),
        ({"max_usd": 0.000001}, "--max-usd: run night has already used or reserved"),
        ({"max_calls": -1}, "--max-calls -1: must be above 0"),
        ({"max_calls": 1000.5}, "--max-calls 1000.5: must be a whole number"),
        ({"max_hours": float("nan")}, "--max-hours nan: must be above 0"),
        ({"endpoints.other.concurrency": 2}, "run 'night' has no endpoint 'other'; it has default"),
        ({"endpoints.default.model": 2}, "endpoints.default.model: cannot be changed while a run is on"),
        ({"search.iterations": 2}, "'search.iterations' cannot be changed while a run is on: --max-calls"),
        ({"endpoints.default": 2}, "cannot be changed while a run is on"),
        ({ROOM: 0}, "endpoints.default.concurrency = 0: input should be greater than or equal to 1"),
        ({ROOM: None}, "endpoints.default.concurrency = None: input should be a valid integer"),
        ({PRICE: -1}, "endpoints.default.usd_per_million_out = -1"),
        ({PRICE: None, "max_usd": 5}, "a cap on money needs prices: set endpoints.default.usd_per_million_in"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_of_it_is_done(engine: Engine, wanted: Wanted, said: str):
    driver = start(engine)
    driver.tick()
    with pytest.raises(ConfigError) as caught:
        changed(engine, driver.run, {"max_tokens": 10**9, **wanted})
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert now(engine, driver).changes == () and now(engine, driver).caps == Caps()


def test_a_cap_on_money_comes_too_late_where_prices_were_not_known(engine: Engine):
    driver = start(engine)
    assert changed(engine, driver.run, {PRICE: None}) == [(PRICE, 2.0, None)]
    driver.tick()
    with pytest.raises(ConfigError, match="paid for calls whose price is not known"):
        changed(engine, driver.run, {PRICE: 3, "max_usd": 5})


def test_a_run_that_has_ended_is_not_changed(engine: Engine):
    driver = start(engine)
    with engine.begin() as connection:
        runs.cancel(connection, driver.run.id)
    with pytest.raises(ConfigError, match=r"run 'night' has ended \(cancelled\)"):
        changed(engine, driver.run, {"max_calls": 10**6})


def test_a_driver_reserves_at_the_new_price_from_its_next_tick(engine: Engine):
    driver = start(engine, seeds=1)
    hands = Hands(engine)
    driver.tick()
    ((before,), priced) = reserved(engine), {PRICE: 20.0, "endpoints.default.usd_per_million_in": 10.0}
    changed(engine, driver.run, priced)
    hands.work()
    driver.tick()
    dear = reserved(engine)
    assert dear and min(dear) > before  # an expansion, ten times as dear; prompts are known to be short by now
    work = present_config(now(engine, driver)).work
    assert work.endpoint(Role.EVOLVER).nusd(1000, 0) == 10_000_000
    assert finish(driver, hands).status == "done"
    assert_lawful(engine, driver.run)


@pytest.mark.parametrize(("then", "status"), [(None, "stopped"), (100_000, "done")])
def test_a_lower_cap_ends_the_growing_and_a_higher_one_in_time_lets_it_go_on(
    engine: Engine, then: int | None, status: str
):
    driver, hands = start(engine, caps=Caps(calls=100_000), seeds=2), Hands(engine)
    driver.tick()
    changed(engine, driver.run, {"max_calls": now(engine, driver).reserved.calls})
    hands.work()
    if then:
        changed(engine, driver.run, {"max_calls": then})
    assert finish(driver, hands).status == status
    assert_lawful(engine, driver.run)


def test_workers_see_it_at_their_next_beat_where_they_hold_settings_already(engine: Engine):
    driver = start(engine)
    known = Known(engine)
    standing = known.of(driver.run.id)
    assert standing.settings.endpoint(Role.JUDGE).concurrency == 32
    changed(engine, driver.run, {ROOM: 5})
    assert known.of(driver.run.id).settings.endpoint(Role.JUDGE).concurrency == 32
    known.refresh()
    assert standing.settings.endpoint(Role.JUDGE).concurrency == 5
    assert known.of(driver.run.id) is standing


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["change", *arguments])


def test_the_command_says_what_it_changed_in_words_or_as_one_object(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("INSTRUCTREE_DATABASE_URL", database_url)
    start(engine)
    done = command("night", "--max-calls", "500", "--set", f"{ROOM}=7")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"run night: max_calls none -> 500\nrun night: {ROOM} 32 -> 7\n"
    assert command("night", "--max-calls", "500").stderr == "run night: nothing changed, it is so already\n"
    told = json.loads(command("night", "--max-calls", "none", "--json").stdout)
    assert told["name"] == "night"
    assert [(one["what"], one["from"], one["to"]) for one in told["changes"]] == [("max_calls", 500, None)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("night",), "say what to change: --max-calls"),
        (("day", "--max-calls", "5"), "no run 'day'; the latest are night"),
        (("night", "--max-calls", "few"), "--max-calls 'few': expected a number, or none for no limit"),
        (("night", "--set", "concurrency"), "expected key=value"),
    ],
)
def test_what_the_command_does_not_understand_is_one_line(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
):
    monkeypatch.setenv("INSTRUCTREE_DATABASE_URL", database_url)
    start(engine)
    done = command(*arguments)
    assert isinstance(done.exception, ConfigError) and said in str(done.exception)
