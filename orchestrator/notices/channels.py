"""The ways in which this machine can tell somebody something. What they are is known to its environment only."""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self
from urllib.parse import urlsplit

from db.broker import is_loopback
from db.environment import ALLOW_HTTP, read
from db.errors import ConfigError, InstructreeError

WEBHOOK = "INSTRUCTREE_WEBHOOK"
COMMAND = "INSTRUCTREE_NOTIFY_COMMAND"
STALL = "INSTRUCTREE_STALL_MINUTES"
VARIABLES = (WEBHOOK, f"{WEBHOOK}_FILE", COMMAND, STALL)
# For what is away or served by nobody: a task in hand is waited for until its own deadline, which is later.
_STALL_MINUTES = 15.0
ANSWER_S = 10.0
COMMAND_S = 30.0


class Untold(InstructreeError):
    """A notice did not arrive. The message names no address: it goes into a row and a log."""


class Channel(Protocol):
    """`name` is its name in the rows; `place` is what a log or a page may say of it."""

    name: ClassVar[str]

    @property
    def place(self) -> str: ...

    def tell(self, body: bytes) -> None:
        """Raises Untold, within the channel's own time-out, when the body did not arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that takes a POST. It may hold a secret, so no text made of this object shows more than the host."""

    name: ClassVar[str] = "webhook"
    url: str = field(repr=False)
    host: str
    answer_s: float = ANSWER_S

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str]) -> Self:
        """Raises ConfigError, which never quotes the address, when it is none, or would be sent in the clear."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isprintable() or " " in url:
            raise ConfigError(f"{WEBHOOK} is no address: expected something like https://host/path")
        if parts.scheme == "http" and not is_loopback(host) and environment.get(ALLOW_HTTP) != "1":
            raise ConfigError(
                f"{WEBHOOK}: plain http to {host} can be read on the way; use https, or set {ALLOW_HTTP}=1 on a "
                "network you trust"
            )
        return cls(url=url, host=host)

    @property
    def place(self) -> str:
        return f"webhook at {self.host}"

    def tell(self, body: bytes) -> None:
        import aiohttp  # here, because few orchestrators have a webhook

        try:
            status = asyncio.run(self._post(body))
        except TimeoutError:
            raise Untold(f"no answer within {self.answer_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Untold(f"cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise Untold(f"answered {status}" + (", and redirects are not followed" if 300 <= status < 400 else ""))

    async def _post(self, body: bytes) -> int:
        """The status of the answer; what else it says is not read."""
        import aiohttp

        limit = aiohttp.ClientTimeout(total=self.answer_s)
        headers = {"Content-Type": "application/json", "User-Agent": "instructree"}
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(self.url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program of this machine, started without a shell. Its arguments may hold a secret; its name is said."""

    name: ClassVar[str] = "command"
    arguments: tuple[str, ...] = field(repr=False)
    patience_s: float = COMMAND_S

    @classmethod
    def of(cls, line: str) -> Self:
        """Raises ConfigError when it cannot be taken apart, or there is no such program."""
        try:
            arguments = tuple(shlex.split(line))
        except ValueError as error:
            raise ConfigError(f"{COMMAND} cannot be taken apart: {error}") from None
        if not arguments or shutil.which(arguments[0]) is None:
            what = repr(arguments[0]) if arguments else "nothing"
            raise ConfigError(f"{COMMAND}: {what} is no program here: name one with its arguments, as without a shell")
        return cls(arguments=arguments)

    @property
    def place(self) -> str:
        return f"command {os.path.basename(self.arguments[0])}"

    def tell(self, body: bytes) -> None:
        try:
            running = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Untold(f"cannot be started ({type(error).__name__})") from None
        try:
            running.communicate(body, timeout=self.patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # nobody has waited for it yet, so its group is there
            running.wait()
            raise Untold(f"took longer than {self.patience_s:g} s and was killed") from None
        if running.returncode:
            raise Untold(f"ended with code {running.returncode}")


def channels(environment: Mapping[str, str]) -> list[Channel]:
    """Those that this environment names. Raises ConfigError for one that cannot work."""
    found: list[Channel] = []
    if url := read(WEBHOOK, environment):
        found.append(Webhook.of(url.strip(), environment))
    if line := read(COMMAND, environment):
        found.append(Command.of(line))
    return found


def stall_s(environment: Mapping[str, str]) -> float | None:
    """After how many seconds without a task's ending a run has stalled; None: never. Raises ConfigError.

    An endpoint is down after a share of that (`orchestrator.outages`).
    """
    given = environment.get(STALL) or f"{_STALL_MINUTES}"
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1
    if not 0 <= minutes <= 10_000:
        raise ConfigError(f"{STALL}={given!r}: expected minutes, such as {_STALL_MINUTES:g}; 0 for never")
    return minutes * 60 or None
