"""The report of a run without trees in a real browser: nothing runs, nothing is asked for, and it fits its window."""

from pathlib import Path

import pytest

from orchestrator.report import render_pool
from tests.e2e.test_report_page import load, requested, without_policy, write
from tests.unit.pool_story import story

# In a copy without the policy, which lets nothing run.
PROBE = """<script>
document.body.dataset.wide = document.documentElement.scrollWidth <= innerWidth;
document.body.dataset.drawn = [...document.querySelectorAll("svg.plot")].every((one) => one.getBBox().width > 0);
</script></body>"""

pytestmark = pytest.mark.usefixtures("chromium")


def test_it_shows_without_a_word_to_the_console_or_the_network(tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    document, said = load(write(tmp_path, render_pool(story())), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in said
    assert 'id="seedpool"' in document
    assert requested(log) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_its_window(tmp_path: Path, width: int) -> None:
    probed = without_policy(render_pool(story())).replace("</body>", PROBE)
    document, _ = load(write(tmp_path, probed), tmp_path, f"--window-size={width},900")
    assert 'data-wide="true"' in document and 'data-drawn="true"' in document
