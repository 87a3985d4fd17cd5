"""A whole run whose hints go through a RabbitMQ, which is killed and filled with rubbish on the way."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import amqp
import pytest

from tests.e2e.house import House, rows, scripted, until, write_seeds
from tests.rabbitmq import Rabbit

CALLS = "SELECT count(*) FROM calls c JOIN runs r ON r.id = c.run_id WHERE r.name = 'rabbit'"
# Bodies and headers that no task has.
RUBBISH: tuple[tuple[str, dict[str, str]], ...] = (
    ("garbage", {}),
    ("{}", {"task": "expand"}),
    ("[[]]", {"task": "expand", "id": "i", "lang": "py"}),
    ("", {}),
)

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Rabbit]:
    with tempfile.TemporaryDirectory(prefix="instructree-rabbit-") as folder:
        server = Rabbit(Path(folder))
        try:
            yield server
        finally:
            server.close()


def put(server: Rabbit, body: str, headers: dict[str, str]) -> None:
    with server.line() as channel:
        message = amqp.Message(body, application_headers=headers, content_type="application/json")
        channel.basic_publish(message, routing_key="expand")


def test_a_run_goes_on_through_a_rabbitmq_that_is_killed_and_filled_with_rubbish(
    house: House, server: Rabbit, tmp_path: Path
) -> None:
    with scripted("slow", "--latency", "250") as endpoint:
        ours = house.at({**endpoint.env, "INSTRUCTREE_BROKER_URL": server.url})
        assert ours.cli("up").code == 0
        assert "RabbitMQ" in ours.cli("doctor").out
        until(lambda: server.queued("expand")[1] == 2, "both workers listen")
        seeds = write_seeds(tmp_path / "seeds.jsonl", 5, "rabbits")
        shape = ("--set", "search.stop_reward=40", "--set", "search.iterations=2", "--set", "harvest.size=10")
        command = ("run", seeds, "--name", "rabbit", "--out", tmp_path / "rabbit", *shape)
        with ours.running(*command, folder=tmp_path) as running:
            until(lambda: ours.number(CALLS) >= 12, "the run is well under way")
            before = {worker["id"] for worker in ours.status("rabbit")["workers"]}
            server.kill()
            time.sleep(3)
            server.start()
            for body, headers in RUBBISH:
                put(server, body, headers)
            done = running.ended()
        assert done.code == 0, done.err
        assert ours.verified("rabbit")
        found = ours.status("rabbit")
        assert found["failed_tasks"] == {} and len(rows(tmp_path / "rabbit" / "dataset.jsonl")) == 10
        assert {worker["id"] for worker in found["workers"]} == before  # nobody had to be started again
        until(lambda: server.queued("expand") == (0, 2), "nothing is left in the queue")
        assert house.cli("up").code == 0  # the others of this session have their own broker again
