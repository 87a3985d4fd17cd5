"""Processes that come and go: killed, interrupted, paused, added from elsewhere. No work is lost, none done twice."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import House, Model, Running, at_once, rows, scripted, until, write_seeds

# Deep trees over a slow model, so that there is something to interrupt.
LONG = ("--set", "search.stop_reward=40", "--set", "harvest.size=10")
# All that is in hand is finished, however long the line before the endpoint is.
PATIENT = {"INSTRUCTREE_GRACE_S": "60"}
STEERING = ("pause", "resume", "cancel")
LEASED = "SELECT worker FROM tasks WHERE state = 'leased' AND worker IS NOT NULL"
OF_RUN = "FROM calls c JOIN runs r ON r.id = c.run_id WHERE r.name = :run"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slow_model() -> Iterator[Model]:
    with scripted("slow", "--latency", "250") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def slow(house: House, slow_model: Model) -> House:
    """The house, up, with a model that takes its time."""
    slow = house.at(slow_model.env)
    assert slow.cli("up").code == 0
    return slow


@pytest.fixture
def seeds(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return write_seeds(tmp_path / "seeds.jsonl", 5, request.node.name.replace("_", " "))


def started(house: House, seeds: Path, name: str, running: Running, calls: int = 12) -> None:
    """Waits until the run is well under way."""
    asked = f"SELECT count(*) {OF_RUN}"
    until(lambda: house.number(asked, run=name) >= calls, f"{calls} calls of {name}")
    assert running.process.poll() is None, running.err.read_text()


def command(seeds: Path, name: str, *, iterations: int = 2) -> tuple[object, ...]:
    more = ("--set", f"search.iterations={iterations}")
    return "run", seeds, "--name", name, "--out", seeds.parent / name, *LONG, *more


def test_a_killed_worker_loses_nothing_and_no_call_is_paid_twice(slow: House, slow_model: Model, seeds: Path) -> None:
    before = slow_model.stats()
    with slow.running(*command(seeds, "killed"), folder=seeds.parent) as running:
        started(slow, seeds, "killed", running)
        victim = until(lambda: [row.worker for row in slow.sql(LEASED)], "a worker has something in hand", every_s=0.05)
        os.kill(int(victim[0].split(":")[1]), signal.SIGKILL)
        done = running.ended()
    assert done.code == 0, done.err
    assert slow.verified("killed")
    found, after = slow.status("killed"), slow_model.stats()
    assert found["trees_done"] == 5 and found["failed_tasks"] == {} and "task-failed" not in found["failures"]
    assert victim[0] not in [worker["id"] for worker in found["workers"]]
    assert len(rows(seeds.parent / "killed" / "dataset.jsonl")) == found["examples"] == 10
    # What was under way may have been answered to nobody: one task for each tree, five calls for each task.
    lost = after["paid_total"] - before["paid_total"] - found["calls"]
    assert 0 <= lost <= 5 * found["seeds"]
    assert after["repaid"] - before["repaid"] <= lost
    assert slow.cli("up").code == 0  # the next command puts another in its place
    workers = until(
        lambda: len(slow.status("killed")["workers"]) == 2 and slow.status("killed")["workers"], "two again"
    )
    assert victim[0] not in [worker["id"] for worker in workers]


def test_a_run_starts_again_what_dies_on_its_machine(slow: House, seeds: Path) -> None:
    with slow.running(*command(seeds, "alone"), folder=seeds.parent) as running:
        started(slow, seeds, "alone", running)
        there = slow.processes()
        for name in ("orchestrator", "worker-1", "worker-2", "valkey"):
            for pid in there[name]:
                os.kill(pid, signal.SIGKILL)
        done = running.ended()
    assert done.code == 0, done.err
    for name in ("orchestrator", "worker-1", "worker-2", "valkey"):
        assert name in next(line for line in done.err.splitlines() if "died: starting" in line)
    assert slow.verified("alone")


def test_ctrl_c_pauses_the_run_and_the_same_command_completes_it(slow: House, slow_model: Model, seeds: Path) -> None:
    with slow.running(*command(seeds, "stopped"), folder=seeds.parent) as running:
        started(slow, seeds, "stopped", running)
        running.interrupt()
        done = running.ended(20)
    assert done.code == 130
    assert "interrupted; go on with: instructree run" in done.err and "--name stopped" in done.err
    assert "Traceback" not in done.err
    assert not (seeds.parent / "stopped").exists()
    assert slow.processes().keys() == {"orchestrator", "worker-1", "worker-2", "postgres", "valkey", "command"}
    assert {name: len(pids) for name, pids in slow.processes().items() if name.startswith("worker")} == {
        "worker-1": 1,
        "worker-2": 1,
    }
    found = slow.status("stopped")
    assert found["status"] == "paused" and found["reason"] == "interrupted"
    assert_quiet(slow_model)
    assert slow.verified("stopped")
    again = slow.cli(*command(seeds, "stopped"))
    assert again.code == 0 and "continuing run stopped" in again.err
    assert slow.status("stopped")["calls"] > found["calls"]
    assert slow.verified("stopped")
    assert len(rows(seeds.parent / "stopped" / "dataset.jsonl")) == 10


def assert_quiet(model: Model) -> None:
    """Calls in flight are finished; then nothing more is asked."""
    until(lambda: model.stats()["in_flight"] == 0, "calls in flight have ended", patience_s=10)
    time.sleep(0.5)  # time enough for a task that follows to begin
    until(lambda: model.stats()["in_flight"] == 0, "calls in flight have ended", patience_s=10)
    paid = model.paid
    time.sleep(1)
    assert model.paid == paid


def test_pause_and_resume_take_effect_on_whoever_works(slow: House, slow_model: Model, seeds: Path) -> None:
    with slow.running(*command(seeds, "paused"), folder=seeds.parent) as running:
        started(slow, seeds, "paused", running)
        paused = slow.cli("pause", "paused")
        assert (paused.code, paused.err) == (0, "run paused is paused\n")
        done = running.ended(20)
    assert done.code == 130 and "go on with: instructree resume paused" in done.err
    assert_quiet(slow_model)
    assert slow.status("paused")["status"] == "paused" and slow.verified("paused")
    assert slow.cli("resume", "paused").code == 0
    ended = "SELECT status = 'done' FROM runs WHERE name = 'paused'"
    until(lambda: slow.number(ended), "the resumed run has ended")
    assert slow.verified("paused")
    assert slow.cli("export", "paused", "--out", seeds.parent / "late.jsonl").code == 0
    assert len(rows(seeds.parent / "late.jsonl")) == 10


def test_cancel_ends_a_run_for_good_and_keeps_what_has_grown(slow: House, slow_model: Model, seeds: Path) -> None:
    with slow.running(*command(seeds, "cancelled"), folder=seeds.parent) as running:
        started(slow, seeds, "cancelled", running)
        assert slow.cli("cancel", "cancelled").code == 0
        done = running.ended(20)
    assert done.code == 2 and "cancelled was cancelled" in done.complaint
    assert not (seeds.parent / "cancelled").exists()
    assert_quiet(slow_model)
    found = slow.status("cancelled")
    assert found["status"] == "cancelled" and found["nodes"] > 5
    assert slow.verified("cancelled")
    for refused in at_once({again: partial(slow.cli, again, "cancelled") for again in STEERING}).values():
        assert refused.code == 2 and "has ended (cancelled)" in refused.complaint
    late = slow.cli(*command(seeds, "cancelled"))
    assert late.code == 2 and "choose another --name" in late.complaint


def test_workers_from_elsewhere_take_tasks_and_leave_in_order(
    slow: House, slow_model: Model, seeds: Path, tmp_path: Path
) -> None:
    """They know where database, broker and model are, and nothing else."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    guest = visitor(slow, tmp_path, slow_model.env)
    write_seeds(seeds, 40, "guests")
    wide = ("--set", "trees_at_once=40", "--set", "search.iterations=1", "--set", "search.children=2")
    with ExitStack() as started_here:
        guests = [started_here.enter_context(guest.running("worker", folder=elsewhere)) for _ in range(2)]
        pids = {worker.process.pid for worker in guests}
        until(lambda: pids <= registered(slow), "both are in the register")
        assert guest.cli("worker", "--health").code == 0
        assert guest.cli("orchestrator", "--health").code == 0
        assert slow.run(seeds, "guests", "--no-responses", *wide).code == 0
        until(lambda: len(busy(slow, pids)) == 2, "both have said what they did", patience_s=15, every_s=1)
        assert slow.verified("guests")
        for worker in guests:
            worker.process.send_signal(signal.SIGTERM)
        assert [worker.ended(30).code for worker in guests] == [0, 0]
    assert not pids & registered(slow)
    assert not pids & {w["pid"] for w in slow.status("guests")["workers"]}
    assert not guest.home.exists()


def visitor(house: House, folder: Path, env: Mapping[str, str]) -> House:
    """Another machine, which knows where database and broker of this house are, and what is in `env`."""
    stack = house.stack()
    places = {"INSTRUCTREE_DATABASE_URL": stack.database_url or "", "INSTRUCTREE_REDIS_URL": stack.redis_url or ""}
    return House(home=folder / "unused", system=folder, env={**env, **places}, said=house.said)


def test_a_worker_without_the_endpoint_spoils_no_task_and_says_what_it_lacks(
    slow: House, seeds: Path, tmp_path: Path
) -> None:
    with visitor(slow, tmp_path, {}).running("worker", folder=tmp_path) as stranger:
        until(lambda: stranger.process.pid in registered(slow), "it is in the register")
        assert slow.run(seeds, "stranger", "--no-responses", "--set", "search.iterations=2").code == 0
        gone = stranger.ended(40)
    assert (gone.code, "instructree: no model endpoint: set OPENAI_BASE_URL" in gone.err) == (2, True), gone.err
    found = slow.status("stranger")
    assert (found["failed_tasks"], found["failures"].get("task_failed")) == ({}, None)
    assert "no model endpoint" in found["refused"][0]["reason"]
    assert slow.verified("stranger")


def test_a_run_that_is_changed_while_it_is_on_goes_by_what_was_said_last(
    house: House, seeds: Path, tmp_path: Path
) -> None:
    """More and fewer calls at a time, a worker more and one fewer, a cap, a pause: the endpoint sees it, laws hold."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_seeds(seeds, 40, "changes")
    room = "endpoints.default.concurrency"
    with scripted("changed", "--latency-fixed", "--latency", "600") as endpoint, ExitStack() as started_here:
        here = house.at(endpoint.env)
        assert here.cli("up").code == 0
        wide = ("--set", "trees_at_once=40", "--set", f"{room}=3", "--max-calls", "20000")
        run = started_here.enter_context(
            here.running(*command(seeds, "changed", iterations=4), *wide, folder=seeds.parent)
        )
        started(here, seeds, "changed", run)
        assert most_at_once(endpoint, 3) == 3
        assert here.cli("change", "changed", "--set", f"{room}=12", "--max-calls", "30000").code == 0
        until(lambda: most_at_once(endpoint, 1) == 12, "the new limit is used", patience_s=25)

        guest = visitor(here, tmp_path, {**endpoint.env, **PATIENT})
        worker = started_here.enter_context(guest.running("worker", "--slots", "4", folder=elsewhere))
        mine = until(lambda: of_pid(here, worker.process.pid), "it is in the register")["id"]
        assert here.cli("workers", mine, "--slots", "9").code == 0
        until(lambda: of_pid(here, worker.process.pid)["slots"] == 9, "it has more slots", patience_s=20, every_s=1)
        until(lambda: of_pid(here, worker.process.pid)["tasks_done"] > 0, "it works", patience_s=30, every_s=1)

        worker.process.send_signal(signal.SIGTERM)
        assert worker.ended(70).code == 0
        assert not of_pid(here, worker.process.pid)

        assert here.cli("change", "changed", "--set", f"{room}=2").code == 0
        until(lambda: most_at_once(endpoint, 1.5) <= 2, "the lower limit holds", patience_s=25)
        assert here.cli("pause", "changed").code == 0
        assert run.ended(20).code == 130
        assert_quiet(endpoint)
        refused = here.cli("change", "changed", "--max-calls", "10")
        assert refused.code == 2 and "--max-calls 10: run changed has already used or reserved" in refused.complaint
        assert here.cli("change", "changed", "--set", f"{room}=64", "--max-calls", "none").code == 0
        assert "nothing changed" in here.cli("change", "changed", "--set", f"{room}=64").err
        assert here.cli("resume", "changed").code == 0
        until(lambda: here.number("SELECT status = 'done' FROM runs WHERE name = 'changed'"), "it ends", patience_s=120)
        assert here.verified("changed")
        found, report = here.status("changed"), here.cli("status", "changed")
        assert [(one["what"], one["from"], one["to"]) for one in found["changes"]] == [
            ("max_calls", 20_000, 30_000),
            (room, 3, 12),
            (room, 12, 2),
            ("max_calls", 30_000, None),
            (room, 2, 64),
        ]
        assert found["endpoints"]["default"]["concurrency"] == 64 and found["caps"]["calls"] is None
        assert f"{room} 2 -> 64" in report.out
        assert found["failed_tasks"] == {} and found["trees_done"] == 40
        late = here.cli("change", "changed", "--max-calls", "90000")
        assert late.code == 2 and "run 'changed' has ended (done)" in late.complaint


def most_at_once(model: Model, seconds: float) -> int:
    deadline, most = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        most = max(most, int(model.stats()["in_flight"]))
        time.sleep(0.02)
    return most


def of_pid(house: House, pid: int) -> dict[str, Any]:
    """The living worker of this process, as the register has it; empty without one."""
    done = house.cli("workers", "--json")
    assert (done.code, done.err) == (0, "")
    return next((one for one in json.loads(done.out)["workers"] if one["pid"] == pid), {})


def test_a_worker_that_cannot_end_in_time_gives_its_tasks_back(house: House, seeds: Path, tmp_path: Path) -> None:
    """Nobody waits for its leases, which would take half a minute."""
    with scripted("slower", "--latency-fixed", "--latency", "6000") as endpoint:
        slower = house.at(endpoint.env)
        assert slower.cli("up").code == 0
        with slower.running(*command(seeds, "hurried", iterations=1), folder=seeds.parent):
            leases = "SELECT worker, id FROM tasks WHERE state = 'leased' AND worker IS NOT NULL"
            victim = until(lambda: slower.sql(leases), "a worker has something in hand")[0].worker
            theirs = {row.id for row in slower.sql(leases) if row.worker == victim}
            os.kill(int(victim.split(":")[1]), signal.SIGTERM)
            given_back = "SELECT count(*) FROM tasks WHERE id = ANY (:ids) AND worker = :worker AND state = 'leased'"
            held = partial(slower.number, given_back, ids=list(theirs), worker=victim)
            until(lambda: held() == 0, "its tasks are free again, or done", patience_s=20)
            here = "SELECT count(*) FROM workers WHERE id = :id AND left_at IS NULL"
            until(lambda: slower.number(here, id=victim) == 0, "it has left", patience_s=20)
            assert slower.cli("cancel", "hurried").code == 0


def test_a_run_whose_endpoint_is_down_waits_says_so_and_goes_on(house: House, seeds: Path, tmp_path: Path) -> None:
    options = ("--latency", "150", "--journal", str(tmp_path / "journal"))
    with ExitStack() as running_here:
        with scripted("shaky", *options) as endpoint:
            shaky = house.at(endpoint.env)
            assert shaky.cli("up").code == 0
            running = running_here.enter_context(shaky.running(*command(seeds, "shaky"), folder=seeds.parent))
            started(shaky, seeds, "shaky", running)
        waiting = until(lambda: shaky.status("shaky")["waiting"], "the run says that it waits", every_s=1)
        assert "endpoint 'default'" in waiting["cause"]
        time.sleep(10)  # long enough for every task to have been tried several times
        with scripted("shaky", *options, "--port", endpoint.base_url.split(":")[2].removesuffix("/v1")) as again:
            done = running.ended()
            stats = again.stats()
    assert done.code == 0, done.err
    assert "tasks wait: endpoint 'default'" in done.err
    found = shaky.status("shaky")
    assert found["failed_tasks"] == {} and "task_failed" not in found["failures"]
    assert stats["paid_total"] >= found["calls"]
    assert shaky.verified("shaky")


def registered(house: House) -> set[int]:
    return {row.pid for row in house.sql("SELECT pid FROM workers WHERE left_at IS NULL")}


def busy(house: House, pids: set[int]) -> list[int]:
    return [w["pid"] for w in house.status("guests")["workers"] if w["pid"] in pids and w["tasks_done"] > 0]
