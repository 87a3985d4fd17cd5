"""What the end-to-end tests are made of: a local stack of their own, its command line, and a scripted model."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Engine, Row, text

from db.engine import open_engine
from orchestrator import stack
from orchestrator.stack.postgres_files import places
from orchestrator.stack.process import strays

CLI = (sys.executable, "-m", "orchestrator.cli")
PATIENCE_S = 280.0
T = TypeVar("T")
ROW_KEYS = {
    *("id", "instruction", "output", "seed", "operators", "depth", "quality", "diversity", "complexity", "reward"),
    *("parent_id", "tree", "models", "cost"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that tells the user what is wrong. Progress may come before it, nothing after it."""
        assert "Traceback" not in self.out + self.err, self.err
        lines = self.err.splitlines()
        assert [line.startswith("instructree: ") for line in lines].count(True) == 1, self.err
        assert lines[-1].startswith("instructree: "), self.err
        return lines[-1].removeprefix("instructree: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A scripted endpoint."""

    base_url: str
    key: str

    @property
    def env(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": self.key}

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base_url.removesuffix('/v1')}/stats", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    @property
    def paid(self) -> int:
        """Calls answered so far."""
        return int(self.stats()["paid_total"])


@contextmanager
def scripted(key: str, *options: str) -> Iterator[Model]:
    """`python -m workers.llm.scripted` on a free port, until the end of the block."""
    argv = [sys.executable, "-m", "workers.llm.scripted", "--port", "0", "--key", key, *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield Model(base_url=server.stdout.readline().strip(), key=key)
        finally:
            server.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A command that is under way."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def ended(self, patience_s: float = PATIENCE_S) -> Done:
        """Waits for it to end."""
        code = self.process.wait(patience_s)
        return Done(code=code, out=self.out.read_text(), err=self.err.read_text())

    def interrupt(self) -> None:
        """Ctrl-C reaches everything that the terminal started."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A home of a local stack. `env` is all that its commands see of INSTRUCTREE_* and OPENAI_*."""

    home: Path
    system: Path
    env: Mapping[str, str]
    said: list[str] = field(default_factory=list)

    def at(self, env: Mapping[str, str]) -> "House":
        """The same house with more in its environment; an empty value takes a variable away."""
        return replace(self, env={name: value for name, value in {**self.env, **env}.items() if value})

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("INSTRUCTREE_", "OPENAI_"))}
        places = {"INSTRUCTREE_HOME": str(self.home), "INSTRUCTREE_SYSTEM_DIR": str(self.system)}
        return {**kept, "TERM": "dumb", "COLUMNS": "120", **places, **self.env}

    def cli(self, *arguments: object, cwd: Path | None = None, patience_s: float = PATIENCE_S) -> Done:
        """One command, from beginning to end."""
        done = subprocess.run(
            [*CLI, *map(str, arguments)],
            env=self.environment(),
            cwd=cwd or self.home.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )
        self.said.extend((done.stdout, done.stderr))
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)

    def run(self, seeds: Path, name: str, *options: object) -> Done:
        """`instructree run`, its results beside the seeds in a folder of the run's name."""
        return self.cli("run", seeds, "--name", name, "--out", seeds.parent / name, *options)

    @contextmanager
    def running(self, *arguments: object, folder: Path) -> Iterator[Running]:
        """A command under way, as from a terminal of its own; ended with the block if it has not ended."""
        number = len(list(folder.glob("*.stderr")))
        out, err = folder / f"{number}.stdout", folder / f"{number}.stderr"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            command = self._open(arguments, folder, to_out, to_err)
        try:
            yield Running(process=command, out=out, err=err)
        finally:
            Running(process=command, out=out, err=err).stop()
            self.said.extend((out.read_text(), err.read_text()))

    def _open(
        self, arguments: Sequence[object], folder: Path, out: IO[bytes], err: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*CLI, *map(str, arguments)],
            env=self.environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )

    def status(self, name: str) -> dict[str, Any]:
        done = self.cli("status", name, "--json")
        assert (done.code, done.err) == (0, "")
        found: dict[str, Any] = json.loads(done.out)
        return found

    def verified(self, name: str) -> bool:
        """Whether every law holds; what breaks one is shown where an assertion fails."""
        done = self.cli("verify", name)
        assert done.code == 0, done.out + done.err
        return "broken" not in done.out

    def stack(self) -> stack.Stack:
        with environment_of(self):
            found = stack.find()
        assert found is not None
        return found

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The database that the house's commands use."""
        url = self.env.get("INSTRUCTREE_DATABASE_URL") or self.stack().database_url
        assert url is not None
        engine = open_engine(url, pool_size=1)
        try:
            yield engine
        finally:
            engine.dispose()

    def sql(self, query: str, **values: object) -> Sequence[Row[Any]]:
        with self.engine() as engine, engine.begin() as connection:
            return connection.execute(text(query), values).all()

    def number(self, query: str, **values: object) -> Any:
        """The one value that the query gives."""
        ((value,),) = self.sql(query, **values)
        return value

    def processes(self) -> dict[str, list[int]]:
        """Every process that belongs to this house, however it was started."""
        import psutil  # of the extra `local`, without which the tests that need a stack are skipped

        known = strays(self.home, server=places(self.home).data)
        found = {name: [process.pid for process in group] for name, group in known.items()}
        for process in psutil.process_iter():
            try:
                if process.environ().get("INSTRUCTREE_HOME") == str(self.home):
                    found.setdefault("command", []).append(process.pid)
            except psutil.Error:
                continue  # somebody else's, or just gone
        return found


@contextmanager
def environment_of(house: House) -> Iterator[None]:
    """What the local stack's own code finds in the environment, as a command of this house would."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(house.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def until(holds: Callable[[], Any], what: str, patience_s: float = 60.0, every_s: float = 0.2) -> Any:
    """Waits until something holds, and returns it."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {what}"
        time.sleep(every_s)
    return found


def at_once(jobs: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """The answer of each job, as many at work as there are cores: most of a short command is its start."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {name: pool.submit(job) for name, job in jobs.items()}
        return {name: job.result() for name, job in started.items()}


_SUBJECTS = (
    *("bees", "bridges", "coffee", "compost", "dialects", "earthquakes", "fevers", "glaciers", "harbours", "insulin"),
    *("juries", "kites"),
)
_MATTERS = (
    "Explain to a beginner how {} work in practice{}.",
    "Write a short letter about {} to a friend abroad{}.",
    "Give three reasons why {} matter to a small town{}.",
    "Summarise what a farmer should know about {}{}.",
)


def write_seeds(path: Path, count: int, about: str) -> Path:
    """A file of seeds that no other test has: what was paid for once is never asked again."""
    texts = [matter.format(subject, f", with {about} in mind") for matter in _MATTERS for subject in _SUBJECTS]
    assert count <= len(texts)
    lines = (json.dumps({"instruction": text}) + "\n" for text in texts[:count])
    path.write_text("".join(lines), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
