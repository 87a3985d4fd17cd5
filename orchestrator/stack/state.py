"""What the stack remembers between commands: `stack.json` (which processes, which ports) and the lock around changes.

No secret is in it. A state that cannot be read counts as none: what still runs is then found by its mark and replaced.
"""

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from db.errors import ServiceError
from orchestrator.stack.folders import write_private
from orchestrator.stack.process import Process, alive

Say = Callable[[str], None]
Kind = Literal["postgres", "valkey", "model", "program"]
_LOCK_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of the stack. `port` may be None; `fingerprint` changes with anything it was started with."""

    name: str
    kind: Kind
    pid: int
    born: str
    port: int | None
    fingerprint: str
    log: str

    @property
    def process(self) -> Process:
        return Process(self.pid, self.born)

    @property
    def running(self) -> bool:
        return alive(self.process)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`ports` outlives the services, so that a restarted server is found where running workers look for it."""

    salt: str
    ports: Mapping[str, int] = field(default_factory=dict)
    services: tuple[Service, ...] = ()


_ADAPTER = TypeAdapter(State)


def read_state(home: Path) -> State | None:
    try:
        return _ADAPTER.validate_json((home / "stack.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


class Book:
    """The state while its lock is held. Every change is on disk before the call returns."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = read_state(home) or State(salt=secrets.token_hex(16))

    def get(self, name: str) -> Service | None:
        return next((service for service in self.state.services if service.name == name), None)

    def put(self, service: Service) -> None:
        others = tuple(known for known in self.state.services if known.name != service.name)
        ports = dict(self.state.ports)
        if service.port is not None:
            ports[service.name] = service.port
        self._save(replace(self.state, ports=ports, services=(*others, service)))

    def remove(self, names: set[str]) -> None:
        self._save(replace(self.state, services=tuple(s for s in self.state.services if s.name not in names)))

    def fingerprint(self, *parts: str) -> str:
        """A keyed digest: says whether the parts changed, and nothing else about them, secrets included."""
        digest = hashlib.blake2b(key=self.state.salt.encode(), digest_size=16)
        for part in parts:
            text = os.fsencode(part)
            digest.update(len(text).to_bytes(8, "big") + text)
        return digest.hexdigest()

    def _save(self, state: State) -> None:
        write_private(self.home / "stack.json", _ADAPTER.dump_json(state, indent=1).decode() + "\n")
        self.state = state


@contextmanager
def opened(home: Path, say: Say) -> Iterator[Book]:
    """The state under its lock: one command at a time changes the stack. The system frees the lock of a killed one."""
    descriptor = os.open(home / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _require_own(descriptor, home)
        _lock(descriptor, home, say)
        _sweep(home)
        yield Book(home)
    finally:
        os.close(descriptor)


def _require_own(descriptor: int, home: Path) -> None:
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        raise ServiceError(
            f"the local stack in {home} belongs to user id {owner}: run instructree as that user, "
            "or set INSTRUCTREE_HOME to a folder of your own"
        )


def _lock(descriptor: int, home: Path, say: Say) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"another instructree command has been changing the local stack in {home} for over "
                    f"{_LOCK_PATIENCE_S:.0f} s: end it, then try again"
                ) from None
        if not said:
            say("waiting for another instructree command that is changing the local stack ...")
            said = True
        time.sleep(0.1)


def _sweep(home: Path) -> None:
    """What a killed command left of a file that it was writing."""
    for leftover in home.glob(".*.new"):
        leftover.unlink(missing_ok=True)
