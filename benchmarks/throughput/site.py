"""Where all systems are measured: our servers in a folder that goes afterwards, and an endpoint for each cell."""

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from benchmarks.throughput.figures import ENDPOINT
from benchmarks.throughput.processes import Family, Program, cpu_s
from db.engine import open_engine
from db.migrate import migrate
from orchestrator import stack
from orchestrator.stack.postgres_files import places
from orchestrator.stack.process import strays

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "orchestrator.cli")
_PATIENCE_S = 60.0


class Failed(Exception):
    """A measurement could not be made; the message says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Servers that run. `folder` is where everything is kept meanwhile."""

    folder: Path
    engine: Engine
    database_url: str
    redis_url: str

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What our programs are started with: nothing of the caller's own endpoint or stack."""
        own = {"INSTRUCTREE_DATABASE_URL": self.database_url, "INSTRUCTREE_REDIS_URL": self.redis_url}
        return {**clean_environment(), **own, **(more or {})}

    def server_cpu_s(self) -> dict[str, float]:
        """Processor seconds of each server so far, of what has ended too."""
        home = Path(os.environ["INSTRUCTREE_HOME"])
        found = strays(home, names=["postgres", "valkey"], server=places(home).data)
        return {name: cpu_s((process.pid for process in group), reaped=True) for name, group in found.items()}


def clean_environment() -> dict[str, str]:
    """Our environment, with this checkout to be found in it and no endpoint of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "TERM": "dumb"}


@contextmanager
def servers(say: Callable[[str], None]) -> Iterator[Site]:
    """PostgreSQL and Valkey of a stack that nobody else knows, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="instructree-bench-"))
    system = Path(tempfile.mkdtemp(prefix="instructree-bench-"))
    system.chmod(0o755)
    for name in [name for name in os.environ if name.startswith(("INSTRUCTREE_", "OPENAI_"))]:
        del os.environ[name]
    os.environ.update(INSTRUCTREE_HOME=str(folder / "home"), INSTRUCTREE_SYSTEM_DIR=str(system))
    try:
        say("PostgreSQL and Valkey start")
        found = stack.ensure_services(stack.Needs(models=()))
        assert found.database_url and found.redis_url
        engine = open_engine(found.database_url, pool_size=2)
        migrate(engine)
        yield Site(folder=folder, engine=engine, database_url=found.database_url, redis_url=found.redis_url)
        engine.dispose()
    finally:
        stack.down()
        for path in (folder, system):
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A scripted model with a latency of its own."""

    program: Program
    base_url: str

    def count(self) -> tuple[int, int]:
        """Calls answered so far, and those it has in hand."""
        with urllib.request.urlopen(f"{self.base_url.removesuffix('/v1')}/health", timeout=30) as answer:
            found = json.load(answer)
        return int(found["paid"]), int(found["in_flight"])


def open_endpoint(family: Family, latency_s: float) -> Endpoint:
    """Raises Failed when it does not come up."""
    options = ("--latency", f"{latency_s * 1000:g}", "--latency-fixed")
    program = family.start(ENDPOINT, (sys.executable, "-m", "workers.llm.scripted", *options), clean_environment())
    return Endpoint(program=program, base_url=until(lambda: _address(program), "the endpoint says where it is"))


def _address(program: Program) -> str | None:
    if not program.alive:
        raise Failed(f"the endpoint has died: {program.said()}")
    first, newline, _ = program.log.read_text().partition("\n")
    return first if newline else None


def until(found: Callable[[], T | None], what: str, patience_s: float = _PATIENCE_S) -> T:
    """Waits for something to be there. Raises Failed when it never is."""
    deadline = time.monotonic() + patience_s
    while (it := found()) is None:
        if time.monotonic() >= deadline:
            raise Failed(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.05)
    return it
