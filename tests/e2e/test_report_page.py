"""The report in a real browser: it runs under its own policy, says nothing to the console and asks nobody."""

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator.report import render
from tests.programs import chromium
from tests.unit.report_story import story

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # what the browser asks for on its own account goes nowhere
)
ELSEWHERE = "http://127.0.0.1:9/image.png"
# Runs in a copy without the policy, which would rightly refuse it, and leaves what it saw in the page.
PROBE = """<script>
const see = (name, value) => document.body.dataset[name] = value;
const key = (on, name) => on.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
const opened = (grove) => [...grove.querySelectorAll(".panel")].filter((p) => getComputedStyle(p).display !== "none");
const grove = document.querySelector(".grove[open]");
const links = [...grove.querySelectorAll("a.mark")];
const other = links.find((link) => !link.hasAttribute("aria-current") && link.dataset.parent);
see("before", opened(grove).length);
other.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, detail: 0}));
see("after", opened(grove).map((panel) => panel.id).join());
see("wanted", other.id.slice(2));
see("focused", document.activeElement.id);
key(document.activeElement, "Escape");
see("back", document.activeElement.id);
key(document.activeElement, "ArrowLeft");
see("left", document.activeElement.id.slice(2) === other.dataset.parent);
see("named", links.every((link) => link.getAttribute("aria-label")));
see("wide", document.documentElement.scrollWidth <= innerWidth);
</script></body>"""

pytestmark = pytest.mark.usefixtures("chromium")


def load(page: Path, tmp_path: Path, *more: str) -> tuple[str, str]:
    """The page's document after its script has run, and what the browser wrote to its log."""
    command = [str(chromium()), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *more, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    return done.stdout, done.stderr


def write(tmp_path: Path, page: str) -> Path:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    return file


def test_it_runs_under_its_policy_without_a_word_to_the_console_or_the_network(tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    document, said = load(write(tmp_path, render(story())), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in said
    assert document.count('aria-current="true"') == 10  # the script, allowed by its hash, marked each tree's open node
    assert requested(log) == []


@pytest.mark.parametrize("policy", [True, False])
def test_a_smuggled_image_would_be_refused_by_the_policy_and_seen_without_it(tmp_path: Path, policy: bool) -> None:
    page, log = render(story(trees=2)), tmp_path / "net.json"
    smuggled = (page if policy else without_policy(page)).replace("<main>", f'<main><img src="{ELSEWHERE}">')
    _, said = load(write(tmp_path, smuggled), tmp_path, f"--log-net-log={log}")
    assert requested(log) == ([] if policy else [ELSEWHERE])
    assert ("Content Security Policy" in said) is policy


def requested(log: Path) -> list[str]:
    """Every address outside the file that a page asked for; what the browser itself wants has no page as initiator."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = [event.get("params", {}) for event in events]
    urls = {str(a["url"]) for a in asked if "url" in a and a.get("initiator", "not an origin") != "not an origin"}
    return sorted(url for url in urls if url.startswith(("http:", "https:", "ws:", "wss:")))


def without_policy(page: str) -> str:
    start = page.index("<meta http-equiv")
    return page[:start] + page[page.index(">", start) + 1 :]


@pytest.mark.parametrize("width", [1280, 400])
def test_a_node_opens_by_keyboard_and_the_page_fits_its_window(tmp_path: Path, width: int) -> None:
    probed = without_policy(render(story())).replace("</body>", PROBE)
    document, said = load(write(tmp_path, probed), tmp_path, f"--window-size={width},900")
    assert "CONSOLE" not in said
    seen = dict(pair.split("=", 1) for pair in _body_attributes(document))
    assert seen["data-before"] == "1"
    assert seen["data-after"] == seen["data-focused"] == seen["data-wanted"]
    assert seen["data-back"] == f"m-{seen['data-wanted']}"
    assert (seen["data-left"], seen["data-named"], seen["data-wide"]) == ("true", "true", "true")


def _body_attributes(document: str) -> list[str]:
    start = document.index("<body") + 5
    return document[start : document.index(">", start)].replace('"', "").split()
