"""An installation on several hosts: one for database, broker and endpoint, one that thinks, two that work."""

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from db.engine import open_engine
from db.migrate import migrate
from orchestrator.stack import postgres, valkey
from orchestrator.stack.folders import write_private
from orchestrator.stack.postgres_files import places
from tests.e2e.hosts import Host, Program, connected
from tests.e2e.house import CLI, House, environment_of, until

DATABASE, ORCHESTRATOR, WORKERS = "data", "mind", ("hand-1", "hand-2")
_POSTGRES, _VALKEY, _MODEL = 5432, 6379, 8080
_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """`house` sees the database whatever is cut off: by its socket, a file, which no network carries."""

    hosts: Mapping[str, Host]
    programs: Mapping[str, Program]
    house: House
    env: Mapping[str, str]

    def begin(self, *arguments: object) -> Program:
        """A command on the orchestrator's host."""
        name = f"command-{len(self.hosts[ORCHESTRATOR].programs)}"
        return self.hosts[ORCHESTRATOR].start(name, [*CLI, *map(str, arguments)], self.env)

    def stats(self) -> dict[str, Any]:
        """The endpoint's own count."""
        url = f"{self.env['OPENAI_BASE_URL'].removesuffix('/v1')}/stats"
        found: dict[str, Any] = json.loads(self.hosts[DATABASE].ask([sys.executable, "-c", _FETCH, url]))
        return found

    def leased(self, host: str) -> set[int]:
        """Tasks under a lease of this host's worker."""
        query = "SELECT id FROM tasks WHERE state = 'leased' AND worker LIKE :worker"
        return {row.id for row in self.house.sql(query, worker=f"{host}:%")}

    def in_flight(self, host: str) -> int:
        """Calls that this host's worker has announced, and whose answer is not in the ledger."""
        query = """
            SELECT count(DISTINCT (a.task_id, a.key)) FROM attempts a JOIN tasks k ON k.id = a.task_id
            WHERE a.fate = 'open' AND k.worker LIKE :worker
        """
        return int(self.house.number(query, worker=f"{host}:%"))


@contextmanager
def open_fleet(folder: Path, system: Path, *options: str) -> Iterator[Fleet]:
    """`options` go to the endpoint. Raises NoNamespaces."""
    home = folder / "home"
    home.mkdir()
    house = House(home=home, system=system, env={})
    with connected((DATABASE, ORCHESTRATOR, *WORKERS), folder) as hosts:
        data = hosts[DATABASE]
        with environment_of(house):
            database = _start_postgres(data, home)
            broker = _start_valkey(data, home)
            seen = house.at({"INSTRUCTREE_DATABASE_URL": postgres.database_url(home)})
        env = house.at({**_start_model(data, options), "INSTRUCTREE_DATABASE_URL": database}).environment()
        env = {**env, "INSTRUCTREE_REDIS_URL": broker}
        programs = {ORCHESTRATOR: hosts[ORCHESTRATOR].start("orchestrator", [*CLI, "orchestrator"], env)}
        for name in WORKERS:
            programs[name] = hosts[name].start("worker", [*CLI, "worker", "--slots", "2"], env)
        yield Fleet(hosts=hosts, programs=programs, house=seen, env=env)


def _start_postgres(host: Host, home: Path) -> str:
    """The local stack's own server, but on the network, behind a password. Returns its address there, migrated."""
    (home / "logs").mkdir()
    server, where, password = postgres.PostgresServer(home=home), places(home), secrets.token_hex(16)
    server.prepare()
    order, doors = server.order(None), where.base / "pg_hba_network.conf"
    write_private(
        doors,
        "local all all peer map=owner\nhost all all samenet scram-sha-256\n",
        mode=0o644 if where.account else 0o600,
    )
    network = {"listen_addresses": host.address, "port": _POSTGRES, "hba_file": doors}
    argv = [*order.argv, *(word for name, value in network.items() for word in ("-c", f"{name}={value}"))]
    account = (where.account.uid, where.account.gid) if where.account else None
    host.start("postgres", argv, order.env, account=account)
    until(lambda: postgres.answers(home), "PostgreSQL answers")
    local = postgres.database_url(home)
    admin = create_engine(make_url(local).set(username="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"ALTER ROLE instructree PASSWORD '{password}'"))
    admin.dispose()
    engine = open_engine(local)
    migrate(engine)
    engine.dispose()
    return f"postgresql://instructree:{password}@{host.address}:{_POSTGRES}/instructree"


def _start_valkey(host: Host, home: Path) -> str:
    server = valkey.ValkeyServer(home=home)
    server.prepare()
    order = server.order(_VALKEY)
    host.start("valkey", [*order.argv, "--bind", host.address], order.env)
    return valkey.redis_url(home, _VALKEY).replace("127.0.0.1", host.address)


def _start_model(host: Host, options: Sequence[str]) -> dict[str, str]:
    """The variables that point to it."""
    key = secrets.token_hex(16)
    place = ("--host", host.address, "--port", str(_MODEL), "--key", key)
    program = host.start("model", [sys.executable, "-m", "workers.llm.scripted", *place, *options], dict(os.environ))
    url = f"http://{host.address}:{_MODEL}/v1"
    until(lambda: url in program.said(), "the endpoint listens")
    return {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": key, "INSTRUCTREE_ALLOW_HTTP": "1"}
