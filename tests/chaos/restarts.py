"""Show 2: the whole process tree is killed at a random moment, the same command is given again, each run completes."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy.exc import SQLAlchemyError

from db.errors import ServiceError
from orchestrator import stack
from orchestrator.stack.ports import free_port
from tests.chaos.audit import audit, complain, counts, figures
from tests.chaos.jobs import GREEDY, PRICES, shape
from tests.chaos.programs import Part, Program
from tests.chaos.site import IN_FLIGHT, KEY, endpoint_argv, stats_of
from tests.chaos.stage import speaker
from tests.e2e.house import House, until, write_seeds

WORK = shape(iterations=2, children=3, trees=12, harvest=8, timeout_s=10)
WIDTH = 12
# From before its servers are up to when it has ended.
_MOMENT_S = (0.3, 14.0)
_PATIENCE_S = 240.0


@dataclass(slots=True, kw_only=True)
class Trial:
    """A machine with nothing but the command line and an endpoint elsewhere, which nobody kills."""

    folder: Path
    house: House
    port: int
    chance: Random
    in_flight: int = 0
    killed: int = 0
    datasets: dict[str, Path] = field(default_factory=dict)
    completed_s: list[float] = field(default_factory=list)

    def once(self, name: str) -> str:
        """One run, killed once with all that belongs to it, and completed. Says how it went."""
        folder = self.folder / name
        folder.mkdir()
        seeds = write_seeds(folder / "seeds.jsonl", WIDTH, name)
        self.datasets[name] = folder / "dataset.jsonl"
        command = ("run", seeds, "--name", name, "--out", folder, *WORK, *GREEDY, *PRICES)
        moment_s = self.chance.uniform(*_MOMENT_S)
        with self.house.running(*command, folder=folder) as running:
            begun = time.monotonic()
            while time.monotonic() - begun < moment_s and running.process.poll() is None:
                time.sleep(0.02)
            count, in_flight = self.kill_all()
        begun = time.monotonic()
        done = self.house.cli(*command, cwd=folder, patience_s=_PATIENCE_S)
        took_s = time.monotonic() - begun
        self.completed_s.append(took_s)
        said = f"{name}: {count} processes killed after {moment_s:.1f} s, {in_flight} calls in flight;"
        return f"{said} the same command ended with {done.code} after {took_s:.1f} s" + (
            f"\n{done.err[-500:]}" if done.code else ""
        )

    def kill_all(self) -> tuple[int, int]:
        """Everything of the house at once: how many processes, and the calls that were in flight."""
        pids = self._signal(signal.SIGSTOP, ("worker-1", "worker-2"))  # what is counted is what is there at the end
        found = max(self._open_attempts(), self._asked())
        for _ in range(3):  # whatever one of them had just started
            pids |= self._signal(signal.SIGKILL)
        self.in_flight += found
        self.killed += len(pids)
        return len(pids), found

    def _signal(self, sign: signal.Signals, names: Sequence[str] = ()) -> set[int]:
        groups: Mapping[str, list[int]] = self.house.processes()
        pids = {pid for name, group in groups.items() if not names or name in names for pid in group}
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        return pids

    def _open_attempts(self) -> int:
        with suppress(SQLAlchemyError, ServiceError, AssertionError, OSError):
            return int(self.house.number(IN_FLIGHT, worker="%"))
        return 0

    def _asked(self) -> int:
        return int(stats_of(self.port)["in_flight"])


@contextmanager
def trial(folder: Path, seed: int) -> Iterator[Trial]:
    (folder / "system").mkdir(mode=0o755)
    port = free_port(None)
    env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": KEY}
    house = House(home=folder / "home", system=folder / "system", env=env)
    argv = endpoint_argv(port, seed, folder / "endpoint.journal", ("--latency", "300"))
    # It has no INSTRUCTREE_HOME: by that the house knows what is its own, and is killed.
    apart = {name: value for name, value in house.environment().items() if not name.startswith("INSTRUCTREE_")}
    endpoint = Program(name="endpoint", part=Part.ENDPOINT, argv=argv, env=apart, log=folder / "endpoint.log")
    environment = house.environment()
    os.environ.clear()
    os.environ.update(environment)
    endpoint.start()
    try:
        until(lambda: _answers(port), "the endpoint answers")
        yield Trial(folder=folder, house=house, port=port, chance=Random(f"{seed}:restarts"))
    finally:
        endpoint.end()
        stack.down()


def _answers(port: int) -> bool:
    with suppress(OSError):
        return bool(stats_of(port))
    return False


def restarts(folder: Path, *, count: int, seed: int) -> bool:
    """So many runs in a row."""
    say = speaker()
    with trial(folder, seed) as tried:
        for number in range(1, count + 1):
            say(tried.once(f"run-{number}"))
        with tried.house.engine() as engine:
            verdict = audit(engine, tried.datasets, stats_of(tried.port), in_flight=tried.in_flight)
        complain(verdict)
        print(f"processes_killed={tried.killed} {figures(verdict)}")
        longest_s = max(tried.completed_s)
        print(f"restarts={count} {counts(verdict)} completed_s={longest_s:.1f}", flush=True)
        return verdict.holds
