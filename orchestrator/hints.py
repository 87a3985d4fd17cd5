"""Hints: Celery messages that say "there is a task with this id". Losing, doubling or delaying one does no harm."""

from collections.abc import Iterable

import structlog
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from db.environment import BROKER
from db.errors import ServiceError

_CURE = f"start one with `instructree up`, or point {BROKER} to a running Valkey or Redis"

log = structlog.get_logger()


def check_broker(url: str) -> None:
    """Raises ServiceError, without the password, when the broker does not answer."""
    with Connection(  # type: ignore[no-untyped-call]  # kombu ships no types
        url, connect_timeout=5, transport_options={"socket_connect_timeout": 5}
    ) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except (OperationalError, OSError) as error:
            place = f"{connection.hostname}:{connection.port}"
            cause = str(error).splitlines()[0]
            raise ServiceError(f"the broker at {place} cannot be reached ({cause}): {_CURE}") from None


class Hints:
    """Sends hints to the queue of their kind. A broker that is away is only logged: the sweep hints again."""

    def __init__(self, url: str) -> None:
        self._app = Celery("instructree-orchestrator", broker=url, set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=5,
            broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 5},
        )

    def send(self, tasks: Iterable[tuple[int, str]]) -> None:
        """One message per (task id, kind)."""
        try:
            for task_id, kind in tasks:
                self._app.send_task(kind, args=[task_id], queue=kind, retry=False)
        except (OperationalError, OSError) as error:
            log.warning("broker_away", cause=type(error).__name__)

    def close(self) -> None:
        self._app.close()
