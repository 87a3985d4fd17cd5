"""Real servers for the integration tests: one PostgreSQL and one Valkey a session, one fresh database a test."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from db.engine import open_engine
from db.migrate import migrate
from orchestrator import stack


@pytest.fixture(scope="session")
def servers() -> Iterator[stack.Stack]:
    """PostgreSQL and Valkey of a local stack that only this test session knows."""
    pytest.importorskip("psutil", reason="the extra `local` is not installed")
    folder = Path(tempfile.mkdtemp(prefix="instructree-test-"))
    system = Path(tempfile.mkdtemp(prefix="instructree-test-"))
    system.chmod(0o755)
    home = {"INSTRUCTREE_HOME": str(folder / "home"), "INSTRUCTREE_SYSTEM_DIR": str(system)}
    with _environment(home):
        found = stack.ensure_services(stack.Needs(models=()))
    yield found
    with _environment(home):
        stack.down()
    shutil.rmtree(folder)
    shutil.rmtree(system)


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """The stack finds its home in the environment; other tests have a home of their own there."""
    before = dict(os.environ)
    os.environ.update(wanted)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def _template(servers: stack.Stack) -> Iterator[Engine]:
    """An engine to make databases with, and a migrated database to copy."""
    assert servers.database_url
    admin = create_engine(servers.database_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE template_of_tests"))
    migrated = open_engine(_named(servers.database_url, "template_of_tests"))
    migrate(migrated)
    migrated.dispose()
    yield admin
    admin.dispose()


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture
def database_url(servers: stack.Stack, _template: Engine) -> str:
    """The address of a fresh, migrated database. It goes with the server, at the end of the session."""
    assert servers.database_url
    name = f"test_{secrets.token_hex(4)}"
    with _template.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_of_tests STRATEGY file_copy"))
    return _named(servers.database_url, name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def redis_url(servers: stack.Stack) -> str:
    assert servers.redis_url
    return servers.redis_url
