"""RabbitMQ in the place of Valkey for the hints: a real one, where it is installed, killed and wiped."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db import guard, workers
from db.errors import ConfigError, ServiceError
from db.workers import Identity
from orchestrator import hints
from orchestrator.hints import Hints
from tests.e2e.house import scripted, until
from tests.integration.test_hints import LEASED, count, environment, most_at_once, registered, told, waiting_tasks
from tests.rabbitmq import PASSWORD, Rabbit

RESPOND = "respond"


@contextmanager
def rabbit(**settings: int) -> Iterator[Rabbit]:
    with tempfile.TemporaryDirectory(prefix="instructree-rabbit-") as folder:
        server = Rabbit(Path(folder), **settings)
        try:
            yield server
        finally:
            server.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Rabbit]:
    with rabbit() as server:
        yield server


@pytest.fixture
def sender(server: Rabbit, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hints]:
    monkeypatch.setattr(hints, "AWAY_S", 0.2)
    with server.line() as channel:
        channel.queue_declare(RESPOND, durable=True, auto_delete=False)
        channel.queue_purge(RESPOND)
    sender = Hints(server.url)
    yield sender
    sender.close()


def arrived(server: Rabbit, queue: str, count: int) -> int:
    """How many are there, once there are so many: nobody waits for a RabbitMQ to confirm a hint."""
    until(lambda: server.queued(queue)[0] >= count, f"{count} hints in {queue}")
    return server.queued(queue)[0]


def test_a_batch_reaches_its_queues_one_message_a_task(server: Rabbit, sender: Hints) -> None:
    sender.send([(number, RESPOND) for number in range(1, 1201)])
    assert arrived(server, RESPOND, 1200) == 1200
    sender.send([(1, "evaluate")])  # a queue that no worker has made yet
    assert arrived(server, "evaluate", 1) == 1


def test_hints_for_a_rabbitmq_that_was_killed_are_sent_when_it_is_back(server: Rabbit, sender: Hints) -> None:
    sender.send([(1, RESPOND)])
    server.kill()
    began = time.monotonic()
    sender.send([(2, RESPOND)])
    sender.send([(3, RESPOND)])
    assert time.monotonic() - began < 2 * (hints.CONNECT_S + hints.ANSWER_S)
    assert not sender.lost()
    server.start()
    time.sleep(0.3)
    sender.send([])
    assert arrived(server, RESPOND, 2) in (2, 3)  # the first may not have reached its disk: the sweep hints it again


def test_a_wiped_rabbitmq_is_noticed_once(server: Rabbit, sender: Hints) -> None:
    assert not sender.lost()
    assert not sender.lost()
    with server.line() as channel:
        for queue in (RESPOND, sender._mark):
            channel.queue_delete(queue)
    assert sender.lost()
    assert not sender.lost()


def test_a_worker_that_hears_another_rabbitmq_than_the_orchestrator_is_refused(
    engine: Engine, server: Rabbit, sender: Hints
) -> None:
    assert not sender.lost()  # its mark is there now
    mind = Identity.of_this_process((workers.ORCHESTRATOR,), 0)
    with engine.begin() as connection:
        workers.register(connection, mind)
        workers.beat(connection, mind.id, busy=0, tasks_done=0, mark=sender.mark)
    guard.check_ears(engine, server.url, patience_s=0)
    with engine.begin() as connection:
        workers.beat(connection, mind.id, busy=0, tasks_done=0, mark="instructree:mark:of-another")
    with pytest.raises(ServiceError, match="point INSTRUCTREE_BROKER_URL of both to the same server"):
        guard.check_ears(engine, server.url, patience_s=0)


def test_the_guard_says_what_it_found_and_refuses_what_is_wrong(server: Rabbit) -> None:
    assert guard.check_broker(server.url, {}).said.startswith("RabbitMQ 3") or "RabbitMQ 4" in (
        guard.check_broker(server.url, {}).said
    )
    with pytest.raises(ServiceError, match="INSTRUCTREE_BROKER_URL") as refused:
        guard.check_broker(server.url.replace(PASSWORD, "wrong-one"), {})
    assert "refuses our password" in str(refused.value) and "wrong-one" not in str(refused.value)
    with pytest.raises(ServiceError, match="no virtual host 'elsewhere'"):
        guard.check_broker(server.url.replace("/instructree", "/elsewhere"), {})
    with pytest.raises(ConfigError, match="CELERY_BROKER_URL"):
        guard.check_broker(server.url, {"CELERY_BROKER_URL": "amqp://elsewhere"}, "redis://here/0")


@pytest.mark.slow
def test_a_task_that_takes_longer_than_rabbitmq_waits_for_is_done_once_and_ends_no_worker(
    engine: Engine, redis_url: str, tmp_path: Path
) -> None:
    """By default half an hour: Celery would end the worker when its channel is closed (celery#6760)."""
    with (
        rabbit(consumer_timeout=2000, channel_tick_interval=1000) as hasty,
        scripted("k", "--latency", "8000", "--latency-fixed") as endpoint,
    ):
        env = environment(engine, redis_url, INSTRUCTREE_BROKER_URL=hasty.url, **endpoint.env)
        ready = waiting_tasks(engine, 2)
        sender = Hints(hasty.url)
        sender.send(ready)
        sender.close()
        argv = [sys.executable, "-m", "orchestrator.cli", "worker", "--slots", "2"]
        with (tmp_path / "worker.log").open("wb") as log, subprocess.Popen(argv, env=env, stderr=log) as worker:
            try:
                until(lambda: count(engine, "state = 'done'") == len(ready), "both are done", patience_s=90)
                until(lambda: hasty.queued(RESPOND) == (0, 1), "it listens again, and nothing is left")
                assert worker.poll() is None
            finally:
                worker.kill()
        assert "connection already closed" in (tmp_path / "worker.log").read_text()
        assert count(engine, "attempts > 1") == 0


@pytest.mark.slow
def test_slots_of_a_worker_that_hears_a_rabbitmq_change_while_it_works(
    engine: Engine, redis_url: str, server: Rabbit, sender: Hints
) -> None:
    sender.send(waiting_tasks(engine, 120))
    with scripted("k", "--latency", "500", "--latency-fixed") as endpoint:
        env = environment(engine, redis_url, INSTRUCTREE_BROKER_URL=server.url, **endpoint.env)
        argv = [sys.executable, "-m", "orchestrator.cli", "worker", "--slots", "2"]
        with subprocess.Popen(argv, env=env) as worker:
            try:
                until(lambda: count(engine, LEASED) == 2, "it is at work", every_s=0.05)
                assert most_at_once(engine, 1.5) == 2
                told(engine, 9)
                until(lambda: count(engine, LEASED) == 9, "the new slots are used", patience_s=20, every_s=0.05)
                told(engine, 3)
                until(lambda: registered(engine)[0] == 3, "the worker has heard of it", patience_s=20)
                time.sleep(1.5)  # what it had in hand then has ended
                assert most_at_once(engine, 2.0) == 3
                told(engine, 60)
                until(lambda: count(engine, "state = 'done'") == 120, "all tasks are done", patience_s=60)
            finally:
                worker.kill()
    assert count(engine, "attempts = 1") == 120
