"""A site with runs on it, somebody who hits it, and somebody who watches."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import recount
from tests.chaos.acts import Saboteur
from tests.chaos.audit import Verdict, audit
from tests.chaos.jobs import Job, Jobs
from tests.chaos.plan import Act
from tests.chaos.site import Layout, Site, open_site
from tests.chaos.watch import Watch

PATIENCE_S = 300.0
# What the endpoint does wrong whenever nothing else is said. Usage is right, so that money can be counted twice.
FAULTS = (
    *("--latency", "250", "--latency-p99", "1500", "--fail-share", "0.01", "--hang-share", "0.003"),
    *("--malformed-share", "0.01", "--drop-share", "0.01", "--half-share", "0.01", "--injection-share", "0.05"),
)


def speaker() -> Callable[[str], None]:
    begun = time.monotonic()
    return lambda line: print(f"{time.monotonic() - begun:7.1f} s  {line}", flush=True)


@dataclass(slots=True, kw_only=True)
class Stage:
    """`at_once` runs are kept going by `play`; each has `work` as its options."""

    site: Site
    jobs: Jobs
    saboteur: Saboteur
    watch: Watch
    at_once: int = 2
    say: Callable[[str], None] = field(default_factory=speaker)

    def look(self) -> None:
        now = time.monotonic()
        self.saboteur.look()
        self.site.supervisor.look(now)
        self.jobs.look(now)

    def begin(self, name: str, *options: str) -> Job:
        self.say(f"{name} begins")
        return self.jobs.begin(name, *options)

    def keep_busy(self) -> bool:
        """Begins further runs where there are too few; always true."""
        while len(self.jobs.open) < self.at_once:
            self.begin(f"run-{len(self.jobs.all) + 1}")
        return True

    def until(self, holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Waits, starting again what dies. Raises TimeoutError."""
        deadline = time.monotonic() + patience_s
        while not holds():
            self.look()
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not within {patience_s:.0f} s: {what}")
            time.sleep(0.05)

    def until_spent(self, job: Job, calls: int) -> None:
        """Until a run has come so far."""
        query = "SELECT coalesce(sum(spent_calls), 0) FROM runs WHERE name = :name"
        self.until(lambda: (self.site.number(query, name=job.name) or 0) >= calls, f"{calls} calls of {job.name}")

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "the time has gone by", seconds + 60)

    def play(self, acts: Sequence[Act], *, busy: Callable[[], object]) -> None:
        """Does each act when it is due, or as soon as there is somebody to do it to; ends early when not `busy`."""
        left, begun = list(acts), time.monotonic()
        while left and busy():
            self.look()
            for act in [act for act in left if act.at_s <= time.monotonic() - begun]:
                if self.saboteur.do(act):
                    left.remove(act)
            time.sleep(0.05)

    def stats(self) -> dict[str, Any]:
        """The endpoint's count, waited for."""
        self.until(self.site.stats_known, "the endpoint answers", 60)
        return self.site.stats()

    def conclude(self, *, ends: Sequence[str] = ("done",)) -> Verdict:
        """Waits for all runs and recounts the laws."""
        self.saboteur.settle()
        try:
            self.until(lambda: not self.jobs.open, "all runs have ended")
            late = 0
        except TimeoutError:
            late = len(self.jobs.open)
        verdict = audit(
            self.site.engine, self.jobs.datasets, self.stats(), in_flight=self.saboteur.in_flight, ends=ends
        )
        if late:
            verdict.blame("lost", f"{late} commands have not ended", late)
        for fault in self._figures_wrong():
            verdict.blame("stat_errors", fault)
        return verdict

    def _figures_wrong(self) -> list[str]:
        """What orchestrators tell Prometheus, and the rows do not: waited for, as one may just be starting."""
        pages: list[str] = []

        def told() -> bool:
            with suppress(OSError):
                pages[:] = self.site.told()
            return bool(pages)

        self.until(told, "the orchestrators tell their figures", 90)
        return [fault for page in pages for fault in recount.differences(self.site.engine, recount.read(page))]

    def recoveries(self) -> dict[str, list[float]]:
        """Seconds from each kill to the next progress, by what was killed."""
        found: dict[str, list[float]] = {}
        for hit in self.saboteur.hits:
            seconds = self.watch.recovery(hit.at) if hit.killed else None
            if seconds is not None:
                found.setdefault(hit.part, []).append(seconds)
        return found


def tell_recoveries(found: dict[str, list[float]]) -> float:
    """Prints them; returns the longest."""
    for part, seconds in sorted(found.items()):
        print(
            f"{part}: next progress {max(seconds):.1f} s after a kill at the longest, "
            f"median {statistics.median(seconds):.1f} s, of {len(seconds)}"
        )
    return max((second for seconds in found.values() for second in seconds), default=0.0)


@contextmanager
def staged(
    folder: Path, layout: Layout, seed: int, *, width: int, options: Sequence[str], good: tuple[int, ...] = (0,)
) -> Iterator[Stage]:
    """Everything started in a folder of its own, and gone at the end."""
    site = open_site(folder, layout, seed)
    say = speaker()
    jobs = Jobs(site=site, width=width, options=options, say=say, good=good)
    watch = Watch(engine=site.engine)
    saboteur = Saboteur(site=site, say=say)
    watch.start()
    try:
        stage = Stage(site=site, jobs=jobs, saboteur=saboteur, watch=watch, say=say)
        stage.stats()
        yield stage
    finally:
        saboteur.close()
        watch.stop()
        jobs.close()
        site.close()
