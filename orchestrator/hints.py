"""Hints: Celery messages that say "there is a task with this id". Losing, doubling or delaying one does no harm."""

import time
from collections.abc import Iterable
from uuid import uuid4

import structlog
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from redis.exceptions import RedisError

from db import broker, rabbit
from db.broker import KEY_PREFIX, limits_mark
from db.chaos import chaos
from workers.contracts import Kind

log = structlog.get_logger()

# A broker that does not answer holds the orchestrator up for this long, and is then left alone for AWAY_S.
CONNECT_S = 1.0
ANSWER_S = 2.0
AWAY_S = 3.0
# Messages written at once: about 400 kB.
BATCH = 500
# Hints kept for a broker that is away; of more than these the oldest are left to the sweep.
KEPT = 10_000

_AWAY = (KombuError, RedisError, *rabbit.ERRORS)


class Hints:
    """Sends hints to the queue of their kind. A broker that is away is only logged: they are sent when it is back.

    Whether a batch that failed was delivered is unknown, so it is sent again whole. `limiter`: the server of the limits
    that go with these hints, so that workers can tell it from another. For one thread.
    """

    def __init__(self, url: str, limiter: str | None = None) -> None:
        self._app = Celery("instructree-orchestrator", set_as_current=False)
        self._app.conf.update(task_serializer="json", accept_content=["json"], **_line(url))
        self._by_rabbit = rabbit.is_one(url)
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._unsent: dict[int, str] = {}
        self._rests_until = 0.0
        self._url = url
        self._limiter = limiter
        self._mark = f"{KEY_PREFIX}mark:{uuid4()}"
        self._marked = self._marked_everywhere = False

    def send(self, tasks: Iterable[tuple[int, str]]) -> None:
        """One message per (task id, kind), and for each still unsent. Blocks for CONNECT_S + ANSWER_S at most."""
        self._unsent.update(tasks)
        if not self._unsent or time.monotonic() < self._rests_until:
            return
        try:
            self._publish()
        except _AWAY as error:
            self._give_up(error)
        else:
            self._unsent.clear()
            if self._rests_until:
                self._rests_until = 0.0
                log.info("broker_back")

    def lost(self) -> bool:
        """Whether the broker has forgotten, since this was last asked, what it was sent: it was wiped or replaced."""
        self._marked_everywhere = False
        if time.monotonic() < self._rests_until:
            return False
        try:
            known = self._remembered()
        except _AWAY as error:
            self._give_up(error)
            return False
        wiped, self._marked = self._marked and not known, True
        self._marked_everywhere = self._limiter is None or self._marks(self._limiter)
        return wiped

    def _remembered(self) -> bool:
        """Whether the broker knows our mark, which it is given with this question."""
        if self._by_rabbit:
            self._producer = self._producer or self._call()
            assert self._connection is not None
            return rabbit.remember(self._connection, self._mark)
        return broker.remember(self._url, self._mark, timeout_s=CONNECT_S)

    def _marks(self, limiter: str) -> bool:
        """Puts our mark there; hints go on without it."""
        try:
            broker.remember(limiter, limits_mark(self._mark), timeout_s=CONNECT_S)
        except _AWAY as error:
            log.warning("limiter_away", cause=f"{type(error).__name__}: {error}")
            return False
        return True

    @property
    def mark(self) -> str | None:
        """The key that is ours, where `lost` has just seen or put it in the broker and in the limiter's server.

        Whoever does not find it there later hears another broker, or keeps to other limits.
        """
        return self._mark if self._marked_everywhere else None

    def close(self) -> None:
        self._hang_up()
        self._app.close()

    def _publish(self) -> None:
        producer = self._producer or self._call()
        with producer.batch(max_size=BATCH):  # type: ignore[no-untyped-call]  # kombu ships no types
            for task_id, kind in self._unsent.items():
                message = self._app.amqp.create_task_message(str(uuid4()), kind, (task_id,), ignore_result=True)
                for _ in range(chaos().copies):
                    # To the queue by its name, which needs no exchange, and so nothing that a wiped broker would miss.
                    producer.publish(  # type: ignore[no-untyped-call]
                        message.body, routing_key=kind, headers=message.headers, **message.properties
                    )
        if self._by_rabbit:
            rabbit.heard(producer.channel)

    def _call(self) -> Producer:
        """A line of our own: Celery's pool would retry for seconds, and hold on to a broken one."""
        self._knock()  # kombu would try four times
        self._connection = self._app.connection_for_write()
        if self._by_rabbit:
            rabbit.declare(self._connection, Kind)
        self._producer = self._app.amqp.Producer(self._connection.channel())
        return self._producer

    def _knock(self) -> None:
        if self._by_rabbit:
            return rabbit.knock(self._url, timeout_s=CONNECT_S)
        with broker.connect(self._url, timeout_s=CONNECT_S) as client:
            client.ping()

    def _give_up(self, error: Exception) -> None:
        self._hang_up()
        self._rests_until = time.monotonic() + AWAY_S
        for task_id in list(self._unsent)[:-KEPT]:
            del self._unsent[task_id]
        cause = error.__cause__ or error
        log.warning("broker_away", cause=f"{type(cause).__name__}: {cause}", unsent=len(self._unsent))

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.collect()  # type: ignore[no-untyped-call]  # without a word to the server, which may not listen
        self._connection = self._producer = None


def _line(url: str) -> dict[str, object]:
    """How the broker is reached, in Celery's settings."""
    if rabbit.is_one(url):
        return {**rabbit.settings(url, answer_s=ANSWER_S), "broker_connection_timeout": CONNECT_S}
    options = {
        "global_keyprefix": KEY_PREFIX,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": ANSWER_S,  # no retry_on_timeout: kombu batches only where a write is never repeated
    }
    return {"broker_url": url, "broker_use_ssl": broker.tls(url), "broker_transport_options": options}
