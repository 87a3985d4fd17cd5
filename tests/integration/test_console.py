"""The console against real rows: who comes in, what each page says, what its forms do, what it survives."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.client import HTTPConnection
from threading import Thread

import pytest
from sqlalchemy import Engine, text

from db import examples, laws, runs, verdicts, workers
from db.engine import open_engine
from db.errors import ConfigError
from db.records import Caps, Run
from orchestrator.cli.console import console
from orchestrator.export import rows_of
from orchestrator.story import report_of
from tests.integration.night import Hands, finish, good, start, varied, widened
from workers.contracts import Payload

pytest.importorskip("uvicorn", reason="the extra `console` is not installed")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from starlette.testclient import TestClient as Client

from orchestrator.console.pages.runs import PARTS
from orchestrator.console.server import Settings, application, listen, server_of
from orchestrator.console.session import MOST_WRONG, token_of_environment

TOKEN = "a-token-of-these-tests-alone"
PAGE = {"accept": "text/html"}
HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202egnp.exe\u202c \u2066x " + "w" * 100_000


def client_of(engine: Engine, broker: str | None = None, token: str = TOKEN) -> Client:
    app = application(Settings(engine=engine, broker=broker, token=token))
    return Client(app, base_url="http://127.0.0.1:8642", follow_redirects=False)


@pytest.fixture
def stranger(engine: Engine) -> Client:
    """A browser that has not logged in."""
    return client_of(engine)


@pytest.fixture
def client(engine: Engine) -> Client:
    return entered(client_of(engine))


def entered(client: Client) -> Client:
    answer = client.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303, answer.text
    return client


@pytest.fixture
def night(engine: Engine) -> Run:
    """A run that has ended, with scores, rejections and rows."""
    return finish(start(engine, "harvest.duplicate=0.6"), Hands(engine, varied))


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=PAGE)
    assert answer.status_code == status, answer.text
    return answer.text


def send(client: Client, path: str, status: int = 303, /, **form: str):
    stamp = re.search(r'name="stamp" value="(\w+)"', page(client, "/"))
    assert stamp is not None
    answer = client.post(path, data={"stamp": stamp[1], **form}, headers=PAGE)
    assert answer.status_code == status, answer.text
    return answer


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


# --- coming in


def test_nobody_comes_in_without_the_token(stranger: Client):
    for path in ("/", "/endpoints", "/runs/night", "/runs/night/examples", "/nowhere"):
        answer = stranger.get(path, headers=PAGE)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")
        assert stranger.get(path).status_code == 401
    assert stranger.get("/runs/night/live").status_code == 401
    assert stranger.post("/runs/night/steer", data={"action": "cancel"}).status_code == 401
    assert "Token" in page(stranger, "/login")


def test_the_token_opens_and_is_in_no_answer(stranger: Client, night: Run):
    answer = stranger.post("/login", data={"token": TOKEN, "next": "/runs/night"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/night")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert all(TOKEN not in page(stranger, path) for path in ("/", "/runs/night", "/endpoints"))
    stamp = re.search(r'name="stamp" value="(\w+)"', page(stranger, "/"))
    assert stamp is not None
    assert stranger.post("/logout", data={"stamp": stamp[1]}).status_code == 303
    assert stranger.get("/").status_code == 401


def test_a_wrong_token_is_refused_and_many_are_held_off(stranger: Client):
    for _ in range(MOST_WRONG):
        answer = stranger.post("/login", data={"token": "wrong"}, headers=PAGE)
        assert answer.status_code == 401 and "That is not the token" in answer.text
    answer = stranger.post("/login", data={"token": TOKEN}, headers=PAGE)
    assert answer.status_code == 429 and "too many wrong tokens" in answer.text.lower()
    assert 0 < int(answer.headers["retry-after"]) <= 61


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "x\r\ny"])
def test_logging_in_leads_nowhere_else(stranger: Client, elsewhere: str):
    answer = stranger.post("/login", data={"token": TOKEN, "next": elsewhere})
    assert answer.headers["location"] == "/"


def test_a_session_of_another_token_is_none(engine: Engine, client: Client):
    other = client_of(engine, token="another-token-of-these-tests")
    for cookie in client.cookies.jar:
        other.cookies.set(cookie.name, str(cookie.value))
    assert other.get("/").status_code == 401
    forged = client_of(engine)
    for cookie in client.cookies.jar:
        value = str(cookie.value)
        forged.cookies.set(cookie.name, value[:-1] + ("0" if value[-1] != "0" else "1"))
    assert forged.get("/").status_code == 401


def test_only_its_own_names_are_answered(client: Client, engine: Engine):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"host": "evil.example:8642"}).status_code == 421
    for host in ("localhost:8642", "[::1]:8642", "10.1.2.3"):
        assert client.get("/", headers={"host": host}).status_code != 421


def test_forms_of_others_are_refused(client: Client, night: Run):
    path = "/runs/night/steer"
    assert client.post(path, data={"action": "cancel"}).status_code == 403
    assert client.post(path, data={"action": "cancel", "stamp": "0" * 64}).status_code == 403
    stamp = re.search(r'name="stamp" value="(\w+)"', page(client, "/"))
    assert stamp is not None
    form = {"action": "cancel", "stamp": stamp[1]}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9"):
        assert client.post(path, data=form, headers={"origin": origin}).status_code == 403
    assert client.post(path, data=form, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post(path, data={"stamp": stamp[1], "action": "x" * 70_000}).status_code == 413


def test_every_answer_carries_the_policy(client: Client, stranger: Client, night: Run):
    answers = [client.get("/"), client.get("/runs/none"), stranger.get("/login"), stranger.get("/static/console.css")]
    answers += [stranger.get("/"), client.get("/", headers={"host": "evil.example"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert answers[0].headers["cache-control"] == "no-store"


# --- pages


def test_pages_have_no_inline_script_or_style(client: Client, night: Run):
    for path in paths(client):
        html = page(client, path)
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=", html), path
        assert not re.search(r"(?:src|href|action)=\"(?!/|\?|#)", html), path


def paths(client: Client) -> list[str]:
    tree = client.get("/runs/night/trees/0/shape").json()
    example = re.search(r'href="(/runs/night/examples/\d+)"', page(client, "/runs/night/examples"))
    assert example is not None
    trees = "/runs/night/trees"
    node = f"{trees}/0/nodes/{tree['key'][-1]}"
    more = [trees, f"{trees}/0", f"{trees}/0/table", node, f"{node}?part=1", "/runs/night/examples", example[1]]
    return ["/", "/endpoints", "/runs/night", *more]


def test_all_runs_say_how_far_they_are(client: Client, night: Run, engine: Engine):
    found = words(page(client, "/"))
    assert "night" in found and "done" in found and "1 run" in found
    assert f"{night.spent.calls:,}" in found
    assert "No run is called so" in words(page(client, "/?q=other"))


def test_no_run_is_no_error(client: Client):
    assert "Start one with" in words(page(client, "/"))
    assert "No endpoint was asked lately" in words(page(client, "/endpoints"))


def test_a_run_that_is_not_there_is_named_with_those_that_are(client: Client, night: Run):
    for path in ("/runs/none", "/runs/none/trees", "/runs/none/trees/0", "/runs/none/examples", "/runs/none/live"):
        assert "no run 'none'; the latest are night" in words(page(client, path, 404)), path
    for path in ("/runs/night/trees/99", "/runs/night/trees/99999999999999999999", "/runs/night/trees/0/nodes/x"):
        page(client, path, 404)
    page(client, "/runs/night/examples/999999", 404)
    page(client, "/runs/night/examples/99999999999999999999", 404)
    assert "there is no such page" in words(page(client, "/nowhere", 404))


def test_a_run_says_what_an_operator_asks_first(client: Client, engine: Engine):
    driver = start(engine)
    hands = Hands(engine, good, most=3)
    driver.tick()
    hands.work()
    driver.tick()
    html = words(page(client, "/runs/night"))
    assert "running" in html and "0 of 3 trees grown" in html
    assert "no worker is alive" in html and "no orchestrator is alive" in html
    assert "Rows accepted" in html and "Time left" in html and "Cost" in html
    finish(driver, Hands(engine, good))
    html = words(page(client, "/runs/night"))
    assert "It is done" in html and "no worker is alive" not in html
    with engine.connect() as connection:
        accepted = sum(row.status == "accepted" for row in examples.of_run(connection, driver.run.id))
    assert f"Rows accepted {accepted}" in html
    for span in ("1h", "6h", "all", "nonsense"):
        assert "tasks done a minute" in words(page(client, f"/runs/night?span={span}"))


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
    answer = send(client, path, **{"was.max_calls": "6000", "set.max_calls": "6000"})
    assert answer.headers["location"].endswith("said=unchanged")
    for wrong in ({"set.max_calls": "many"}, {"set.max_calls": "-1"}, {"set.max_usd": "5", "set.recipe": "3"}):
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
    for wrong in ("", "0", "1e3", "99999999"):
        assert "expected a whole number" in words(send(client, "/runs/night/slots", 422, slots=wrong).text)


def test_a_queue_that_nobody_takes_is_said(client: Client, engine: Engine):
    driver = start(engine)
    driver.tick()
    with engine.begin() as connection:
        workers.register(connection, workers.Identity.of_this_process(("train",), 1))
        workers.register(connection, workers.Identity.of_this_process((workers.ORCHESTRATOR,), 0))
    found = words(page(client, "/runs/night"))
    assert "of queue evaluate, which no worker takes" in found and "It is not going" in found
    assert "no orchestrator is alive" not in found


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
def heard(port: int, client: Client, path: str) -> Iterator[Iterator[dict[str, str]]]:
    """The parts of each `figures` event of a page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    connection.request("GET", path, headers={"Cookie": cookies, "Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200 and str(answer.headers["content-type"]).startswith("text/event-stream")
    lines = (line.decode() for line in answer)
    yield (json.loads(line.removeprefix("data: "))["parts"] for line in lines if line.startswith("data: "))
    answer.close()
    connection.close()


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


def test_the_pool_of_a_run_without_trees_is_shown(client: Client, engine: Engine):
    finish(start(engine, "rounds.most=2", "rounds.prompts=2", recipe="self-instruct", seeds=10), Hands(engine, widened))
    found = words(page(client, "/runs/night"))
    assert "Kept texts" in found and "kept instructions" in found
    assert "widens a pool" in words(page(client, "/runs/night/trees"))
    listed = page(client, "/runs/night/examples?status=accepted")
    example = re.search(r'href="(/runs/night/examples/\d+)"', listed)
    assert example is not None
    assert "It was shown" in words(page(client, example[1]))


# --- trees


def test_trees_are_listed_and_found(client: Client, night: Run):
    assert "3 trees" in words(page(client, "/runs/night/trees"))
    found = words(page(client, "/runs/night/trees?q=topic%201"))
    assert "1 tree" in found and "Tell me about topic 1." in found
    assert "0 trees" in words(page(client, "/runs/night/trees?status=growing"))
    assert "0 trees" in words(page(client, "/runs/night/trees?q=%25"))


def test_the_shape_of_a_tree_is_its_rows(client: Client, engine: Engine, night: Run):
    shape = client.get("/runs/night/trees/1/shape").json()
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT n.key, n.parent_key, n.reward, n.visits FROM nodes n JOIN trees t ON t.id = n.tree_id"
                " WHERE t.ordinal = 1"
            )
        ).all()
    assert shape["nodes"] == len(rows) == len(set(shape["key"]))
    index = {key: i for i, key in enumerate(shape["key"])}
    for row in rows:
        i = index[row.key]
        assert shape["parent"][i] == (-1 if row.parent_key is None else index[row.parent_key])
        assert shape["visits"][i] == row.visits
        assert shape["reward"][i] == (None if row.reward is None else round(row.reward, 2))
        assert (shape["shade"][i] >= 0) == (row.reward is not None)
        assert 0 <= shape["born"][i] <= max(shape["done"][i], shape["born"][i]) < len(shape["seconds"])
    assert len(set(zip(shape["x"], shape["y"], strict=True))) == len(rows), "two nodes in one place"


def test_a_node_tells_its_difference_and_its_way(client: Client, engine: Engine, night: Run):
    shape = client.get("/runs/night/trees/0/shape").json()
    deepest = max(range(shape["nodes"]), key=lambda i: (shape["reward"][i] is not None, shape["depth"][i]))
    html = page(client, f"/runs/night/trees/0/nodes/{shape['key'][deepest]}?part=1")
    assert "<ins>" in html and "<html" not in html
    found = words(html)
    assert "The way from the seed" in found and "Visits" in found and "quality" in found
    whole = page(client, f"/runs/night/trees/0/nodes/{shape['key'][deepest]}")
    assert "<html" in whole and words(html) in words(whole)


def test_a_tree_can_be_read_as_a_table(client: Client, night: Run):
    shape = client.get("/runs/night/trees/0/shape").json()
    html = page(client, "/runs/night/trees/0/table")
    assert all(f"/nodes/{key}" in html for key in shape["key"])


# --- examples and verdicts


def first_example(client: Client, status: str) -> int:
    found = re.search(r'id="e(\d+)"', page(client, f"/runs/night/examples?status={status}"))
    assert found is not None
    return int(found[1])


def exported(engine: Engine, run: Run) -> list[str]:
    with engine.connect() as connection:
        return [row["instruction"] for row in rows_of(connection, run)]


def test_examples_are_searched_filtered_and_sorted(client: Client, engine: Engine, night: Run):
    with engine.connect() as connection:
        rows = examples.of_run(connection, night.id)
    for status in ("accepted", "rejected"):
        wanted = sum(row.status == status for row in rows)
        assert wanted and f"{wanted} found" in words(page(client, f"/runs/night/examples?status={status}"))
    text_of_one = next(row.instruction for row in rows if row.status == "accepted")
    assert "1 found" in words(page(client, f"/runs/night/examples?q={text_of_one}&status=accepted"))
    assert "0 found" in words(page(client, "/runs/night/examples?q=nobody+said+this%00"))
    rewards = re.findall(r"reward (\d+\.\d+)", page(client, "/runs/night/examples?sort=best"))
    assert rewards == sorted(rewards, key=float, reverse=True) and len(rewards) > 1
    page(client, "/runs/night/examples?sort=nonsense&page=-3&status=%27%3B--")
    page(client, "/runs/night/examples?page=999999999999")


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


# --- hostile texts, and a database that is away


def hostile(payload: Payload, pay):
    result = good(payload, pay)
    if hasattr(result, "children"):
        children = tuple(child.model_copy(update={"text": f"{HOSTILE} {child.key}"}) for child in result.children)
        return result.model_copy(update={"children": children})
    return result


def test_hostile_texts_are_shown_and_do_nothing(client: Client, engine: Engine):
    run = finish(start(engine), Hands(engine, hostile))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE nodes SET text = :text, reason = :text WHERE depth = 2"), {"text": HOSTILE[:90] + "\x7f"}
        )
        connection.execute(
            text("UPDATE trees SET seed = jsonb_set(seed, '{instruction}', to_jsonb(CAST(:t AS text)))"), {"t": HOSTILE}
        )
    assert run.status == "done"
    for path in [*paths(client), "/runs/night/trees?q=%3Cscript%3E%E2%80%AE", "/?q=%1B%5B31m%3Cb%3E"]:
        html = page(client, path)
        assert "<script>alert" not in html and "\x1b" not in html and "\u202e" not in html, path
        assert len(html) < 600_000, path
    assert "⟨U+202E⟩" in page(client, "/runs/night/trees/0")


def test_a_database_that_is_away_is_said_in_one_line(redis_url: str):
    away = open_engine("postgresql://nobody@127.0.0.1:1/none")
    client = entered(client_of(away))
    html = page(client, "/", 503)
    assert "the database does not answer" in words(html) and "Traceback" not in html
    answer = client.get("/runs/night/trees/0/shape")
    assert answer.status_code == 503 and answer.text.count("\n") == 1


def test_endpoints_say_what_ledger_and_limiter_know(engine: Engine, night: Run, redis_url: str):
    found = words(page(entered(client_of(engine, broker=redis_url)), "/endpoints"))
    assert "default" in found and "100 ms" in found and "Calls a minute" in found
    found = words(page(entered(client_of(engine, broker="redis://127.0.0.1:1/0")), "/endpoints"))
    assert "The broker cannot be reached" in found
