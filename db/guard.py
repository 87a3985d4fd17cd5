"""What a worker or an orchestrator refuses to start with: anything that would break a law later, and silently.

Every check says what it found, for `doctor`; raises ConfigError or ServiceError for what is refused; and warns of what
may be meant so. It is in this room because orchestrators and workers are guarded alike.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import Connection, Engine, text

from db import broker, rabbit, workers
from db.broker import ServerUrl, is_loopback, limits_mark
from db.environment import BROKER, DATABASE, REDIS
from db.errors import ConfigError, ServiceError
from db.migrate import current
from db.workers import SILENT_S, WorkerRow

# Before these: no pipelined publishing (Celery, kombu), pools without a bound (redis), another HTTP library (openai).
LIBRARIES: Mapping[str, tuple[int, ...]] = {"celery": (5, 7), "kombu": (5, 7), "redis": (8,), "openai": (3,)}
_REDIS, _VALKEY = (6, 2), (7, 2)  # what Celery 5.7 asks for, and the first Valkey
_RABBIT = (3, 8)
_POSTGRES = 15  # NULLS NOT DISTINCT
# An orchestrator that finds its key gone from the broker puts it back within a sweep of five seconds.
MARKED_AGAIN_S = 10.0
# These take the place of the address that a Celery app is given.
_OVERRIDES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
# From the documentation and the example files of these servers.
_DEFAULTS = frozenset(
    {"admin", "changeme", "change-me", "default", "example", "foobared", "guest", "instructree", "mysecretpassword"}
    | {"password", "pass", "postgres", "redis", "root", "secret", "test", "valkey", "123456"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check saw, and what its user may want to know about it."""

    said: str
    warnings: tuple[str, ...] = ()


def check_start(
    engine: Engine, url: str, environment: Mapping[str, str], *, orchestrator: bool, limiter: str | None = None
) -> list[str]:
    """Everything that must hold before this process takes part. Returns the warnings.

    `url` is the broker's, `limiter` that of the server with the limits, where it is another one.

    Raises:
        ConfigError: a library is too old, an address is wrong, or a password is one that everybody knows.
        ServiceError: a server is too old, not set up for us or away, or other processes have another version.
    """
    findings = [check_libraries(), check_broker(url, environment, limiter), check_database(engine)]
    with engine.connect() as connection:
        findings.append(check_company(connection, version("instructree"), orchestrator=orchestrator))
    return [warning for finding in findings for warning in finding.warnings]


def check_libraries(least: Mapping[str, tuple[int, ...]] = LIBRARIES) -> Finding:
    """Raises ConfigError when one is missing or too old, as another package may have made it."""
    found: list[str] = []
    for name, needed in least.items():
        wanted = f"pip install --upgrade '{name}>={'.'.join(map(str, needed))}'"
        try:
            present = version(name)
        except PackageNotFoundError:
            raise ConfigError(f"{name} is not installed: {wanted}") from None
        if _numbers(present) < needed:
            raise ConfigError(f"{name} {present} is too old (another package may have brought it): {wanted}")
        found.append(f"{name} {present}")
    return Finding(said=", ".join(found))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


# -- the broker


def check_broker(url: str, environment: Mapping[str, str], limiter: str | None = None) -> Finding:
    """The broker, and the server of the limiter where it is another. Raises ConfigError or ServiceError for either."""
    apart = limiter is not None and limiter != url
    named = BROKER if apart else REDIS
    for name in _OVERRIDES:
        if environment.get(name) not in (None, "", url):
            raise ConfigError(f"{name} would take the place of {named}: unset it")
    found = check_rabbit(url) if rabbit.is_one(url) else check_redis(url, named)
    if not apart or limiter is None:
        return found
    limits = check_redis(limiter)
    return Finding(said=f"{found.said}; limits in {limits.said}", warnings=(*found.warnings, *limits.warnings))


def check_rabbit(url: str) -> Finding:
    """Raises ConfigError for its address, ServiceError for the server."""
    server = rabbit.server_of(url)
    if not server.local:
        _refuse_default(server.password or "", server.user, f"the broker at {server}", BROKER)
    seen = rabbit.facts(url)
    product, found = str(seen.get("product", "something unknown")), str(seen.get("version", "0"))
    if product != "RabbitMQ" or _numbers(found) < _RABBIT:
        least = ".".join(map(str, _RABBIT))
        raise ServiceError(f"the broker at {server} is {product} {found}: RabbitMQ {least} or newer is needed")
    return Finding(said=f"RabbitMQ {found} at {server}, virtual host {server.path}")


def check_redis(url: str, named: str = REDIS) -> Finding:
    """A Valkey or Redis that `named` points to. Raises ConfigError for its address, ServiceError for the server."""
    server = broker.server_of(url, named)
    warnings: list[str] = []
    if not server.local and server.password:
        _refuse_default(server.password, server.user, f"the broker at {server}", named)
    elif not server.local:
        warnings.append(
            f"{named} has no password: whoever reaches {server} can stop this work; set `requirepass` there"
        )
    if server.options.get("ssl_cert_reqs", "").removeprefix("CERT_").lower() == "none":
        warnings.append(f"{named} says ssl_cert_reqs=none: anybody in between can pose as {server}; take it out")
    seen = judge_server(broker.facts(url, named), server)
    return Finding(said=seen.said, warnings=(*warnings, *seen.warnings))


def judge_server(info: Mapping[str, object] | None, server: ServerUrl) -> Finding:
    """What a server's own INFO tells. Raises ServiceError when hints are not safe with it."""
    if info is None:
        unseen = f"the broker at {server} does not let us look at it: see that its maxmemory-policy is noeviction"
        return Finding(said="answers; version and eviction could not be checked", warnings=(unseen,))
    product, least = ("Valkey", _VALKEY) if "valkey_version" in info else ("Redis", _REDIS)
    found = str(info.get(f"{product.lower()}_version", "0"))
    if _numbers(found) < least:
        raise ServiceError(
            f"the broker at {server} is {product} {found}: Celery needs {'.'.join(map(str, least))} or newer; "
            "upgrade it"
        )
    if info.get("redis_mode") == "cluster":
        raise ServiceError(f"the broker at {server} is part of a cluster, which Celery cannot use: take one without")
    if info.get("role") == "slave":
        raise ServiceError(f"the broker at {server} is a read-only replica: point {REDIS} to its primary")
    return Finding(said=f"{product} {found} at {server}, {_eviction(info, server)}")


def _eviction(info: Mapping[str, object], server: ServerUrl) -> str:
    if not info.get("maxmemory"):
        return "no memory limit"
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        raise ServiceError(
            f"the broker at {server} throws keys away when it is full (maxmemory-policy {policy}): "
            "run `CONFIG SET maxmemory-policy noeviction` there, and put it into its configuration"
        )
    return "noeviction"


# -- the database


def check_database(engine: Engine) -> Finding:
    """Raises ServiceError when it is too old or cannot be written, ConfigError for a password that everybody knows."""
    with engine.connect() as connection:
        number, name, standby = connection.execute(
            text(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
                " pg_is_in_recovery()"
            )
        ).one()
        warnings = _access(connection)
    where = engine.url.host or engine.url.query.get("host") or "the local socket"
    if number < _POSTGRES * 10_000:
        raise ServiceError(f"the database at {where} is PostgreSQL {name}: {_POSTGRES} or newer is needed; upgrade it")
    if standby:
        raise ServiceError(f"the database at {where} is a read-only standby: point {DATABASE} to its primary")
    return Finding(said=f"PostgreSQL {name} at {where}", warnings=tuple(warnings))


def _access(connection: Connection) -> list[str]:
    """How we got in. The driver knows better than the address: PGPASSWORD and password files count too."""
    driver = connection.connection.driver_connection
    assert driver is not None
    known = driver.info
    if is_loopback(known.host):
        return []
    what = f"the database at {known.host}"
    if not known.used_password:
        return [f"{what} asked for no password: unless certificates guard it, set `scram-sha-256` in its pg_hba.conf"]
    _refuse_default(known.password or "", known.user, what, DATABASE)
    return []


def _refuse_default(password: str, user: str | None, what: str, variable: str) -> None:
    """Raises ConfigError for a password that everybody tries first."""
    if password.lower() in {*_DEFAULTS, (user or "").lower()}:
        raise ConfigError(
            f"the password of {what} is one that everybody tries first: change it there and in {variable}"
        )


# -- other processes on the same database


def check_company(connection: Connection, mine: str, *, orchestrator: bool) -> Finding:
    """Raises ServiceError when an orchestrator of another version is at work."""
    masters = workers.alive(connection, orchestrators=True)
    what = "orchestrator" if orchestrator else "worker"
    for other in _of_other_version(masters, mine):
        raise ServiceError(
            f"this {what} is {mine}, the orchestrator on {other.host} is {other.version}: install the same version on "
            f"both (one that was killed counts for another {SILENT_S} s)"
        )
    strangers = _of_other_version(workers.alive(connection), mine) if orchestrator else []
    warnings = [f"worker {row.id} is {row.version}, this orchestrator is {mine}: restart it" for row in strangers]
    return Finding(said=f"all of version {mine}" if not warnings else "mixed versions", warnings=tuple(warnings))


def check_ears(engine: Engine, url: str, limiter: str | None = None, *, patience_s: float = MARKED_AGAIN_S) -> None:
    """Whether these servers are those of the orchestrators: see `estranged`.

    Raises:
        ServiceError: they are not, for as long as it takes to put a mark back after a wipe.
    """
    until = time.monotonic() + patience_s
    while cause := estranged(engine, url, limiter):
        if time.monotonic() >= until:
            raise ServiceError(cause)
        time.sleep(0.5)


def estranged(engine: Engine, url: str, limiter: str | None = None) -> str | None:
    """Why a worker with this broker, and with its limits on that server, does not work with the orchestrators.

    Each of them keeps a key of its own in its broker, and another in the server of its limiter. None where one of those
    is here, or where no orchestrator that lives has any. Raises what a database or a server that is away raises.
    """
    with engine.connect() as connection:
        hosts = {one.mark: one.host for one in workers.alive(connection, orchestrators=True) if one.mark}
    if not hosts:
        return None
    by_rabbit, host = rabbit.is_one(url), next(iter(hosts.values()))
    if not (rabbit.knows(url, hosts) if by_rabbit else broker.knows(url, hosts)):
        named = BROKER if by_rabbit or limiter not in (None, url) else REDIS
        server = rabbit.server_of(url) if by_rabbit else broker.server_of(url, named)
        return (
            f"this worker hears the broker at {server}, and the orchestrator on {host} sends its hints to another: "
            f"point {named} of both to the same server"
        )
    if limiter is not None and not broker.knows(limiter, map(limits_mark, hosts)):
        return (
            f"this worker has its limits in {broker.server_of(limiter)}, and the orchestrator on {host} names another "
            f"server for them: point {REDIS} of both to the same one"
        )
    return None


def check_fit(connection: Connection, mine: str, schema: str) -> None:
    """Whether a worker that is at work may go on: it was begun for this version of the program and of the schema.

    Raises:
        ServiceError: the database was migrated since, or an orchestrator of another version is at work.
    """
    check_schema(connection, schema)
    check_company(connection, mine, orchestrator=False)


def check_schema(connection: Connection, mine: str) -> None:
    """Whether the database still has the schema that this process was begun for.

    A migration only adds; but whoever does not know of a sum that is kept, or of a column, does not keep it.

    Raises:
        ServiceError: it was migrated since.
    """
    found = current(connection)
    if found != mine:
        raise ServiceError(
            f"the database has schema {found or 'none'} now, and this process was begun for {mine}: "
            "start it again with the version that goes with it"
        )


def _of_other_version(rows: Iterable[WorkerRow], mine: str) -> list[WorkerRow]:
    return [row for row in rows if row.version != mine]
