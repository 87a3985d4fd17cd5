"""Telling figures to Prometheus: a small HTTP server of a process, on loopback unless another address is named."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from db.environment import read
from db.errors import ConfigError

METRICS = "INSTRUCTREE_METRICS"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """From `PORT`, `HOST:PORT` or `[HOST]:PORT`. Raises ConfigError when it is none."""
        host, _, port = text.strip().rpartition(":")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"{METRICS}={text!r}: expected PORT or HOST:PORT, such as {LOOPBACK}:9464")
        return cls(host=host.strip("[]") or LOOPBACK, port=int(port))


def wanted(option: str | None) -> Place | None:
    """Where figures are to be told, by a command's option or else by the environment; None: nowhere."""
    found = option or read(METRICS)
    return Place.of(found) if found else None


def expose(place: Place, collectors: Iterable[Collector]) -> Callable[[], None]:
    """Serves these figures and the process's own (memory, processor time, open files); returns what ends it.

    Raises:
        ConfigError: nobody can listen there.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(namespace="instructree", registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    try:
        server, thread = start_http_server(place.port, addr=place.host, registry=registry)
    except OSError as error:
        where = f"{place.host}:{place.port}"
        raise ConfigError(f"metrics cannot be served at {where} ({error.strerror}): name a free port") from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return end
