"""The broker: how its address is written, what orchestrators and workers must agree on, and what it says of itself.

Here, in the room that both may enter, because hints are sent by the one and taken by the other.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from db.environment import BROKER, REDIS
from db.errors import ConfigError, ServiceError

# Before every key of ours: another Celery program on the same server has a hash of unacknowledged messages too, and of
# two visibility timeouts over one hash the shorter wins (queue-and-database.md, 1.2).
KEY_PREFIX = "instructree:"

_MARK_S = 24 * 3600

_SOCKET = "redis+socket"
_SCHEMES = ("redis", "rediss", _SOCKET)
# What kombu takes from an address. Anything else in it ends in a TypeError far from here.
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_OPTIONS = {"redis": (), "rediss": _TLS_OPTIONS, _SOCKET: ("virtual_host",)}
_CURE = "start one with `instructree up`, or point {} to a running Valkey or Redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUrl:
    """An address taken apart. `host` is None for a socket. Its password shows in no text made of it."""

    scheme: str
    host: str | None
    port: int
    path: str
    user: str | None
    password: str | None
    options: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.host else self.path

    def __repr__(self) -> str:
        return f"ServerUrl({self.scheme}://{self})"

    @property
    def local(self) -> bool:
        return self.host is None or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name, address or socket folder is on this very machine."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def server_of(url: str, named: str = REDIS) -> ServerUrl:
    """Raises ConfigError for an address that is not one of a Redis or Valkey server, as kombu understands it.

    `named` is the variable that holds it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"{named} is not an address: expected redis://:password@host:6379/0") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigError(_wrong_scheme(parts.scheme, named))
    options = dict(parse_qsl(parts.query))
    for name in options:
        if name not in _OPTIONS[parts.scheme]:
            raise ConfigError(f"{named}: an address cannot set {name!r}: take it out")
    return ServerUrl(
        scheme=parts.scheme,
        host=None if parts.scheme == _SOCKET else host or "localhost",
        port=port or 6379,
        path=unquote(parts.path),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        options=options,
    )


def _wrong_scheme(scheme: str, named: str) -> str:
    if scheme in ("valkey", "valkeys"):
        return (
            f"{named} begins with {scheme}://, which Celery does not know: write redis{scheme[6:]}://, it is the same"
        )
    if scheme.startswith("amqp"):
        return f"{named} begins with {scheme}://: a RabbitMQ is named in {BROKER}; here, only a Valkey or Redis"
    if scheme == "unix":
        return f"{named} begins with unix://: write {_SOCKET}:///path/of/the/socket"
    said = f"begins with {scheme}://" if scheme else "has no scheme"
    return f"{named} {said}: only Valkey and Redis are supported, as redis://, rediss:// (TLS) or {_SOCKET}://"


def tls(url: str) -> dict[str, object] | None:
    """Celery's `broker_use_ssl`. Without it kombu asks a rediss:// server for no certificate at all."""
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED} if server_of(url).scheme == "rediss" else None


def connect(url: str, *, timeout_s: float) -> Redis:
    """A client of our own beside kombu's, which tries once. Raises ConfigError for a wrong address."""
    return Redis.from_url(_for_redis_py(url), socket_connect_timeout=timeout_s, socket_timeout=timeout_s, retry=None)


def _for_redis_py(url: str) -> str:
    """The same address in redis-py's spelling, which differs from kombu's for sockets and certificates."""
    server = server_of(url)
    parts = urlsplit(url)
    if server.scheme == _SOCKET:
        return parts._replace(scheme="unix", query=urlencode({"db": server.options.get("virtual_host", "0")})).geturl()
    options = dict(server.options)
    if "ssl_cert_reqs" in options:
        options["ssl_cert_reqs"] = options["ssl_cert_reqs"].removeprefix("CERT_").lower()
    return parts._replace(query=urlencode(options)).geturl()


def knows(url: str, keys: Iterable[str]) -> bool:
    """Whether one of these keys is there."""
    with connect(url, timeout_s=5) as client:
        return bool(client.exists(*keys))


def remember(url: str, mark: str, *, timeout_s: float) -> bool:
    """Whether the server still knows our mark, which it is given with this question."""
    with connect(url, timeout_s=timeout_s) as client:
        return client.set(mark, "1", ex=_MARK_S, get=True) is not None


def limits_mark(mark: str) -> str:
    """An orchestrator's mark in the server of the limiter: another one, since a broker must not be taken for that."""
    return f"{mark}:limits"


def facts(url: str, named: str = REDIS) -> Mapping[str, object] | None:
    """What the server says of itself (INFO), or None where we may not ask.

    Raises:
        ConfigError: the address is none.
        ServiceError: the server does not answer, or does not let us in.
    """
    server = server_of(url, named)
    try:
        with connect(url, timeout_s=5) as client:
            client.ping()
            return _info(client)
    except AuthenticationError:
        raise ServiceError(f"the broker at {server} refuses our password: put the right one into {named}") from None
    except (RedisError, OSError, ValueError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ServiceError(f"the broker at {server} cannot be reached ({cause}): {_CURE.format(named)}") from None


def _info(client: Redis) -> Mapping[str, object] | None:
    try:
        found = client.info()
    except ResponseError:  # renamed away, or not allowed to this user
        return None
    assert isinstance(found, dict)
    return found
