"""Programs that some tests need and Python cannot bring. A test without its own is skipped; in `.ci/run` it fails."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "INSTRUCTREE_REQUIRE_PROGRAMS"
ROOT = Path(__file__).resolve().parents[1]
_TOOLS = ROOT / ".build" / "deploy-tools"
# The one in the path of Debian changes to a user of its own, with that user's data.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def chromium() -> Path:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    _missing("Chromium", "sh scripts/chromium.sh")


def rabbitmq() -> Path:
    found = _RABBITMQ if _RABBITMQ.exists() else shutil.which("rabbitmq-server")
    return Path(found) if found else _missing("rabbitmq-server", "sh scripts/rabbitmq.sh")


def tool(name: str) -> Path:
    """A program that the tests of deploy/ need."""
    for place in (_TOOLS / "bin" / name, _TOOLS / "venv" / "bin" / name, shutil.which(name)):
        if place is not None and Path(place).is_file():
            return Path(place)
    _missing(name, "make deploy-tools")


def _missing(program: str, cure: str) -> NoReturn:
    """Skips the test, or fails it where INSTRUCTREE_REQUIRE_PROGRAMS is set."""
    message = f"{program} is not installed: `{cure}` brings it"
    if os.environ.get(REQUIRED):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
