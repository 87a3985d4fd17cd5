"""What is measured at a checkpoint: processor time, memory, sizes, and how long the usual questions take."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Connection, Engine, text

from db import runs, tasks
from db.records import NewTask, Run, Spend
from orchestrator.export import rows_of
from orchestrator.metrics import Figures
from orchestrator.status import status_of
from orchestrator.story import report_of

_ASKED = 5
_CLAIMS = 60
_SIZES = text(
    "SELECT relname, pg_total_relation_size(oid), pg_relation_size(oid), pg_indexes_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Seconds: on the wall, and of the processor as the driver, the database and the hands have used it so far."""

    wall_s: float
    driver_s: float
    database_s: float
    hands_s: float

    def since(self, before: "Clock") -> "Clock":
        return Clock(
            wall_s=self.wall_s - before.wall_s,
            driver_s=self.driver_s - before.driver_s,
            database_s=self.database_s - before.database_s,
            hands_s=self.hands_s - before.hands_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What it had come to. Times are since the checkpoint before; bytes are of the whole database. `ticking_s`: on the
    wall, inside of ticks, of which so many moved something.
    """

    nodes: int
    new: int
    spent: Clock
    ticking_s: float
    ticks: int
    driver_rss: int
    sizes: Mapping[str, int]
    indices: Mapping[str, int]
    claim_p50_ms: float
    claim_p95_ms: float
    status_ms: float
    scrape_ms: float
    longest_tick_ms: float

    def each_ms(self, seconds: float) -> float:
        """Of a span, for one of the nodes that came in it."""
        return 1000 * seconds / self.new

    @property
    def cost_ms(self) -> float:
        """Processor time of orchestrator and database for a node: what may not grow."""
        return self.each_ms(self.spent.driver_s + self.spent.database_s)

    @property
    def cost_in_hands(self) -> float:
        """The same, in what the hands take meanwhile: their work for a node does not depend on how many there are."""
        return self.cost_ms / self.each_ms(self.spent.hands_s)

    @property
    def bytes_a_node(self) -> float:
        return sum(self.sizes.values()) / self.nodes


def clock(postmaster: psutil.Process, hands: psutil.Process) -> Clock:
    own = psutil.Process().cpu_times()
    of_hands = hands.cpu_times()
    return Clock(
        wall_s=time.monotonic(),
        driver_s=own.user + own.system,
        database_s=_of_family(postmaster),
        hands_s=of_hands.user + of_hands.system,
    )


def _of_family(parent: psutil.Process) -> float:
    """Of a process, its children that live and those that have ended."""
    own = parent.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in parent.children():
        try:
            spent = child.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it is in the times of its parent next time
        total += spent.user + spent.system
    return float(total)


def sizes(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by table, all that belongs to it, and of them its indices."""
    rows = connection.execute(_SIZES).all()
    return {row[0]: row[1] for row in rows}, {row[0]: row[3] for row in rows}


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def status_ms(engine: Engine, run: Run) -> float:
    def ask() -> None:
        with engine.connect() as connection:
            status_of(connection, runs.by_id(connection, run.id))

    return _median_ms(ask)


def scrape_ms(engine: Engine) -> float:
    """Of an orchestrator that has just started: it remembers nothing of an earlier scrape."""

    def ask() -> None:
        registry = CollectorRegistry()
        registry.register(Figures(engine, "redis://127.0.0.1:1/0"))
        generate_latest(registry)

    return _median_ms(ask)


def claims_ms(engine: Engine, run: Run) -> tuple[float, float]:
    """Median and 95th percentile of claims in the table as it is; nothing of them stays."""
    times = []
    with engine.connect() as connection:
        tree = connection.execute(text("SELECT min(id) FROM trees WHERE run_id = :run"), {"run": run.id}).scalar_one()
        new = [
            NewTask(tree_id=tree, key=f"gauge:{n}", kind="expand", payload={}, reserved=Spend()) for n in range(_CLAIMS)
        ]
        for task_id, _ in tasks.enqueue(connection, run.id, new):
            began = time.perf_counter()
            assert tasks.claim(connection, task_id, worker="gauge", lease_s=30.0, max_attempts=5) is not None
            times.append(1000 * (time.perf_counter() - began))
        connection.rollback()
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What `run` writes at its end: the data set's rows and the report, in seconds; the report's room, in MB."""

    examples: int
    rows_s: float
    report_s: float
    report_mb: float
    page_mb: float


def written(engine: Engine, run: Run) -> Written:
    with engine.connect() as connection:
        began = time.monotonic()
        rows = rows_of(connection, run)
        read, before = time.monotonic(), psutil.Process().memory_info().rss
        page = report_of(connection, run)
        return Written(
            examples=len(rows),
            rows_s=read - began,
            report_s=time.monotonic() - read,
            report_mb=(psutil.Process().memory_info().rss - before) / 1e6,
            page_mb=len(page.encode()) / 1e6,
        )
