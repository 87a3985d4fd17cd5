"""The console against real rows: who comes in, what each page says, what its forms do, what it survives."""

import asyncio
import re
from secrets import token_hex

import pytest
from sqlalchemy import Engine, text

from db import examples
from db.engine import open_engine
from db.records import Run
from tests.integration.night import Hands, finish, good, start, varied, widened
from workers.contracts import Payload
from workers.llm.address import Address
from workers.llm.errors import CallRefused, ConnectionFailed, ServerFault, TimedOut
from workers.llm.limits import RedisLimiter, Take

pytest.importorskip("uvicorn", reason="the extra `console` is not installed")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from orchestrator.console.server import Settings, application
from orchestrator.console.session import MOST_WRONG
from tests.integration.browser import PAGE, TOKEN, Client, client_of, entered, page, words

HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202egnp.exe\u202c \u2066x " + "w" * 100_000


@pytest.fixture
def stranger(engine: Engine) -> Client:
    """A browser that has not logged in."""
    return client_of(engine)


@pytest.fixture
def client(engine: Engine) -> Client:
    return entered(client_of(engine))


@pytest.fixture
def night(engine: Engine) -> Run:
    """A run that has ended, with scores, rejections and rows."""
    return finish(start(engine, "harvest.duplicate=0.6"), Hands(engine, varied))


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


@pytest.mark.parametrize("host", ["[::1", "[::1]evil", "127.0.0.1/static/", "127.0.0.1/login?", "x@127.0.0.1", ""])
def test_a_host_that_is_none_is_refused_in_one_line(stranger: Client, host: str):
    answer = stranger.get("/runs/night", headers={"host": host, **PAGE})
    assert answer.status_code == 421 and answer.text.count("\n") == 1


def test_an_origin_that_is_none_is_that_of_others(stranger: Client):
    for origin in ("http://[::1", "://", ""):
        answer = stranger.post("/login", data={"token": TOKEN}, headers={"origin": origin})
        assert answer.status_code == 403 and "this form comes from another site" in answer.text


def test_behind_a_proxy_it_answers_to_the_name_it_is_given(engine: Engine):
    app = application(Settings(engine=engine, broker=None, token=TOKEN, hosts=["Night.example.org"]))
    browser = Client(app, base_url="https://night.example.org", follow_redirects=False)
    answer = browser.post("/login", data={"token": TOKEN}, headers={"origin": "https://night.example.org"})
    assert answer.status_code == 303 and "Secure" in answer.headers["set-cookie"]
    assert client_of(engine).get("/login", headers={"host": "night.example.org"}).status_code == 421


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
    for path in ("/runs/none", "/runs/none/trees", "/runs/none/trees/0", "/runs/none/examples"):
        assert "no run 'none'; the latest are night" in words(page(client, path, 404)), path
    for path in ("/runs/night/trees/99", "/runs/night/trees/99999999999999999999", "/runs/night/trees/0/nodes/x"):
        page(client, path, 404)
    page(client, "/runs/night/examples/999999", 404)
    page(client, "/runs/night/examples/99999999999999999999", 404)
    assert "there is no such page" in words(page(client, "/nowhere", 404))


def test_numbers_beyond_all_counting_and_letters_no_database_takes_are_no_pages(client: Client, night: Run):
    many = "9" * 5000
    for path in (f"/runs/night/trees/{many}", f"/runs/night/trees/{many}/shape", f"/runs/night/examples/{many}"):
        assert "there is no such page" in words(page(client, path, 404))
    for path in ("/runs/%00", "/runs/%00/live", "/runs/night/trees/0/nodes/%00"):
        assert "there is no such page" in words(page(client, path, 404)), path
    assert "night" in words(page(client, f"/?page={many}"))


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


def test_an_unknown_price_is_not_called_nothing(client: Client, engine: Engine, night: Run):
    assert "usd no limit $" in words(page(client, "/runs/night"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE call_totals SET unpriced = calls, nusd = 0"))
        connection.execute(text("UPDATE runs SET spent_nusd = 0"))
    assert "usd no limit price unknown" in words(page(client, "/runs/night"))


def test_the_pool_of_a_run_without_trees_is_shown(client: Client, engine: Engine):
    finish(start(engine, "rounds.most=2", "rounds.prompts=2", recipe="self-instruct", seeds=10), Hands(engine, widened))
    found = words(page(client, "/runs/night"))
    assert "Kept texts" in found and "kept instructions" in found
    assert "widens a pool" in words(page(client, "/runs/night/trees"))
    listed = page(client, "/runs/night/examples?status=accepted")
    example = re.search(r'href="(/runs/night/examples/\d+)"', listed)
    assert example is not None
    assert "It was shown" in words(page(client, example[1]))


def test_a_pool_that_does_not_go_is_listed_by_what_it_kept(client: Client, engine: Engine):
    options = ("rounds.most=2", "rounds.prompts=2", "rounds.target=50")
    driver = start(engine, *options, recipe="self-instruct", seeds=10)
    listed = words(page(client, "/"))
    assert "0 of 50 kept instructions" in listed
    finish(driver, Hands(engine, widened))
    kept = re.search(r"(\d+) of 50 kept instructions", words(page(client, "/runs/night")))
    assert kept is not None and int(kept[1]) > 0
    listed = words(page(client, "/"))
    assert f"{kept[1]} of 50 kept instructions" in listed and "trees grown" not in listed


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


# --- examples


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


def test_an_endpoint_that_fails_now_and_then_is_seen_to_fail(engine: Engine, redis_url: str):
    async def story() -> None:
        limiter = RedisLimiter(redis_url, {"default": Address(base_url="http://127.0.0.1:1/v1")})
        for failure in (ServerFault("503"), ConnectionFailed("refused"), TimedOut("late"), CallRefused("400")):
            take = Take(id=token_hex(8), endpoint="default", model=model, tokens=1, concurrency=4)
            await limiter.acquire(take)
            await limiter.release(take, failure)
        await limiter.close()

    model = token_hex(8)
    asyncio.run(story())
    found = words(page(entered(client_of(engine, broker=redis_url)), "/endpoints")).partition(model)[2]
    assert found.index("breaker closed") < found.index("429s 0 of 4 requests") < found.index("Failed 3 5xx")
