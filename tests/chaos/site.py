"""A whole installation that can be hit anywhere: servers, orchestrators, workers and a faulty endpoint as processes."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import open_engine
from db.migrate import migrate
from orchestrator import stack
from orchestrator.stack.ports import free_port
from orchestrator.stack.postgres_files import places
from orchestrator.stack.process import strays
from tests.chaos.programs import Part, Program, Supervisor
from tests.e2e.house import CLI, House

# Calls announced and not yet answered.
IN_FLIGHT = """
    SELECT count(DISTINCT (a.task_id, a.key)) FROM attempts a JOIN tasks k ON k.id = a.task_id
    WHERE a.fate = 'open' AND k.state = 'leased' AND k.worker LIKE :worker
"""
KEY = "chaos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many of each, and what goes wrong inside: options of the endpoint, INSTRUCTREE_CHAOS of the programs.

    `pause_s`: between these bounds lies the time until what died is started again. `environment`: the programs' own.
    """

    orchestrators: int = 2
    workers: int = 3
    slots: int = 8
    faults: Sequence[str] = ()
    chaos: str = ""
    pause_s: tuple[float, float] = (0.2, 2.0)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Site:
    """Everything in one folder. Every program is started again when it dies; the servers by `restart`."""

    folder: Path
    layout: Layout
    seed: int
    house: House
    supervisor: Supervisor
    port: int
    servers: stack.Stack
    engine: Engine
    metrics: list[int] = field(default_factory=list)

    @property
    def programs(self) -> list[Program]:
        return self.supervisor.programs

    @property
    def endpoint(self) -> Program:
        return next(p for p in self.programs if p.part is Part.ENDPOINT)

    def stats(self) -> dict[str, Any]:
        """The endpoint's own count. Raises OSError while it is away."""
        return stats_of(self.port)

    def stats_known(self) -> bool:
        try:
            return bool(self.stats())
        except OSError:
            return False

    def told(self) -> list[str]:
        """What each orchestrator tells Prometheus. Raises OSError while one is away."""
        pages = []
        for port in self.metrics:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                pages.append(answer.read().decode())
        return pages

    def number(self, query: str, **values: object) -> int | None:
        """One value from the database, None while it is away."""
        with suppress(SQLAlchemyError), self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar_one()
        return None

    def in_flight(self, worker: Program | None = None) -> int:
        """Calls announced and not yet answered in the database, of one worker or of all; 0 while it is away."""
        return self.number(IN_FLIGHT, worker=f"%:{worker.pid}:%" if worker else "%") or 0

    def asked(self) -> int:
        """Calls that the endpoint has in hand; 0 while it is away."""
        try:
            return 0 if self.endpoint.paused else int(self.stats()["in_flight"])
        except OSError:
            return 0

    def server_pids(self, part: Part) -> list[int]:
        """The server and its children, the server first."""
        home = Path(os.environ["INSTRUCTREE_HOME"])
        data = places(home).data if part is Part.POSTGRES else None
        mine = strays(home, names=[part.value], server=data).get(part.value, [])
        return sorted(process.pid for process in mine)

    def signal_server(self, part: Part, sign: signal.Signals) -> int:
        """Sends it to all processes of a server; returns to how many. After SIGKILL all of them are gone."""
        pids = self.server_pids(part)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        if sign is signal.SIGKILL:
            gone = time.monotonic() + 10
            while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < gone:
                time.sleep(0.01)
        return len(pids)

    def restart(self, part: Part) -> None:
        """Brings a server up again on its data and its port; returns when it answers."""
        needs = stack.Needs(postgres=part is Part.POSTGRES, valkey=part is Part.VALKEY, models=())
        stack.ensure_services(needs)

    def close(self) -> None:
        self.supervisor.close()
        self.engine.dispose()
        for part in (Part.POSTGRES, Part.VALKEY):
            self.signal_server(part, signal.SIGCONT)
        stack.down()


def open_site(folder: Path, layout: Layout, seed: int) -> Site:
    """Servers with a fresh database, then the endpoint, then orchestrators and workers."""
    (folder / "logs").mkdir()
    (folder / "system").mkdir(mode=0o755)
    house = House(home=folder / "home", system=folder / "system", env={})
    environment = house.environment()
    os.environ.clear()
    os.environ.update(environment)
    servers = stack.ensure_services(stack.Needs(models=()))
    assert servers.database_url and servers.redis_url
    engine = open_engine(servers.database_url, pool_size=3)
    migrate(engine)
    port = free_port(None)
    addresses = {
        "INSTRUCTREE_DATABASE_URL": servers.database_url,
        "INSTRUCTREE_REDIS_URL": servers.redis_url,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": KEY,
    }
    site = Site(
        folder=folder,
        layout=layout,
        seed=seed,
        house=house.at(addresses),
        supervisor=Supervisor(chance=Random(f"{seed}:pauses"), pause_s=layout.pause_s),
        port=port,
        servers=servers,
        engine=engine,
    )
    _start_programs(site)
    return site


def _start_programs(site: Site) -> None:
    layout, house = site.layout, site.house.at({"INSTRUCTREE_CHAOS": site.layout.chaos, **site.layout.environment})
    argv = endpoint_argv(site.port, site.seed, site.folder / "endpoint.journal", layout.faults)
    add_program(site, "endpoint", Part.ENDPOINT, argv, house)
    for number in range(1, layout.orchestrators + 1):
        site.metrics.append(free_port(None))
        command = (*CLI, "orchestrator", "--metrics", str(site.metrics[-1]))
        add_program(site, f"orchestrator-{number}", Part.ORCHESTRATOR, command, house)
    for number in range(1, layout.workers + 1):
        command = (*CLI, "worker", "--slots", str(layout.slots))
        add_program(site, f"worker-{number}", Part.WORKER, command, house)


def endpoint_argv(port: int, seed: int, journal: Path, options: Sequence[str]) -> tuple[str, ...]:
    """It comes back on its port with its count."""
    module = (sys.executable, "-m", "workers.llm.scripted", "--port", str(port), "--key", KEY)
    return (*module, "--seed", str(seed), "--journal", str(journal), *options)


def stats_of(port: int) -> dict[str, Any]:
    """The endpoint's own count. Raises OSError while it is away."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=2) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def add_program(site: Site, name: str, part: Part, argv: Sequence[str], house: House) -> Program:
    log = site.folder / "logs" / f"{name}.log"
    return site.supervisor.add(Program(name=name, part=part, argv=argv, env=house.environment(), log=log))
