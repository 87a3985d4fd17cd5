"""The console in a real Chromium, against a live run and against planted rows: what a person sees and does."""

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.stack.ports import free_port
from tests.e2e.browsing import Tab, browsing
from tests.e2e.house import House, scripted, until, write_seeds
from tests.e2e.planting import HOSTILE, WORD, grow, plant
from tests.e2e.test_processes import PATIENT, visitor

pytest.importorskip("uvicorn", reason="the extra `console` is not installed")
pytestmark = pytest.mark.usefixtures("chromium")
TREES, NODES = 10_000, 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    origin: str
    token: str

    @property
    def address(self) -> str:
        return f"{self.origin}/#token={self.token}"


@contextmanager
def console_of(house: House, folder: Path, *options: object) -> Iterator[Console]:
    """`instructree console`, until the end of the block; where it listens and its token are read off what it prints."""
    with house.running("console", "--port", "0", *options, folder=folder) as running:
        line = until(lambda: running.err.read_text().strip(), "the console says where it is")
        assert line.startswith("console at http://127.0.0.1:"), line
        origin, _, token = line.removeprefix("console at ").partition("/#token=")
        yield Console(origin=origin, token=token)


@pytest.fixture(scope="module")
def forest(house: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The house with 10,000 trees, a tree of 5,000 nodes, and texts that mean harm."""
    assert house.cli("up").code == 0
    with house.engine() as engine:
        plant(engine, "forest", trees=TREES)
        grow(engine, plant(engine, "giant", trees=1), NODES)
        hostile = plant(engine, "hostile", trees=1, seed=HOSTILE + WORD)
        grow(engine, hostile, 60, words=HOSTILE + WORD, output=HOSTILE + WORD)
    return house


@pytest.fixture(scope="module")
def console(forest: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console_of(forest, tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def stranger() -> Iterator[Tab]:
    with browsing() as tab:
        yield tab


@pytest.fixture
def tab(console: Console) -> Iterator[Tab]:
    with inside(console) as tab:
        yield tab


@contextmanager
def inside(console: Console) -> Iterator[Tab]:
    """A browser that has come in by the printed address, and in the end has had nothing to complain of."""
    with browsing() as tab:
        enter(tab, console)
        yield tab
        assert tab.seen.errors == []
        assert tab.seen.dialogs == []
        assert tab.seen.outside(console.origin) == []


def enter(tab: Tab, console: Console) -> None:
    tab.open(console.address)
    tab.until("!!document.querySelector('header nav')")


def drawn(tab: Tab) -> None:
    tab.until("!!document.getElementById('tree')?.dataset.drawn")


# --- coming in


def test_the_printed_address_lets_in_and_leaves_no_token_behind(console: Console, tab: Tab):
    assert "Runs" in tab.text("h1")
    assert tab.js("location.href") == f"{console.origin}/"
    assert console.token not in tab.js("document.documentElement.outerHTML + document.cookie + history.length")
    tab.js("document.querySelector('form[action=\"/logout\"] button').click()")
    tab.until("location.pathname === '/login'")


def test_many_wrong_tokens_are_held_off(forest: House, tmp_path: Path, stranger: Tab):
    with console_of(forest, tmp_path) as console:
        stranger.open(f"{console.origin}/")
        for number in range(11):
            stranger.until("document.activeElement?.id === 'token'")
            stranger.js("window.old = true")
            stranger.type("wrong")
            stranger.key("Enter")
            stranger.until("window.old === undefined && document.readyState === 'complete'")
            said = stranger.text("[role=alert]")
            assert said.startswith("That is not the token" if number < 10 else "Too many wrong tokens: wait"), said


# --- a live run


def test_a_live_run_is_seen_and_steered_without_loading_again(house: House, console: Console, tmp_path: Path, tab: Tab):
    seeds = write_seeds(tmp_path / "seeds.jsonl", 40, "the console")
    with (
        scripted(f"slow{secrets.token_hex(8)}", "--latency", "300") as slow,
        house.at(slow.env).running("run", seeds, "--name", "live", "--out", tmp_path / "out", folder=tmp_path),
    ):
        until(lambda: house.sql("SELECT 1 FROM runs WHERE name = 'live'"), "the run is there")
        until(
            lambda: house.number("SELECT count(*) FROM calls c JOIN runs r ON r.id = c.run_id WHERE r.name = 'live'"),
            "calls",
        )
        tab.open(f"{console.origin}/runs/live")
        tab.until("document.querySelector('[data-part=tiles]').innerText.includes('paid')")
        tab.js("window.mine = 1")
        before = tab.text("[data-part=tiles]")
        tab.until(f"document.querySelector('[data-part=tiles]').innerText !== {before!r}".replace("\n", "\\n"))
        tab.until("document.querySelector('[data-part=state]').innerText.includes('It is going')")
        tab.until("document.title.includes('live')")
        assert "free" in tab.text("[data-part=tiles]") and tab.js("window.mine") == 1
        steer(house, tab, "live", "Pause", "paused")
        tab.until("document.querySelector('[data-part=state]').innerText.includes('paused')")
        steer(house, tab, "live", "Resume", "running")
        change_a_limit(house, tab, "live", "max_calls", 77_000)
        tab.click(".steer summary")
        tab.until("!!document.querySelector('.steer details[open]')")
        steer(house, tab, "live", "Cancel the run", "cancelled")
        tab.until("document.querySelector('[data-part=state]').innerText.includes('It was cancelled')")
        assert not tab.js("[...document.querySelectorAll('.steer > *')].some((item) => item.checkVisibility())")
    assert house.verified("live")


def steer(house: House, tab: Tab, run: str, button: str, status: str) -> None:
    tab.js("delete window.mine")
    tab.js(f"[...document.querySelectorAll('.steer button')].find((one) => one.innerText === {button!r}).click()")
    until(lambda: house.number("SELECT status FROM runs WHERE name = :run", run=run) == status, f"the run is {status}")
    tab.until("!!document.querySelector('p.notice.good[role=status]:not([hidden])')")


def change_a_limit(house: House, tab: Tab, run: str, limit: str, value: int) -> None:
    fill(tab, f"set.{limit}", value)
    until(lambda: (limit, value) in changed(house, run), "the limit is changed")
    tab.until(f"document.querySelector('[data-part=usage]')?.innerText.includes('{value:,}')")


def fill(tab: Tab, field: str, value: int) -> None:
    """Opens the form with this field, and sends it with another value."""
    tab.click(f".change:has(input[name='{field}']) summary")
    tab.js(f"""document.querySelector("input[name='{field}']").value = ''""")
    tab.click(f"input[name='{field}']")
    tab.type(str(value))
    tab.key("Enter")


def changed(house: House, run: str) -> list[tuple[str, float]]:
    return [(one["what"], one["to"]) for one in house.status(run)["changes"]]


def test_a_worker_comes_is_changed_and_goes_while_its_run_is_watched(
    house: House, console: Console, tmp_path: Path, tab: Tab
):
    """The run is kept slow until all of that has been seen; then it ends by itself, and nothing is lost."""
    seeds, room = write_seeds(tmp_path / "seeds.jsonl", 12, "hands"), "endpoints.default.concurrency"
    slowly = ("--set", f"{room}=2", "--set", "search.iterations=2", "--out", tmp_path / "out")
    with (
        scripted(f"slow{secrets.token_hex(8)}", "--latency", "300") as slow,
        house.at(slow.env).running("run", seeds, "--name", "hands", *slowly, folder=tmp_path),
    ):
        until(lambda: slow.paid, "calls")
        tab.open(f"{console.origin}/runs/hands")
        guest = visitor(house, tmp_path, {**slow.env, **PATIENT})
        with guest.running("worker", "--slots", "3", folder=tmp_path) as worker:
            row = seen_worker(worker.process.pid)
            tab.until(f"{row}.innerText.includes('of 3')")
            (usual,) = {one["slots"] for one in house.status("hands")["workers"] if one["pid"] != worker.process.pid}
            fill(tab, "slots", usual)  # of all of the host: the others keep theirs
            tab.until(f"{row}.innerText.includes('of {usual}')")
            tab.until(f"Number({row}.cells[3].innerText) > 0")
            steer(house, tab, "hands", "Pause", "paused")
            steer(house, tab, "hands", "Resume", "running")
            (mine,) = (one for one in house.status("hands")["workers"] if one["pid"] == worker.process.pid)
            assert mine["slots"] == usual and mine["tasks_done"] > 0
            worker.process.send_signal(signal.SIGTERM)
            assert worker.ended(70).code == 0
            tab.until(f"!{row}")
        change_a_limit(house, tab, "hands", room, 64)
        tab.until("document.querySelector('[data-part=state]').innerText.includes('It is done')", patience_s=90)
    found = house.status("hands")
    assert (found["status"], found["trees_done"], found["failed_tasks"]) == ("done", 12, {})
    assert f"{room} 2 -> 64" in house.cli("status", "hands").out
    assert house.verified("hands")


def seen_worker(pid: int) -> str:
    """What finds its row on the page."""
    pids = "[...document.querySelectorAll('[data-part=workers] th .sub')]"
    return f"{pids}.find((one) => one.innerText === 'pid {pid}')?.closest('tr')"


def test_a_lost_connection_is_said_and_regained(house: House, forest: House, tmp_path: Path, stranger: Tab):
    port, token = free_port(None), secrets.token_hex(16)
    fixed = forest.at({"INSTRUCTREE_CONSOLE_TOKEN": token})
    console = Console(origin=f"http://127.0.0.1:{port}", token=token)

    @contextmanager
    def listening() -> Iterator[None]:
        with fixed.running("console", "--port", port, folder=tmp_path) as running:
            until(lambda: running.err.read_text().strip(), "the console says where it is")
            assert token not in running.err.read_text()
            yield

    with listening():
        enter(stranger, console)
        stranger.open(f"{console.origin}/runs/giant")
        stranger.until("!document.getElementById('beat').hidden")
        assert stranger.js("document.getElementById('lost').hidden")
        stranger.js("window.mine = 1")
    stranger.until("document.getElementById('lost').innerText.includes('does not answer')")
    assert "What you see is of" in stranger.text("#lost")
    assert stranger.js("document.body.classList.contains('stale')")
    with listening():
        stranger.until("document.getElementById('lost').innerText.includes('Connected again after')")
        stranger.until("!document.body.classList.contains('stale')")
        assert stranger.js("window.mine") == 1
    assert all("ERR_CONNECTION_REFUSED" in error or "ERR_" in error for error in stranger.seen.errors)


def test_seven_tabs_leave_each_other_the_few_connections_of_a_browser(console: Console, tab: Tab):
    tab.open(f"{console.origin}/runs/giant")
    tab.until("document.getElementById('beat').innerText !== ''")
    tab.js("window.left = Date.now(); window.alarms = 0")
    tab.js("new MutationObserver(() => window.alarms++).observe(document.getElementById('lost'), {attributes: true})")
    before = tab.text("#beat")
    other = tab
    for _ in range(6):
        other.seen_by_nobody()
        other = other.beside(f"{console.origin}/runs/giant")
        other.until("document.getElementById('beat').innerText !== ''")
    tab.until("Date.now() - window.left > 9000")  # by then a page that is seen would say that it hears nothing
    assert tab.text("#beat") == before
    tab.seen_by_nobody(False)
    tab.until(f"document.getElementById('beat').innerText !== {before!r}")
    assert tab.js("window.alarms") == 0
    tab.js("document.querySelector('form[action=\"/logout\"] button').click()")
    tab.until("location.pathname === '/login'")


# --- trees


def test_ten_thousand_trees_are_paged_and_found(console: Console, tab: Tab):
    began = time.monotonic()
    tab.open(f"{console.origin}/runs/forest/trees")
    assert time.monotonic() - began < 10
    assert "10,000 trees" in tab.text("main") and "Page 1 of 200" in tab.text(".pager")
    assert tab.js("document.querySelectorAll('tbody tr').length") == 50
    tab.click("a[rel=next]")
    tab.until("location.search.includes('page=2') && document.querySelector('tbody td')?.innerText === '50'")
    tab.click("input[name=q]")
    tab.type("number 9876")
    tab.key("Enter")
    tab.until("document.querySelectorAll('tbody tr').length === 1")
    tab.click("tbody a")
    drawn(tab)
    assert "Tree 9876" in tab.text("main")


def test_a_tree_of_five_thousand_nodes_is_drawn_told_and_played(console: Console, tab: Tab):
    began = time.monotonic()
    tab.open(f"{console.origin}/runs/giant/trees/0")
    drawn(tab)
    assert time.monotonic() - began < 15
    assert tab.js("document.getElementById('moment').value").startswith("5,000 nodes")
    assert colours(tab) > 6
    tab.js("document.getElementById('told').replaceChildren()")
    box = tab.js("document.getElementById('tree').getBoundingClientRect().toJSON()")
    tab.click_at(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.until("document.querySelector('#told h2')?.innerText === 'Seed'")
    assert "seed, depth 0" in tab.text("#at")
    tab.click("#play")
    tab.until("document.getElementById('play').getAttribute('aria-pressed') === 'true'")
    tab.until("Number(document.getElementById('when').value) < Number(document.getElementById('when').max) / 2")
    tab.click("#play")
    assert tab.text("#moment") != "5,000 nodes"
    tab.js("document.getElementById('when').focus()")
    for _ in range(3):
        tab.key("ArrowRight")
    assert "nodes after" in tab.js("document.getElementById('when').getAttribute('aria-valuetext')")


def colours(tab: Tab) -> int:
    """How many different colours the drawing has."""
    return int(
        tab.js(
            "(() => { const tree = document.getElementById('tree');"
            " const data = tree.getContext('2d').getImageData(0, 0, tree.width, tree.height).data;"
            " return new Set(new Uint32Array(data.buffer)).size; })()"
        )
    )


def test_a_tree_is_walked_by_keys_alone(console: Console, tab: Tab):
    tab.open(f"{console.origin}/runs/giant/trees/0")
    drawn(tab)
    for _ in range(20):
        tab.key("Tab")
        if tab.js("document.activeElement.id") == "tree":
            break
    assert tab.js("document.activeElement.id") == "tree"
    steps = {"ArrowRight": "depth 1", "ArrowDown": "depth 1", "ArrowLeft": "seed, depth 0"}
    for key, words in steps.items():
        before = tab.text("#at")
        tab.key(key)
        assert words in tab.text("#at") and tab.text("#at") != before
    tab.key("ArrowRight")
    tab.key("Enter")
    tab.until("document.querySelector('#told .way') !== null")
    assert tab.js("location.hash").startswith("#n")
    tab.key("Tab")
    assert tab.js("document.activeElement.id") == "in"


def test_the_first_stop_of_the_keyboard_leads_past_the_menu(console: Console, tab: Tab):
    tab.open(f"{console.origin}/runs/giant")
    tab.key("Tab")
    assert tab.js("document.activeElement.className") == "skip"
    tab.key("Enter")
    assert tab.js("document.activeElement.id") == "main"
    unnamed = (
        "[...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, canvas, summary')]"
        ".filter((one) => !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length)).length"
    )
    for page in ("/", "/runs/giant", "/runs/giant/trees", "/runs/giant/trees/0", "/runs/giant/examples", "/endpoints"):
        tab.open(f"{console.origin}{page}")
        assert tab.js(unnamed) == 0, page
        assert tab.js("document.querySelectorAll('h1').length") == 1, page


# --- examples, hostile texts, looks


def test_a_row_is_dropped_by_hand_with_its_reason(house: House, console: Console, tab: Tab):
    tab.open(f"{console.origin}/runs/giant/examples?status=accepted")
    tab.click("article .confirm summary")
    tab.click("article .confirm[open] input[name=reason]")
    tab.type("It answers another question.")
    tab.click("article .confirm[open] button[value=drop]")
    tab.until("document.querySelector('.notice.good')?.innerText.startsWith('Dropped')")
    assert "dropped by hand: It answers another question." in tab.text("article:target")
    assert tuple(house.sql("SELECT verdict, reason FROM verdicts")[0]) == ("drop", "It answers another question.")


def test_a_word_of_100_000_letters_is_cut_and_can_be_had_whole(console: Console, tab: Tab):
    tab.open(f"{console.origin}/runs/hostile/examples")
    assert tab.js("document.documentElement.outerHTML.length") < 4_000_000
    tab.click("article details.long summary")
    tab.until("document.querySelector('article details.long[open] > .text').innerText.length > 10000")
    tab.click("article header a")
    tab.until("location.pathname.match(/examples\\/\\d+$/) && document.readyState === 'complete'")
    assert tab.js("fetch(location.pathname + '/text').then((answer) => answer.text())").count("w") > 300_000


def test_it_goes_with_light_and_dark_and_with_who_wants_no_motion(console: Console, tab: Tab):
    papers = []
    for dark in (False, True):
        tab.looks(dark=dark, calm=True)
        tab.open(f"{console.origin}/runs/giant/trees/0")
        drawn(tab)
        papers.append(tab.js("getComputedStyle(document.body).backgroundColor"))
        assert colours(tab) > 6
    assert papers[0] != papers[1]
    assert tab.js("document.querySelectorAll('body *').length") < 3_000, "a large tree is no large page"
    tab.open(f"{console.origin}/runs/giant")
    assert tab.js("getComputedStyle(document.querySelector('.bar .part')).transitionDuration") == "0s"
