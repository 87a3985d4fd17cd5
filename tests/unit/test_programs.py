"""A program that a test needs and that is not there: the test is skipped, or fails where programs are required."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import programs

WANTED: dict[str, Callable[[], Path]] = {
    "sh scripts/chromium.sh": programs.chromium,
    "sh scripts/rabbitmq.sh": programs.rabbitmq,
    "make deploy-tools": lambda: programs.tool("promtool"),
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with none of them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_TOOLS", tmp_path)
    monkeypatch.setattr(programs, "_RABBITMQ", tmp_path / "rabbitmq-server")


@pytest.mark.parametrize("cure", WANTED)
def test_the_test_is_skipped_with_the_cure(cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(programs.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"is not installed: `{cure}`"):
        WANTED[cure]()


@pytest.mark.parametrize("cure", WANTED)
def test_the_test_fails_with_the_cure_where_programs_are_required(cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(programs.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=f"is not installed: `{cure}`"):
        WANTED[cure]()
