"""A run of many nodes in bulk: what one more node costs at 10,000, at 100,000 and at a million of them.

The orchestrator's own driver grows trees of the recipe `idea-mcts` on a real Postgres (a local stack of its own,
removed at the end); `benchmarks.growth.hands` carry its tasks out, one process without a network. Prints a table at
checkpoints, then lines `gate NAME VALUE LIMIT ok|short`; exit 1 if one is short.

    python -m benchmarks.growth [--nodes 1000000] [--trees-at-once 128] [--page docs/benchmarks/growth.md]
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import psutil
from sqlalchemy import Engine

from benchmarks.growth import gauge
from benchmarks.growth.gauge import Checkpoint, Clock
from benchmarks.growth.report import Ended, gates, heading, line, page
from benchmarks.page import conditions
from db import garbage, runs, views
from db.engine import open_engine
from db.migrate import migrate
from db.records import Caps, Run
from orchestrator import stack
from orchestrator.begin import begin
from orchestrator.config import build
from orchestrator.driver import OWNER_LEASE_S, Driver
from orchestrator.seeds import Seed, Seeds
from orchestrator.waiting import GATHER_S, wait_for_results
from workers.llm.scripted import answers, writing

MODEL = {"model": "scripted", "usd_per_million_in": 0.15, "usd_per_million_out": 0.6}
# A tree of idea-mcts has 26 nodes, or one less; the scripted judge grades too well for the published threshold.
NODES_A_TREE, OPTIONS = 25, ("search.stop_reward=18",)
# Up to the first, trees are equally young, which is no steady state: with so few at once it is over before the second.
MARKS = (5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
LOOK_S = 0.5


def parse() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--trees-at-once", type=int, default=128)
    parser.add_argument("--page", type=Path, help="where the figures go")
    return parser.parse_args()


@contextmanager
def database() -> Iterator[tuple[str, psutil.Process]]:
    """A local stack's Postgres that nobody else knows: its address, and its first process."""
    folder, system = Path(tempfile.mkdtemp(prefix="growth-")), Path(tempfile.mkdtemp(prefix="growth-"))
    system.chmod(0o755)
    os.environ |= {"INSTRUCTREE_HOME": str(folder / "home"), "INSTRUCTREE_SYSTEM_DIR": str(system)}
    try:
        found = stack.ensure_services(stack.Needs(models=()))
        assert found.database_url is not None
        (postgres,) = (service for service in found.services if service.name == "postgres")
        yield found.database_url, psutil.Process(postgres.pid)
    finally:
        stack.down()
        shutil.rmtree(folder)
        shutil.rmtree(system)


@contextmanager
def hands(url: str) -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.growth.hands", url])
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def seeds(count: int) -> Seeds:
    """Instructions of the scripted model's own, each with a number that no other has."""
    found = []
    for number in range(count):
        made = writing.brand_new(f"{writing.THINGS[number % 10]} number {number}", answers.chance_of("seed", number))
        found.append(Seed(instruction=made, input=""))
    return Seeds(seeds=tuple(found), duplicates=0)


def begun(engine: Engine, options: Namespace) -> Run:
    chosen = (f"trees_at_once={options.trees_at_once}", *OPTIONS)
    config = build("idea-mcts", [{"endpoints": {"default": MODEL}}], chosen)
    with engine.begin() as connection:
        # So many more that all trees at once still grow at the last mark: ticks of the last few bring few nodes.
        planted = seeds(options.nodes // NODES_A_TREE + options.trees_at_once)
        begin(connection, name="growth", stem="", config=config, seeds=planted, caps=Caps())
        run = runs.adopt(connection, owner="growth", lease_s=OWNER_LEASE_S)
    assert run is not None
    return run


class Measured:
    """The growth of one run, and what it came to at each mark."""

    def __init__(self, engine: Engine, run: Run, postmaster: psutil.Process, hands: psutil.Process) -> None:
        self._engine, self._run, self._postmaster, self._hands = engine, run, postmaster, hands
        self._driver = Driver(engine, run)
        self._never, self._longest_s, self._ticking_s, self._ticks = Event(), 0.0, 0.0, 0
        self._before, self._nodes = self._clock(), 0
        self.found: list[Checkpoint] = []

    def _clock(self) -> Clock:
        return gauge.clock(self._postmaster, self._hands)

    def grow(self, upto: int) -> None:
        """Ticks until there are so many nodes, or all trees are grown."""
        self._tick_until(lambda: self._driver.run.phase != "growing" or self._counted() >= upto)

    def harvest(self) -> Ended:
        """Ticks until the run is over."""
        self._longest_s, before = 0.0, self._clock()
        self._tick_until(lambda: self._driver.over)
        spent = self._clock().since(before)
        return Ended(
            wall_s=spent.wall_s,
            driver_s=spent.driver_s,
            longest_tick_ms=1000 * self._longest_s,
            written=gauge.written(self._engine, self._run),
        )

    def _tick_until(self, enough: Callable[[], bool]) -> None:
        """Ticks as an orchestrator does."""
        looked = 0.0
        while time.monotonic() - looked < LOOK_S or not enough():
            began = time.monotonic()
            looked = began if began - looked >= LOOK_S else looked
            moved, _ = self._driver.tick()
            took, self._ticks = time.monotonic() - began, self._ticks + moved
            self._longest_s, self._ticking_s = max(self._longest_s, took), self._ticking_s + took
            if self._driver.over:
                return
            if moved and not self._driver.is_eager:
                self._never.wait(GATHER_S)
            elif not moved:
                wait_for_results(self._engine, [self._run.id], self._never, known=self._driver.unready)

    def _counted(self) -> int:
        with self._engine.connect() as connection:
            return sum(views.node_counts(connection, self._run.id).values())

    def look(self) -> Checkpoint:
        spent, nodes = self._clock().since(self._before), self._counted()
        with self._engine.connect() as connection:
            sizes, indices = gauge.sizes(connection)
        median, late = gauge.claims_ms(self._engine, self._run)
        found = Checkpoint(
            nodes=nodes,
            new=nodes - self._nodes,
            spent=spent,
            ticking_s=self._ticking_s,
            ticks=self._ticks,
            driver_rss=psutil.Process().memory_info().rss,
            sizes=sizes,
            indices=indices,
            claim_p50_ms=median,
            claim_p95_ms=late,
            status_ms=gauge.status_ms(self._engine, self._run),
            scrape_ms=gauge.scrape_ms(self._engine),
            longest_tick_ms=1000 * self._longest_s,
        )
        self.found.append(found)
        self._before, self._nodes = self._clock(), nodes
        self._longest_s = self._ticking_s = 0.0
        self._ticks = 0
        return found


def measured(options: Namespace) -> tuple[list[Checkpoint], Ended]:
    with database() as (url, postmaster):
        engine = open_engine(url)
        migrate(engine)
        run = begun(engine, options)
        with hands(url) as process:
            growth = Measured(engine, run, postmaster, process)
            print(heading(), flush=True)
            for mark in [mark for mark in MARKS if mark < options.nodes] + [options.nodes]:
                growth.grow(mark)
                print(line(growth.look()), flush=True)
            ended = growth.harvest()
        engine.dispose()
    return growth.found, ended


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped whoever ends this
    garbage.collect_rarely()
    about = conditions()
    found, ended = measured(options)
    print(f"harvest: {ended}")
    held = gates(found, ended)
    if options.page:
        options.page.write_text(page(found, ended, held, about=about, at_once=options.trees_at_once))
    print(*held, sep="\n")
    return 0 if all(gate.holds for gate in held) else 1


if __name__ == "__main__":
    sys.exit(main())
