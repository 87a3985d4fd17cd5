"""What holds for every test: no test touches the user's endpoint, money or local stack."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

FOLDER_MARKS = {"integration": pytest.mark.integration, "e2e": pytest.mark.e2e}
KEPT = {"INSTRUCTREE_TEST_WHEEL", "INSTRUCTREE_REQUIRE_PROGRAMS"}
_home = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Forgets the caller's settings before any test module can read them, and gives the tests a home of their own."""
    for name in list(os.environ):
        if name.startswith(("INSTRUCTREE_", "OPENAI_")) and name not in KEPT:
            del os.environ[name]
    config.stash[_home] = os.environ["INSTRUCTREE_HOME"] = tempfile.mkdtemp(prefix="instructree-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_home], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by the folder it lies in."""
    for item in items:
        mark = FOLDER_MARKS.get(Path(item.path).parent.name)
        if mark is not None:
            item.add_marker(mark)
