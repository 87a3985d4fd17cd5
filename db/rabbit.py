"""RabbitMQ in the place of Valkey as the broker: its address, what it says of itself, and how to see that it was wiped.

Only the hints go through it. What the limiter of all workers knows stays in a Valkey or Redis.
"""

import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qsl, unquote, urlsplit

import amqp
from kombu.connection import Connection

from db.broker import ServerUrl
from db.environment import BROKER
from db.errors import ConfigError, ServiceError

# What it raises when it is away, refuses us, or has broken off.
ERRORS = (amqp.AMQPError, OSError)

_PORTS = {"amqp": 5672, "amqps": 5671}
# As for a rediss:// address, in py-amqp's words.
_TLS_OPTIONS = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
_MARK_MS = 24 * 3600 * 1000
_CURE = f"start it, or point {BROKER} to a running RabbitMQ"


def is_one(url: str) -> bool:
    """Whether the address is meant for a RabbitMQ."""
    return url.startswith(("amqp:", "amqps:"))


def server_of(url: str) -> ServerUrl:
    """Raises ConfigError for an address that is none. `path` is the virtual host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in _PORTS or not host:
        raise ConfigError(f"{BROKER} is not an address: expected amqp://user:password@host:5672/instructree")
    options = dict(parse_qsl(parts.query))
    for name in options:
        if parts.scheme != "amqps" or name not in _TLS_OPTIONS:
            raise ConfigError(f"{BROKER}: an address cannot set {name!r}: take it out")
    return ServerUrl(
        scheme=parts.scheme,
        host=host,
        port=port or _PORTS[parts.scheme],
        path=unquote(parts.path[1:]) or "/",
        user=unquote(parts.username) if parts.username else "guest",
        password=unquote(parts.password) if parts.password else "guest",
        options=options,
    )


def settings(url: str, *, answer_s: float | None = None) -> dict[str, object]:
    """What a Celery app must be told. `answer_s` bounds each wait for the server; None where waiting is the work.

    Raises:
        ConfigError: the address is none.
    """
    server = server_of(url)
    return {
        "broker_url": urlsplit(url)._replace(query="").geturl(),
        "broker_use_ssl": _tls(server),
        "broker_transport_options": {"read_timeout": answer_s, "write_timeout": answer_s or 15.0},
        "broker_heartbeat": 10,  # seconds; a host that is gone is noticed after two
    }


def _tls(server: ServerUrl) -> dict[str, object] | None:
    """A server must show a certificate of its own name. Left to itself, py-amqp asks for none."""
    if server.scheme != "amqps":
        return None
    given = {_TLS_OPTIONS[name]: value for name, value in server.options.items()}
    return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": server.host, **given}


def knock(url: str, *, timeout_s: float) -> None:
    """Raises OSError when nobody listens there. (kombu would try again and again.)"""
    server = server_of(url)
    socket.create_connection((server.host, server.port), timeout=timeout_s).close()


def facts(url: str) -> Mapping[str, object]:
    """What the server says of itself.

    Raises:
        ConfigError: the address is none.
        ServiceError: it does not answer, or does not let us in.
    """
    with _line(server_of(url)) as line:
        return dict(line.server_properties)


def knows(url: str, queues: Iterable[str]) -> bool:
    """Whether one of these queues is there. Raises as `facts` does."""
    with _line(server_of(url)) as line:
        return any(_there(line, name) for name in queues)


def _there(line: amqp.Connection, queue: str) -> bool:
    try:
        line.channel().queue_declare(queue, passive=True)
    except amqp.NotFound:
        return False
    return True


@contextmanager
def _line(server: ServerUrl) -> Iterator[amqp.Connection]:
    """A connection for a question or two."""
    line = amqp.Connection(
        f"{server.host}:{server.port}", server.user, server.password, virtual_host=server.path,
        ssl=_tls(server) or False, connect_timeout=5, read_timeout=5, write_timeout=5,
    )  # fmt: skip
    try:
        line.connect()
        yield line
    except amqp.AccessRefused:
        raise ServiceError(f"the broker at {server} refuses our password: put the right one into {BROKER}") from None
    except amqp.NotAllowed:
        raise ServiceError(
            f"the broker at {server} has no virtual host {server.path!r} for {server.user}: `rabbitmqctl add_vhost` "
            "and `set_permissions` there"
        ) from None
    except ERRORS as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ServiceError(f"the broker at {server} cannot be reached ({cause}): {_CURE}") from None
    finally:
        line.collect()


def declare(connection: Connection, queues: Iterable[str]) -> None:
    """Makes the queues as Celery's workers do: what is sent to one that is not there is thrown away."""
    with _channel(connection) as channel:
        for name in queues:
            channel.queue_declare(name, durable=True, auto_delete=False)


def _channel(connection: Connection) -> amqp.Channel:
    return connection.channel()  # type: ignore[no-untyped-call]  # kombu ships no types


def heard(channel: amqp.Channel) -> None:
    """Returns once the server has taken in all that was sent on this channel; publishing alone asks for no answer."""
    channel.basic_qos(0, 1, False)


def remember(connection: Connection, mark: str) -> bool:
    """Whether the server still knows our mark, an empty queue that is made with this question."""
    try:
        with _channel(connection) as channel:
            channel.queue_declare(mark, passive=True)
    except amqp.NotFound:
        with _channel(connection) as channel:
            channel.queue_declare(mark, durable=True, auto_delete=False, arguments={"x-expires": _MARK_MS})
        return False
    return True
