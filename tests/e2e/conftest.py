"""One local stack a session, with a fast scripted model; both real processes, both gone at the end."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import programs
from tests.e2e.house import House, Model, scripted


@contextmanager
def _open_house() -> Iterator[House]:
    """Not in pytest's own folder: as root that is closed to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="instructree-test-"))
    system = Path(tempfile.mkdtemp(prefix="instructree-test-"))
    system.chmod(0o755)
    house = House(home=folder / "home", system=system, env={})
    try:
        yield house
    finally:
        assert house.cli("down").code == 0
        left = house.processes()
        shutil.rmtree(folder)
        shutil.rmtree(system)
    assert left == {}


@pytest.fixture(scope="session")
def chromium() -> Path:
    """For whoever needs it before anything is started in vain."""
    return programs.chromium()


@pytest.fixture(scope="session")
def model() -> Iterator[Model]:
    """A fast endpoint. Its key is looked for, in the end, wherever it must not be."""
    with scripted(f"canary{secrets.token_hex(12)}") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def house(model: Model) -> Iterator[House]:
    """The stack that the tests of this folder share, with the fast endpoint."""
    pytest.importorskip("psutil", reason="the extra `local` is not installed")
    with _open_house() as opened:
        yield opened.at(model.env)


@pytest.fixture
def own_house() -> Iterator[House]:
    """A stack for one test alone, with no endpoint."""
    pytest.importorskip("psutil", reason="the extra `local` is not installed")
    with _open_house() as opened:
        yield opened
