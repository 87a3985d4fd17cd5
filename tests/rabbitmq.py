"""A RabbitMQ of the test's own: home, data, ports, cookie and name; one of the system is not touched."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import amqp

from tests.e2e.house import until
from tests.programs import rabbitmq

USER, PASSWORD, VHOST = "tester", "of-the-tests", "instructree"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Rabbit:
    """`url` is its address, whether or not it runs; `settings` are parameters of its own, in milliseconds.

    Skips or fails the test where there is none.
    """

    def __init__(self, folder: Path, **settings: int) -> None:
        self._folder = folder
        self._settings = "".join(f" -rabbit {name} {value}" for name, value in settings.items())
        self._port, self._between, self._names = (_free_port() for _ in range(3))
        self.url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self._port}/{VHOST}"
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self._port}\n"
            f"default_user = {USER}\ndefault_pass = {PASSWORD}\ndefault_vhost = {VHOST}\n"
            "disk_free_limit.absolute = 1MB\n"
        )
        self.start()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **kept,
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "HOME": str(self._folder),  # where the cookie is
            "RABBITMQ_NODENAME": f"instructree-test-{self._port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_DIST_PORT": str(self._between),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            # Idle threads of Erlang spin; there are others on this machine.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none" + self._settings,
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        with (self._folder / "output.log").open("ab") as out:
            self._process = subprocess.Popen(
                [rabbitmq()],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until(self._answers, "RabbitMQ answers", patience_s=120)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "output.log").read_text()
        try:
            with self.line():
                return True
        except (OSError, amqp.AMQPError):
            return False

    @contextmanager
    def line(self) -> Iterator[amqp.Channel]:
        """A channel to it."""
        place = f"127.0.0.1:{self._port}"
        with amqp.Connection(place, USER, PASSWORD, virtual_host=VHOST, connect_timeout=5) as line:
            yield line.channel()

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Erlang's register of names outlives whoever started it."""
        self.kill()
        until(self._forgotten, "Erlang's register of names has ended", patience_s=20)

    def _forgotten(self) -> bool:
        """It refuses to end while it knows of a node, and says so with exit code 0."""
        told = subprocess.run(["epmd", "-kill"], env=self._environment(), capture_output=True, check=False)
        return b"Killed" in told.stdout + told.stderr or b"Cannot connect" in told.stdout + told.stderr

    def queued(self, kind: str) -> tuple[int, int]:
        """Messages that nobody has taken, and who listens. Raises amqp.NotFound when there is no such queue."""
        with self.line() as channel:
            found = channel.queue_declare(kind, passive=True)
            return found.message_count, found.consumer_count
