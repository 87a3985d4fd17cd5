"""Telling figures to Prometheus: a small HTTP server of a process, on loopback unless another address is named."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from db.engine import connections_of
from db.environment import read
from db.errors import ConfigError

METRICS = "INSTRUCTREE_METRICS"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """From `PORT`, `HOST:PORT` or `[HOST]:PORT`. Raises ConfigError when it is none."""
        host, _, port = text.strip().rpartition(":")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"{METRICS}={text!r}: expected PORT or HOST:PORT, such as {LOOPBACK}:9464")
        return cls(host=host.strip("[]") or LOOPBACK, port=int(port))


def wanted(option: str | None) -> HostPort | None:
    """Where figures are to be told, by a command's option or else by the environment; None: nowhere."""
    found = option or read(METRICS)
    return HostPort.of(found) if found else None


class Connections(Collector):
    """The connections of this process to the database. When all are in use, whoever wants one waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        in_use, most = connections_of(self._engine)
        name = "instructree_database_pool"
        yield GaugeMetricFamily(f"{name}_in_use", "Database connections that this process uses now.", in_use)
        yield GaugeMetricFamily(f"{name}_size", "Database connections that this process may use at once.", most)


class Served:
    """Figures that are served until `end`: those of the process itself (memory, processor time, open files) and all
    that is put on it.

    Raises:
        ConfigError: nobody can listen there.
    """

    def __init__(self, address: HostPort) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="instructree", registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        try:
            self._server, self._thread = start_http_server(address.port, addr=address.host, registry=self._registry)
        except OSError as error:
            where = f"{address.host}:{address.port}"
            raise ConfigError(f"metrics cannot be served at {where} ({error.strerror}): name a free port") from None

    def put(self, figures: Collector) -> None:
        self._registry.register(figures)

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
