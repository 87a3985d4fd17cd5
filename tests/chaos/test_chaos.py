"""The chaos suite as CI runs it: about thirty kills in a real run, and every law recounted after it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 340
_LAST = re.compile(
    r"kills=(?P<kills>\d+) lost=(?P<lost>\d+) duplicated=(?P<duplicated>\d+) stat_errors=(?P<stat_errors>\d+) "
    r"repaid=(?P<repaid>\d+) inflight_at_kills=(?P<in_flight>\d+) overspent=(?P<overspent>\d+) recovered_s=[\d.]+"
)


def chaos(*options: object) -> tuple[int, str]:
    """Exit code and output; what it has started is gone when it ends, also when it is told to."""
    argv = [sys.executable, "-m", "tests.chaos", *map(str, options)]
    with subprocess.Popen(argv, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            said, _ = program.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            program.terminate()
            said, _ = program.communicate(timeout=60)
    return program.returncode, said


@pytest.mark.timeout(_PATIENCE_S + 80)
@pytest.mark.parametrize(("scenario", "kills"), [("chaos", 30), ("pools", 8)])
def test_kills_lose_nothing_double_nothing_and_spend_no_more_than_is_counted(scenario: str, kills: int) -> None:
    pytest.importorskip("psutil", reason="the extra `local` is not installed")
    code, said = chaos("--scenario", scenario, "--kills", kills, "--seed", 1)
    last = _LAST.fullmatch(said.splitlines()[-1])
    assert code == 0 and last, said
    found = {name: int(value) for name, value in last.groupdict().items()}
    assert found["kills"] == kills, said
    assert found["lost"] == found["duplicated"] == found["stat_errors"] == found["overspent"] == 0, said
    assert found["repaid"] <= found["in_flight"], said
