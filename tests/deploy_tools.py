"""Programs that the tests of deploy/ need and Python cannot bring: `make deploy-tools` puts them into .build/."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_HOME = ROOT / ".build" / "deploy-tools"


def tool(name: str) -> Path:
    """Where a program is. Skips the test where it is not."""
    for place in (_HOME / "bin" / name, _HOME / "venv" / "bin" / name, shutil.which(name)):
        if place is not None and Path(place).is_file():
            return Path(place)
    pytest.skip(f"{name} is not installed: `make deploy-tools` brings it")
