"""Machines disagree about the time. Leases, deadlines and limits go by the clocks of the database and the broker."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import db
import orchestrator
import workers

WALL_CLOCKS = {("time", "time"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
# Who looks at this machine's own clock, and why that is no matter between machines.
ALLOWED = {
    "workers/llm/sorting.py": "how long until a date that an endpoint names",
    "orchestrator/stack/postgres_files.py": "the age of a file on this machine",
    "orchestrator/traces.py": "when something was, as a collector of traces is told it; nothing is decided by it",
    "workers/traced.py": "when something was, as a collector of traces is told it; nothing is decided by it",
}
ROOMS = [Path(next(iter(room.__path__))) for room in (db, workers, orchestrator)]


def modules() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for path in sorted(room.rglob("*.py")):
            yield str(path.relative_to(room.parent)), path


def wall_clocks(path: Path) -> list[str]:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [(f.value.id, f.attr) for f in calls if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)]
    return [".".join(name) for name in named if name in WALL_CLOCKS]


@pytest.mark.parametrize(("name", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_no_decision_rests_on_this_machines_clock(name: str, path: Path):
    assert bool(wall_clocks(path)) == (name in ALLOWED), wall_clocks(path)
