"""How hints are heard. Whoever reaches the broker can put anything into a queue; none of it may stop a worker.

Celery gives up on a message that is no envelope, or whose body has another shape than a task's: the worker ends, in
good order and with exit code 0, and the message may be back in its queue for the next one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from amqp import PreconditionFailed
from celery.app.amqp import AMQP
from celery.worker.consumer import Consumer
from kombu.connection import Connection
from kombu.transport import pyamqp, redis
from kombu.transport.base import Transport

log = structlog.get_logger()

# Between two tries to reach a broker that is away. Celery's own grow to 30 s: back after 74 s, it was found 16 s later.
RETRY_S = 3.0
# What Celery and kombu let through when they take a message apart that is none. Connections fail in other ways.
_NO_MESSAGE = (ValueError, TypeError, KeyError, AttributeError, IndexError)


class _Channel(redis.Channel):
    def _brpop_read(self, **options: object) -> object:
        try:
            found: object = super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu ships no types
            return found
        except _NO_MESSAGE as error:
            log.warning("hint_refused", cause=f"no envelope ({type(error).__name__})")
            return True


class _Transport(redis.Transport):
    Channel = _Channel


# RabbitMQ closes a channel on which a message waits too long for its acknowledgement (half an hour, unless configured);
# Celery would end the worker. As a line that broke it is taken up again: the message comes anew, and finds no task.
class _Rabbit(pyamqp.Transport):
    connection_errors = (*pyamqp.Transport.connection_errors, PreconditionFailed)


class _RabbitTls(pyamqp.SSLTransport):
    connection_errors = (*pyamqp.SSLTransport.connection_errors, PreconditionFailed)


_OURS: Mapping[type[Transport], type[Transport]] = {
    redis.Transport: _Transport,
    pyamqp.Transport: _Rabbit,
    pyamqp.SSLTransport: _RabbitTls,
}


class _Line(Connection):
    """A connection whose patience between tries does not grow, and that survives what it is sent."""

    def get_transport_cls(self) -> type[Transport]:
        found: type[Transport] = super().get_transport_cls()  # type: ignore[no-untyped-call]  # kombu ships no types
        return _OURS[found]  # no other scheme of address gets past the guard

    def _ensure_connection(self, *arguments: object, **options: object) -> object:
        patience = {"interval_start": RETRY_S, "interval_step": 0, "interval_max": RETRY_S}
        found: object = super()._ensure_connection(  # type: ignore[no-untyped-call]  # kombu ships no types
            *arguments, **{**options, **patience}
        )
        return found


class Amqp(AMQP):  # type: ignore[misc]  # celery ships no types
    """For `Celery(amqp=...)`."""

    Connection = _Line


class Hearing(Consumer):  # type: ignore[misc]  # celery ships no types
    """For `worker_consumer`: a message that is no task is acknowledged, so that it is gone."""

    def create_task_handler(self, *arguments: object, **options: object) -> Callable[[Any], object]:
        handle = super().create_task_handler(*arguments, **options)

        def on_message(message: Any) -> object:
            try:
                return handle(message)
            except _NO_MESSAGE as error:
                log.warning("hint_refused", cause=f"no task ({type(error).__name__})")
                return message.ack_log_error(log, self.connection_errors)

        return on_message
