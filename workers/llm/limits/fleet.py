"""The limiter that all workers on all machines share."""

import asyncio
import ssl
import uuid
from collections.abc import Mapping
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from db.broker import ServerUrl, server_of
from workers.llm.address import Address, address_of
from workers.llm.errors import (
    AnswerLost,
    BudgetSpent,
    ConnectionFailed,
    LedgerAway,
    LedgerRefused,
    ModelError,
    RateLimited,
    ServerFault,
    Withdrawn,
)
from workers.llm.limits.desk import LONGEST_WAIT_S, Desk
from workers.llm.limits.rules import Rules
from workers.llm.limits.shared import Ended, Kind, SharedState, identity_of
from workers.llm.limits.take import Take

_CONNECT_S = 2.0
_ANSWER_S = 2.0
# One exchange at a time for each endpoint.
_CONNECTIONS = 16
_UNASKED = (LedgerAway, LedgerRefused, BudgetSpent, Withdrawn)


class RedisLimiter:
    """Limits by endpoint and model, whatever machine asks. Belongs to one event loop; `url` is the broker's.

    When Redis is away this process goes on alone, with a small share of what all together were allowed.
    """

    def __init__(
        self,
        url: str,
        book: Mapping[str, Address],
        *,
        rules: Rules | None = None,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._redis = connect(url)
        self._book = book
        self._rules = rules or Rules()
        self._longest_wait_s = longest_wait_s
        self._instance = uuid.uuid4().hex
        self._desks: dict[tuple[str, str], Desk] = {}

    def _desk(self, take: Take) -> Desk:
        """Raises ServiceError for an endpoint without an address here."""
        key = (take.endpoint, take.model)
        if key not in self._desks:
            identity = identity_of(address_of(self._book, take.endpoint), take.model)
            name = f"{take.endpoint} ({take.model})" if take.model else take.endpoint
            shared = SharedState(self._redis, identity, name, instance=self._instance, rules=self._rules)
            self._desks[key] = Desk(
                name=take.endpoint, exchange=shared.exchange, rules=self._rules, longest_wait_s=self._longest_wait_s
            )
        return self._desks[key]

    async def acquire(self, take: Take) -> None:
        await self._desk(take).acquire(take)

    async def settle(self, take: Take, *, tokens: int) -> None:
        self._desk(take).settle(take, tokens)

    async def release(self, take: Take, failure: ModelError | None) -> None:
        desk = self._desk(take)
        desk.end(ended(take, failure, answered=desk.answered(take)))

    async def close(self) -> None:
        await asyncio.gather(*(desk.close() for desk in self._desks.values()))
        await self._redis.aclose()


def ended(take: Take, failure: ModelError | None, *, answered: int | None) -> Ended:
    """How an attempt went, in the limiter's words. `answered` is the tokens of an answer, None without one."""
    if isinstance(failure, RateLimited):
        return Ended(take=take, kind=Kind.LIMITED, tokens=0, retry_after_s=failure.retry_after_s)
    if isinstance(failure, ServerFault):
        return Ended(take=take, kind=Kind.FAILED, retry_after_s=failure.retry_after_s)
    if isinstance(failure, ConnectionFailed):
        return Ended(take=take, kind=Kind.FAILED, tokens=0)
    if isinstance(failure, AnswerLost):
        return Ended(take=take, kind=Kind.FAILED)
    if isinstance(failure, _UNASKED):
        return Ended(take=take, kind=Kind.UNKNOWN, tokens=0)
    if failure is not None:
        return Ended(take=take, kind=Kind.ALIVE, tokens=None if failure.may_be_paid else 0)
    return Ended(take=take, kind=Kind.UNKNOWN if answered is None else Kind.OK, tokens=answered)


def connect(url: str) -> Redis:
    """A client that tries once, since the limiter tells everything again by itself. Raises ConfigError."""
    server = server_of(url)
    kind, where = _connection(server)
    pool = BlockingConnectionPool(
        connection_class=kind,
        max_connections=_CONNECTIONS,
        timeout=_ANSWER_S,
        username=server.user,
        password=server.password,
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=_CONNECT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        **where,
    )
    return Redis.from_pool(pool)


def _connection(server: ServerUrl) -> tuple[type[AbstractConnection], dict[str, Any]]:
    if server.host is None:
        database = int(server.options.get("virtual_host", "0").lstrip("/") or 0)
        return UnixDomainSocketConnection, {"path": server.path, "db": database}
    where: dict[str, Any] = {"host": server.host, "port": server.port, "db": int(server.path.lstrip("/") or 0)}
    if server.scheme != "rediss":
        return Connection, where
    # A server whose certificate nobody checks is only had by asking for it, as for the hints.
    options = {name: value for name, value in server.options.items() if name != "ssl_cert_reqs"}
    wanted = server.options.get("ssl_cert_reqs", "required").removeprefix("CERT_").lower()
    modes = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL}
    return SSLConnection, {**where, **options, "ssl_cert_reqs": modes.get(wanted, ssl.CERT_REQUIRED)}
