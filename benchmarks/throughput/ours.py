"""A product run in one cell: `instructree run`, an orchestrator and workers as processes, a real ledger."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.throughput.figures import OURS, Cell, Measured
from benchmarks.throughput.processes import Family, cpu_s, resident, tree_of
from benchmarks.throughput.site import CLI, Endpoint, Failed, Site, open_endpoint, until
from benchmarks.throughput.texts import write_seeds

WORKER, ORCHESTRATOR, COMMAND = "worker", "orchestrator", "command"
# Trees have about one task under way each: twice as many as there are slots keep all of them busy.
_TREES_A_SLOT = 2
# The scripted judge soon finds a tree good enough: it takes nine calls, rarely more.
_CALLS_A_TREE = 8
_CALLS = text("SELECT count(*) FROM calls WHERE run_id = (SELECT id FROM runs WHERE name = :name)")
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds: until the load is steady, and of the measurement."""

    warm_s: float
    measured_s: float


def measure(site: Site, cell: Cell, times: Times, name: str) -> Measured:
    """Begins a run that does not end within the time, and counts what its ledger holds meanwhile.

    Raises:
        Failed: a part of it did not come up, died, or had no more work.
    """
    folder = site.folder / name
    folder.mkdir()
    with Family(folder) as family:
        endpoint = open_endpoint(family, cell.latency_s)
        env = site.environment({"OPENAI_BASE_URL": endpoint.base_url, "OPENAI_API_KEY": "none"})
        family.start(ORCHESTRATOR, (*CLI, "orchestrator"), env)
        for _ in range(cell.workers):
            family.start(WORKER, (*CLI, "worker", "--slots", str(cell.slots)), env)
        family.start(COMMAND, _command(folder, cell, times, name), env)
        until(lambda: _begun(site, family, name), "the first call", _PATIENCE_S)
        time.sleep(times.warm_s)
        found = _watched(site, family, cell, times.measured_s, name)
        unrecorded = _unrecorded(site, family, endpoint, env, name)
    return Measured(system=OURS, cell=cell, unrecorded=unrecorded, **found)


def _command(folder: Path, cell: Cell, times: Times, name: str) -> tuple[str, ...]:
    """The run, with more trees than can be grown in the time at the cell's ideal pace."""
    trees = _TREES_A_SLOT * cell.at_once
    expected = min(cell.ideal, 1500.0) * (times.warm_s + times.measured_s + 10)
    seeds = write_seeds(folder / "seeds.jsonl", trees + round(expected / _CALLS_A_TREE), name)
    options = {"endpoints.default.concurrency": cell.at_once, "trees_at_once": trees}
    chosen = [word for option, value in options.items() for word in ("--set", f"{option}={value}")]
    return (*CLI, "run", str(seeds), "--name", name, "--out", str(folder / "out"), "--max-calls", "10000000", *chosen)


def _calls(site: Site, name: str) -> int | None:
    """Rows of the run's ledger; None where there is none yet."""
    with site.engine.connect() as connection:
        return int(connection.execute(_CALLS, {"name": name}).scalar_one()) or None


def _begun(site: Site, family: Family, name: str) -> int | None:
    _check(family)
    return _calls(site, name)


def _check(family: Family) -> None:
    """Raises Failed when something that should go on has ended."""
    for program in family.programs:
        if not program.alive:
            raise Failed(f"{program.kind} has ended ({program.process.returncode}): {program.said()}")


def _watched(site: Site, family: Family, cell: Cell, seconds: float, name: str) -> dict[str, Any]:
    before, calls, begun = _cpu(site, family), _calls(site, name) or 0, time.monotonic()
    most = 0
    while (left_s := begun + seconds - time.monotonic()) > 0:
        time.sleep(min(left_s, 2.0))
        most = max(most, resident(program.process.pid for program in family.of(WORKER)))
    after, ended, now = _cpu(site, family), _calls(site, name) or 0, time.monotonic()
    _check(family)
    return {
        "seconds": now - begun,
        "calls": ended - calls,
        "cpu_s": {kind: after[kind] - before.get(kind, 0.0) for kind in after},
        "worker_bytes": most,
    }


def _cpu(site: Site, family: Family) -> dict[str, float]:
    """Processor seconds so far by kind of process."""
    found = site.server_cpu_s()
    for program in family.programs:
        found[program.kind] = found.get(program.kind, 0.0) + cpu_s(tree_of(program.process.pid))
    return found


def _unrecorded(site: Site, family: Family, endpoint: Endpoint, env: dict[str, str], name: str) -> int:
    """Pauses the run, waits for what is on its way, and says how many answers of the endpoint its ledger lacks."""
    paused = family.start("pause", (*CLI, "pause", name), env)
    until(lambda: paused.process.poll(), "the run is paused", _PATIENCE_S)
    until(lambda: endpoint.count()[1] == 0 or None, "the endpoint has answered all", _PATIENCE_S)
    time.sleep(1.0)  # the last group commit
    return endpoint.count()[0] - (_calls(site, name) or 0)
