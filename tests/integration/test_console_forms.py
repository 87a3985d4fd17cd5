"""What the console's forms do to real rows, what an open page hears, and how the console refuses to start."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from socket import create_server
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, text

from db import laws, runs, verdicts, workers
from db.endpoints import in_use
from db.engine import open_engine
from db.errors import ConfigError
from db.records import Caps, Run
from orchestrator.cli.console import console
from orchestrator.export import rows_of
from orchestrator.story import report_of
from tests.integration.night import Hands, finish, good, start, varied

pytest.importorskip("uvicorn", reason="the extra `console` is not installed")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from orchestrator.console.pages.runs import PARTS
from orchestrator.console.server import Settings, listen, server_of
from orchestrator.console.session import token_of_environment
from tests.integration.browser import TOKEN, Client, client_of, entered, page, send, words


@pytest.fixture
def client(engine: Engine) -> Client:
    return entered(client_of(engine))


@pytest.fixture
def night(engine: Engine) -> Run:
    """A run that has ended, with rejections and rows."""
    return finish(start(engine, "harvest.duplicate=0.6"), Hands(engine, varied))


# --- steering, limits, slots


def test_steering_is_felt_and_said(client: Client, engine: Engine):
    driver = start(engine)

    def status() -> str:
        with engine.connect() as connection:
            return runs.by_id(connection, driver.run.id).status

    answer = send(client, "/runs/night/steer", action="pause")
    assert status() == "paused" and answer.headers["location"] == "/runs/night?said=paused"
    assert "The run is paused" in words(page(client, answer.headers["location"]))
    send(client, "/runs/night/steer", action="resume")
    assert status() == "running"
    send(client, "/runs/night/steer", 400, action="explode")
    send(client, "/runs/night/steer", action="cancel")
    assert status() == "cancelled"
    answer = send(client, "/runs/night/steer", 409, action="resume")
    assert "run 'night' has ended (cancelled)" in words(answer.text)


def test_limits_are_changed_all_or_nothing(client: Client, engine: Engine):
    driver = start(engine, caps=Caps(calls=5000))
    path = "/runs/night/limits"

    def run() -> Run:
        with engine.connect() as connection:
            return runs.by_id(connection, driver.run.id)

    shown = page(client, "/runs/night")
    assert 'name="set.max_calls" value="5000"' in shown
    concurrency = "endpoints.default.concurrency"
    old = {"was.max_calls": "5000", f"was.{concurrency}": "32", "was.max_tokens": ""}
    send(client, path, **old, **{"set.max_calls": "6000", f"set.{concurrency}": "8", "set.max_tokens": ""})
    assert run().caps == Caps(calls=6000)
    assert {change.what: change.after for change in run().changes} == {"max_calls": 6000, concurrency: 8}
    assert "5000 → 6000" in words(page(client, "/runs/night"))
    with engine.connect() as connection:
        assert [(name, found["default"]["concurrency"]) for name, found in in_use(connection)] == [("night", 8)]
    send(client, path, **{"set.endpoints.default.usd_per_million_in": "0.0000004"})
    assert "→ 0.0000004" in words(page(client, "/runs/night")), "what was changed is shown as it was typed"
    answer = send(client, path, **{"was.max_calls": "6000", "set.max_calls": "6000"})
    assert answer.headers["location"].endswith("said=unchanged")
    more = ({"set.max_calls": "9" * 5000}, {"set.max_\0": "1"})
    for wrong in ({"set.max_calls": "many"}, {"set.max_calls": "-1"}, {"set.max_usd": "5", "set.recipe": "3"}, *more):
        answer = send(client, path, 422, **wrong)
        assert "Traceback" not in answer.text and 'role="alert"' in answer.text
    assert run().caps == Caps(calls=6000)
    send(client, path, **{"was.max_calls": "6000", "set.max_calls": ""})
    assert run().caps == Caps()


def test_slots_of_living_workers_are_changed(client: Client, engine: Engine):
    start(engine)
    identity = workers.Identity.of_this_process(("expand",), 16)
    with engine.begin() as connection:
        workers.register(connection, identity)
    found = words(page(client, "/runs/night"))
    assert identity.host in found and "0 of 16" in found
    send(client, "/runs/night/slots", host=identity.host, slots="48")
    with engine.connect() as connection:
        assert [one.slots_wanted for one in workers.alive(connection)] == [48]
    for wrong in ("", "0", "1e3", "99999999", "9" * 5000):
        refused = send(client, "/runs/night/slots", 422, slots=wrong)
        assert "expected a whole number from 1 to 1024" in words(refused.text)
    assert send(client, "/runs/night/slots", host="\0", slots="8").headers["location"].endswith("said=slots")


def test_a_queue_that_nobody_takes_is_said(client: Client, engine: Engine):
    driver = start(engine)
    driver.tick()
    with engine.begin() as connection:
        workers.register(connection, workers.Identity.of_this_process(("train",), 1))
        workers.register(connection, workers.Identity.of_this_process((workers.ORCHESTRATOR,), 0))
    found = words(page(client, "/runs/night"))
    assert "of queue evaluate, which no worker takes" in found and "It is not going" in found
    assert "no orchestrator is alive" not in found


def test_why_a_worker_was_refused_is_followed_by_a_cure_for_that(client: Client, engine: Engine):
    start(engine)
    reason = "this worker hears the broker at gpu-1:6379, and the orchestrator on head sends its hints to another"
    with engine.begin() as connection:
        workers.refuse_start(connection, workers.Identity.of_this_process(("expand",), 16), reason)
    assert f"{reason} : mend what the reason names, then start it again." in words(page(client, "/runs/night"))


def test_a_worker_that_just_died_is_not_hidden_by_those_that_died_before(client: Client, engine: Engine):
    start(engine)
    minutes = {"a1": 50, "a2": 50, "a3": 50, "b1": 25, "b2": 20, "b3": 15, "c": 2}
    with engine.begin() as connection:
        for host, silent in minutes.items():
            process = replace(workers.Identity.of_this_process(("expand",), 16), host=host, id=host, pid=7)
            workers.register(connection, process)
            told = {"silent": silent, "id": host}
            beaten = text("UPDATE workers SET beat_at = now() - make_interval(mins => :silent) WHERE id = :id")
            connection.execute(beaten, told)
    found = words(page(client, "/runs/night"))
    assert re.findall(r"worker (\w+):7 has been silent", found) == ["c", "b3", "b2"]
    assert "silent 2 min" in found


def test_an_open_page_hears_what_changes(engine: Engine, client: Client):
    driver = start(engine)
    with serving(engine) as port, heard(port, client, "/runs/night/live") as events:
        first = next(events)
        assert set(first) == {*PARTS, "title", "steerable"} and "0 of 3" in first["progress"]
        finish(driver, Hands(engine, good))
        later: dict[str, str] = {}
        while later.get("steerable") != "done":
            later |= next(events)
        assert "It is done" in later["state"] and later["title"].startswith("done")
    with serving(engine) as port, heard(port, client, "/runs/night/live") as events:
        next(events)
        assert "tiles" not in next(events), "what has not changed is not sent again"


@contextmanager
def serving(engine: Engine) -> Iterator[int]:
    """A real server in a thread."""
    at = listen("127.0.0.1", 0)
    server = server_of(Settings(engine=engine, broker=None, token=TOKEN))
    thread = Thread(target=server.run, kwargs={"sockets": [at]})
    thread.start()
    yield at.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive(), "an open page kept the server from ending"


@contextmanager
def told(port: int, client: Client, path: str) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The name and data of each event of a page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    connection.request("GET", path, headers={"Cookie": cookies, "Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200 and str(answer.headers["content-type"]).startswith("text/event-stream")
    lines = (line.decode().rstrip() for line in answer)
    names = (line.removeprefix("event: ") for line in lines if line.startswith("event: "))
    yield ((name, json.loads(next(lines).removeprefix("data: "))) for name in names)
    answer.close()
    connection.close()


@contextmanager
def heard(port: int, client: Client, path: str) -> Iterator[Iterator[dict[str, str]]]:
    """The parts of each `figures` event of a page."""
    with told(port, client, path) as events:
        yield (data["parts"] for name, data in events if name == "figures")


@pytest.mark.parametrize("path", ["/live", "/endpoints/live", "/runs/night/live", "/runs/night/trees/0/live"])
def test_an_open_page_hears_that_the_database_is_away(path: str):
    away = open_engine("postgresql://nobody@127.0.0.1:1/none")
    with serving(away) as port, told(port, entered(client_of(away)), path) as events:
        name, data = next(events)
        assert name == "trouble" and re.match(r"The database does not answer \(.+\); trying again\.$", data["line"])


def test_a_page_hears_of_a_database_that_says_nothing_while_it_is_waited_for():
    silent = create_server(("127.0.0.1", 0))
    engine = open_engine(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none?connect_timeout=60")
    with serving(engine) as port, told(port, entered(client_of(engine)), "/runs/night/live") as events:
        assert next(events) == ("trouble", {"line": "The database has not answered for 5 s; still waiting."})
        silent.close()
        name, data = next(events)
        assert name == "trouble" and "The database does not answer" in data["line"]


def test_a_page_hears_that_its_run_or_tree_is_gone(engine: Engine, client: Client, night: Run):
    with serving(engine) as port:
        for path, line in (("none", "no run 'none'; the latest are night."), ("night/trees/9", "no tree 9.")):
            with told(port, client, f"/runs/{path}/live") as events:
                name, data = next(events)
                assert name == "trouble" and data["line"].endswith(line)


def test_a_port_in_use_is_one_clear_line():
    at = listen("127.0.0.1", 0)
    port = at.getsockname()[1]
    with pytest.raises(ConfigError, match=rf"cannot listen at 127.0.0.1:{port} .*--port"):
        listen("127.0.0.1", port)
    at.close()


@pytest.mark.parametrize("token", ["short", "x" * 15])
def test_a_token_that_could_be_guessed_is_refused(token: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INSTRUCTREE_CONSOLE_TOKEN", token)
    with pytest.raises(ConfigError, match="shorter than 16 characters"):
        token_of_environment()


def test_what_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("orchestrator.console")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"pip install 'instructree\[console\]'"):
        console(names=None)


# --- examples and verdicts


def first_example(client: Client, status: str) -> int:
    found = re.search(r'id="e(\d+)"', page(client, f"/runs/night/examples?status={status}"))
    assert found is not None
    return int(found[1])


def exported(engine: Engine, run: Run) -> list[str]:
    with engine.connect() as connection:
        return [row["instruction"] for row in rows_of(connection, run)]


def test_a_dropped_row_leaves_the_data_set_and_its_history_stays(client: Client, engine: Engine, night: Run):
    before = exported(engine, night)
    number = first_example(client, "accepted")
    answer = send(client, f"/runs/night/examples/{number}/verdict", verdict="drop", reason="<b>it lies</b>")
    assert answer.headers["location"].startswith(f"/runs/night/examples/{number}?said=dropped")
    after = exported(engine, night)
    assert len(after) == len(before) - 1
    html = page(client, f"/runs/night/examples/{number}")
    assert "It is no row of the data set." in words(html) and "&lt;b&gt;it lies&lt;/b&gt;" in html
    assert "1 dropped by hand" in words(page(client, "/runs/night"))
    with engine.connect() as connection:
        assert "By hand since: 1 accepted one dropped, 0 rejected ones kept" in words(report_of(connection, night))
    send(client, f"/runs/night/examples/{number}/verdict", verdict="keep", reason="no, it does not")
    assert exported(engine, night) == before
    with engine.connect() as connection:
        assert [one.verdict for one in verdicts.of_example(connection, number)] == ["keep", "drop"]
        broken = {law: faults for law, faults in laws.recount(connection, night.id).items() if faults}
    assert broken == {}


def test_a_rejected_row_that_is_kept_needs_an_output(client: Client, engine: Engine, night: Run):
    before = exported(engine, night)
    number = first_example(client, "rejected")
    send(client, f"/runs/night/examples/{number}/verdict", verdict="keep", reason="fine by me")
    assert exported(engine, night) == before
    assert "1 kept that have no output" in words(page(client, "/runs/night/examples"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE examples SET output = 'By hand.' WHERE id = :id"), {"id": number})
        assert verdicts.counts(connection, night.id) == {"dropped": 0, "kept": 1, "without_output": 0}
    assert len(exported(engine, night)) == len(before) + 1
    assert "kept by hand: fine by me" in words(page(client, "/runs/night/examples?verdict=keep"))


def test_a_verdict_needs_its_reason(client: Client, engine: Engine, night: Run):
    number = first_example(client, "accepted")
    path = f"/runs/night/examples/{number}/verdict"
    for reason in ("", "   ", "x" * 3000):
        assert "Say why" in words(send(client, path, 422, verdict="drop", reason=reason).text)
    send(client, path, 400, verdict="burn", reason="why not")
    send(client, "/runs/night/examples/999999/verdict", 404, verdict="drop", reason="why not")
    with engine.connect() as connection:
        assert verdicts.of_example(connection, number) == []
