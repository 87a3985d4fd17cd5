"""Machines without machines: each a network namespace with its own address and host name, all on one switch.

The switch is a bridge in a namespace of its own, so nothing of the real machine's network is touched or reached. A host
is cut off by taking its port on the switch down: no FIN, no RST, no ICMP; what it sends and what is sent to it is gone.
"""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "instructree-test"
# Private, and known to nobody but the switch.
_NETWORK = "10.231.7"
_PATIENCE_S = 8.0
# The host's name is part of what registers itself; a program keeps its process id through all of these.
_INSIDE = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"')


class NoNamespaces(Exception):
    """They cannot be made here; the text says why."""


@dataclass(slots=True, kw_only=True)
class Program:
    """A process on a host, and where its output goes."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ended(self, patience_s: float) -> int:
        return self.process.wait(patience_s)

    def stop(self) -> None:
        """As Ctrl-C would, and then for good."""
        if self.alive:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(slots=True, kw_only=True)
class Host:
    """One machine. `name` is its host name, `address` the one that the others reach it at."""

    name: str
    address: str
    namespace: str
    switch: str
    folder: Path
    programs: list[Program] = field(default_factory=list)

    def start(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], *, account: tuple[int, int] | None = None
    ) -> Program:
        """A process there, as this user (uid, gid) if not as ours."""
        log = self.folder / f"{self.name}-{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                self._command(argv, account),
                env={**env, "PATH": f"{env.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
                cwd="/" if account else self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        program = Program(process=process, log=log)
        self.programs.append(program)
        return program

    def ask(self, argv: Sequence[str]) -> str:
        """The output of a command there."""
        done = subprocess.run(self._command(argv, None), capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def _command(self, argv: Sequence[str], account: tuple[int, int] | None) -> list[str]:
        user = ("setpriv", f"--reuid={account[0]}", f"--regid={account[1]}", "--clear-groups") if account else ()
        return ["ip", "netns", "exec", self.namespace, *_INSIDE, self.name, *user, *argv]

    def cut(self) -> None:
        _ip("-n", self.switch, "link", "set", self.name, "down")

    def mend(self) -> None:
        _ip("-n", self.switch, "link", "set", self.name, "up")

    def close(self) -> None:
        for program in reversed(self.programs):
            program.stop()
        for pid in _ip("netns", "pids", self.namespace).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@contextmanager
def connected(names: Sequence[str], folder: Path) -> Iterator[dict[str, Host]]:
    """Hosts of these names (at most eight letters each) on one switch, gone at the end with all that runs on them.

    Raises:
        NoNamespaces: this machine does not let us.
    """
    _check()
    _remove_abandoned()
    mark = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(2)}"
    switch = f"{mark}-switch"
    hosts: dict[str, Host] = {}
    with ExitStack() as at_the_end:
        at_the_end.callback(_remove, mark)
        _make_switch(switch)
        for number, name in enumerate(names, start=1):
            address = f"{_NETWORK}.{number}"
            hosts[name] = Host(name=name, address=address, namespace=f"{mark}-{name}", switch=switch, folder=folder)
            _plug_in(hosts[name])
        for name in names:
            at_the_end.callback(hosts[name].close)
        yield hosts


def _check() -> None:
    if os.geteuid() != 0:
        raise NoNamespaces("only root makes network namespaces")
    for program in ("ip", "unshare", "setpriv", "hostname"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise NoNamespaces(f"{program} is not installed")


def _make_switch(switch: str) -> None:
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
    except subprocess.CalledProcessError as error:
        raise NoNamespaces(f"network namespaces cannot be made here: {error.stderr.strip()}") from None
    _ip("-n", switch, "link", "set", "switch", "up")


def _plug_in(host: Host) -> None:
    _ip("netns", "add", host.namespace)
    _ip("-n", host.switch, "link", "add", host.name, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
    _ip("-n", host.switch, "link", "set", host.name, "master", "switch", "up")
    _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", host.namespace, "link", "set", device, "up")


def _remove_abandoned() -> None:
    """What a killed session left: its namespaces, and the processes in them."""
    for name in _namespaces():
        pid = name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _remove(name)


def _remove(mark: str) -> None:
    for name in _namespaces():
        if name.startswith(mark):
            for pid in _ip("netns", "pids", name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "delete", name)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(f"{PREFIX}-")]


def _ip(*arguments: str) -> str:
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    return subprocess.run(["ip", *arguments], env=env, capture_output=True, text=True, check=True).stdout
