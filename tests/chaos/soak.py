"""A soak: steady load for some minutes; memory of each process, dead rows, and the time of a claim, early and late."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from db import tasks
from db.records import NewTask, Spend
from tests.chaos.audit import complain
from tests.chaos.jobs import GREEDY, PRICES, shape
from tests.chaos.programs import Part
from tests.chaos.site import Layout
from tests.chaos.stage import Stage, staged

# Shares of the time: what comes before is warm-up, the two windows are compared.
_EARLY, _LATE = (0.25, 0.45), (0.8, 1.0)
_CLAIM_EVERY_S, _LOOK_EVERY_S = 0.2, 2.0
_GROWTH, _SLOWER = 0.10, 0.20
# Of the dead rows of a queue table: a fifth of the living, and ten thousand (queue-and-database.md, 7.1).
_DEAD_SHARE, _DEAD = 0.2, 10_000
_DEAD_ROWS = "SELECT relname, n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE relname IN ('tasks', 'attempts')"
_SOME_TREE = "SELECT r.id, t.id AS tree FROM runs r JOIN trees t ON t.run_id = r.id WHERE r.status = 'running' LIMIT 1"
_SEEDS_A_MINUTE = 96


@dataclass(slots=True, kw_only=True)
class Samples:
    """Series of (seconds from the beginning, value) by name: bytes, seconds, rows beyond what is allowed."""

    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, name: str, at_s: float, value: float) -> None:
        self.series.setdefault(name, []).append((at_s, value))

    def window(self, name: str, part: tuple[float, float], total_s: float) -> list[float]:
        return [value for at_s, value in self.series[name] if part[0] * total_s <= at_s <= part[1] * total_s]

    def slope(self, name: str, since_s: float) -> float:
        """By least squares, an hour."""
        points = [(at_s, value) for at_s, value in self.series[name] if at_s >= since_s]
        return statistics.linear_regression(*zip(*points, strict=True)).slope * 3600


def soak(folder: Path, *, minutes: float, seed: int) -> bool:
    layout = Layout(orchestrators=1, workers=2, slots=8, faults=("--latency", "400"))
    work = shape(iterations=2, children=4, trees=8, harvest=1000, timeout_s=30)
    width = max(48, round(_SEEDS_A_MINUTE * minutes))
    with staged(folder, layout, seed, width=width, options=(*work, *GREEDY, *PRICES), good=(0, 2)) as stage:
        stage.at_once = 1
        stage.keep_busy()
        stage.until_spent(stage.jobs.all[0], 1)
        samples = _sampled(stage, minutes * 60)
        paid = stage.stats()["paid_total"]
        for job in stage.jobs.open:
            stage.site.house.cli("cancel", job.name)
        verdict = stage.conclude(ends=("done", "cancelled"))
        stage.say(f"{paid} calls, {paid / minutes / 60:.1f}/s, {len(stage.jobs.all)} runs")
        complain(verdict)
        held = _judge(samples, minutes * 60)
        return held and not verdict.faults


def _sampled(stage: Stage, total_s: float) -> Samples:
    samples, begun, looked = Samples(), time.monotonic(), 0.0
    number = 0
    while (at_s := time.monotonic() - begun) < total_s:
        stage.look()
        stage.keep_busy()
        number += 1
        seconds = _claim_s(stage.site.engine, number)
        if seconds is not None:
            samples.add("claim", at_s, seconds)
        if at_s - looked >= _LOOK_EVERY_S:
            looked = at_s
            _look(stage, samples, at_s)
        time.sleep(_CLAIM_EVERY_S)
    return samples


def _look(stage: Stage, samples: Samples, at_s: float) -> None:
    for program in stage.site.programs:
        if program.part in (Part.WORKER, Part.ORCHESTRATOR) and program.alive:
            samples.add(f"rss {program.name}", at_s, psutil.Process(program.pid).memory_info().rss)
    with stage.site.engine.connect() as connection:
        for row in connection.execute(text(_DEAD_ROWS)):
            samples.add(f"dead {row.relname}", at_s, row.n_dead_tup)
            samples.add(f"live {row.relname}", at_s, row.n_live_tup)


def _claim_s(engine: Engine, number: int) -> float | None:
    """How long a claim takes in the table as it is; nothing of it stays. None when no run is going on."""
    with engine.connect() as connection:
        query = (
            "SELECT r.id, t.id AS tree FROM runs r JOIN trees t ON t.run_id = r.id WHERE r.status = 'running' LIMIT 1"
        )
        run = connection.execute(text(query)).one_or_none()
        if run is None:
            return None
        task = NewTask(
            tree_id=run.tree, key=f"soak:{number}", kind="expand", payload={}, reserved=Spend(), deadline_s=60.0
        )
        ((task_id, _),) = tasks.enqueue(connection, run.id, [task])
        begun = time.perf_counter()
        lease = tasks.claim(connection, task_id, worker="soak", lease_s=30.0, max_attempts=5)
        taken_s = time.perf_counter() - begun
        connection.rollback()
        assert lease is not None
        return taken_s


def _judge(samples: Samples, total_s: float) -> bool:
    held = [_judge_memory(samples, name, total_s) for name in samples.series if name.startswith("rss ")]
    held += [_judge_dead(samples, table) for table in ("tasks", "attempts")]
    held.append(_judge_claims(samples, total_s))
    return all(held)


def _gate(name: str, value: float, limit: float, unit: str = "") -> bool:
    ok = value <= limit
    print(f"gate {name} {value:.4g}{unit} {limit:.4g}{unit} {'ok' if ok else 'short'}", flush=True)
    return ok


def _judge_memory(samples: Samples, name: str, total_s: float) -> bool:
    early, late = (statistics.mean(samples.window(name, part, total_s)) for part in (_EARLY, _LATE))
    slope = samples.slope(name, _EARLY[0] * total_s)
    print(f"{name}: {early / 1e6:.1f} MB early, {late / 1e6:.1f} MB late, {slope / 1e6:+.1f} MB/h")
    return _gate(f"{name.replace(' ', '_')}_growth", late / early - 1, _GROWTH)


def _judge_dead(samples: Samples, table: str) -> bool:
    dead = [value for _, value in samples.series[f"dead {table}"]]
    live = [value for _, value in samples.series[f"live {table}"]]
    return _gate(f"dead_rows_{table}", max(dead), _DEAD_SHARE * statistics.mean(live) + _DEAD)


def _judge_claims(samples: Samples, total_s: float) -> bool:
    early, late = (samples.window("claim", part, total_s) for part in (_EARLY, _LATE))
    before, after = p95(early), p95(late)
    print(
        f"claim: p95 {before * 1e3:.2f} ms early, {after * 1e3:.2f} ms late; "
        f"median {statistics.median(early) * 1e3:.2f} and {statistics.median(late) * 1e3:.2f} ms, of {len(early)} and "
        f"{len(late)}"
    )
    return _gate("claim_p95_growth", after / before - 1, _SLOWER)


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
