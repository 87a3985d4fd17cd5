"""Runs as their user would have them: one command each, given again when it ends before its run has."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.stack.process import last_line
from tests.chaos.site import Site
from tests.e2e.house import CLI, write_seeds

# Its service was away, it was interrupted, or it crashed: the same command goes on.
_AGAIN_S = 1.0
# As many as `write_seeds` knows.
_AT_ONCE = 48
GREEDY = ("--max-calls", "1000000", "--max-usd", "1000")
PRICES = (
    *("--set", "endpoints.default.usd_per_million_in=0.15"),
    *("--set", "endpoints.default.usd_per_million_out=0.6"),
)


@dataclass(slots=True, kw_only=True)
class Job:
    """A run. `codes` are the exit codes of its commands so far; it is over with one of `good`."""

    name: str
    folder: Path
    argv: Sequence[str]
    good: tuple[int, ...]
    process: "subprocess.Popen[bytes] | None" = None
    codes: list[int] = field(default_factory=list)
    due: float = 0.0

    @property
    def over(self) -> bool:
        return bool(self.codes) and self.codes[-1] in self.good

    @property
    def log(self) -> Path:
        return self.folder / "command.log"

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset.jsonl"


@dataclass(slots=True, kw_only=True)
class Jobs:
    """Runs of one site. `width` seeds each; `options` go to every command."""

    site: Site
    width: int
    options: Sequence[str]
    say: Callable[[str], None]
    good: tuple[int, ...] = (0,)
    all: list[Job] = field(default_factory=list)

    @property
    def open(self) -> list[Job]:
        return [job for job in self.all if not job.over]

    @property
    def datasets(self) -> dict[str, Path]:
        return {job.name: job.dataset for job in self.all}

    def begin(self, name: str, *options: str) -> Job:
        folder = self.site.folder / "runs" / name
        folder.mkdir(parents=True)
        seeds = _many_seeds(folder / "seeds.jsonl", self.width, f"{name} of {self.site.seed}")
        argv = (*CLI, "run", str(seeds), "--name", name, "--out", str(folder), *self.options, *options)
        job = Job(name=name, folder=folder, argv=argv, good=self.good)
        self.all.append(job)
        self._start(job)
        return job

    def look(self, now: float) -> None:
        """Gives the command of every run again whose last one ended early."""
        for job in self.open:
            code = job.process.poll() if job.process else None
            if code is not None:
                job.codes.append(code)
                if not job.over:
                    self.say(f"{job.name}: its command ended with {code} ({last_line(job.log)}) and is given again")
                job.process, job.due = None, now + _AGAIN_S
            elif job.process is None and now >= job.due:
                self._start(job)

    def _start(self, job: Job) -> None:
        env = self.site.house.environment()
        with job.log.open("ab") as log:
            job.process = subprocess.Popen(
                job.argv,
                env=env,
                cwd=job.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def close(self) -> None:
        for job in self.all:
            if job.process is not None and job.process.poll() is None:
                job.process.kill()
                job.process.wait()


def _many_seeds(path: Path, count: int, about: str) -> Path:
    """Any number of seeds that no other run has."""
    lines: list[str] = []
    while len(lines) < count:
        write_seeds(path, min(_AT_ONCE, count - len(lines)), f"{about}, part {len(lines) // _AT_ONCE}")
        lines += path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def shape(*, iterations: int, children: int, trees: int, harvest: int, timeout_s: float) -> tuple[str, ...]:
    """Options that say how much work a run is."""
    pairs = {
        "search.iterations": iterations,
        "search.children": children,
        "search.stop_reward": 40,
        "trees_at_once": trees,
        "harvest.size": harvest,
        "endpoints.default.timeout_s": timeout_s,
    }
    return tuple(word for name, value in pairs.items() for word in ("--set", f"{name}={value}"))
