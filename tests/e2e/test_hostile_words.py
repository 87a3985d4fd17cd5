"""Words that mean harm, wherever others write them: every page of the console and every view on a terminal."""

import unicodedata
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from db.migrate import migrate
from tests.e2e.browsing import Tab
from tests.e2e.house import House, at_once
from tests.e2e.planting import HOSTILE, NAME, WORD, grow, plant, plant_pool, spoil
from tests.e2e.test_console_browser import Console, console_of, drawn, inside

pytest.importorskip("uvicorn", reason="the extra `console` is not installed")

SOUGHT = quote(NAME[:40])
PAGES = (
    "/",
    "/endpoints",
    "/runs/hostile",
    "/runs/hostile/trees",
    "/runs/hostile/trees/0",
    "/runs/hostile/trees/0/table",
    "/runs/hostile/trees/0/nodes/n1",
    "/runs/hostile/examples",
    "/runs/hostile/examples/1",
    "/runs/pool",
    "/runs/pool/examples",
    "/runs/pool/examples/{of_the_pool}",
    f"/?q={SOUGHT}",
    "/runs/hostile/trees?q=%3Cscript%3E",
    "/runs/hostile/examples?q=%3Cscript%3E",
)
VIEWS = (
    ("status",),
    ("status", "hostile"),
    ("status", "pool"),
    ("workers",),
    ("workers", NAME, "--slots", "3"),
    ("workers", f"nobody{NAME}"),
    ("verify", "hostile"),
    ("pause", NAME),
)


@pytest.fixture(scope="module")
def hostile(house: House) -> House:
    """A database of its own, in which no orchestrator looks after what is planted there."""
    assert house.cli("up").code == 0
    own = make_url(str(house.stack().database_url))
    admin = create_engine(own.set(username="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE hostile OWNER {own.username}")
    admin.dispose()
    url = own.set(database="hostile").render_as_string(hide_password=False)
    hostile = house.at({"INSTRUCTREE_DATABASE_URL": url})
    with hostile.engine() as engine:
        migrate(engine)
        run = plant(engine, "hostile", trees=1, seed=HOSTILE + WORD)
        grow(engine, run, 60, words=HOSTILE + WORD, output=HOSTILE + WORD)
        spoil(engine, run)
        plant_pool(engine, "pool")
    return hostile


@pytest.fixture(scope="module")
def console(hostile: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console_of(hostile, tmp_path_factory.mktemp("console")) as running:
        yield running


def test_on_every_page_they_are_words_and_nothing_more(chromium: object, hostile: House, console: Console):
    last = hostile.number("SELECT max(id) FROM examples")
    with inside(console) as tab:
        for page in PAGES:
            tab.open(f"{console.origin}{page.format(of_the_pool=last)}")
            if page.endswith("trees/0"):
                drawn(tab)
                tab.until("document.querySelector('#told h2') !== null")
            tab.until("!document.querySelector('main[data-live]') || !document.getElementById('beat').hidden")
            assert_words(tab, page)


def assert_words(tab: Tab, page: str) -> None:
    shown = tab.text("html")
    assert "<script>" in shown and "⟨U+202E⟩" in shown, page
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown, page
    assert tab.js("document.querySelectorAll('main script, main img, main b b').length") == 0, page
    assert "owned" not in tab.js("document.title"), page
    assert tab.js("document.documentElement.scrollWidth <= innerWidth"), f"{page} is wider than the window"


def test_on_a_terminal_they_are_words_and_nothing_more(hostile: House):
    views = at_once({" ".join(view): partial(hostile.cli, *view) for view in VIEWS})
    for view, done in views.items():
        said = done.out + done.err
        assert "Traceback" not in said, view
        assert not {c for c in said if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}, said
    planted = ("turned down: <script>", "tasks wait: <script>", "changed while it was on", "refused ", "by webhook")
    assert [words for words in planted if words not in views["status hostile"].out] == []
    assert "<script>" in views["workers"].out
