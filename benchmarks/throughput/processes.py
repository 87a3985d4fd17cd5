"""Processes that are started for a measurement: what they cost, and that none of them outlives it."""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

import psutil

_GRACE_S = 10.0


@dataclass(slots=True, kw_only=True)
class Program:
    """A process in a group of its own, of a kind by which its costs are counted."""

    kind: str
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"

    def signal(self, sign: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, sign)


@dataclass(slots=True)
class Family:
    """All processes of one measurement; leaving the context ends them, whatever happened in it."""

    folder: Path
    programs: list[Program] = field(default_factory=list)

    def start(self, kind: str, argv: Sequence[str], env: Mapping[str, str]) -> Program:
        log = self.folder / f"{kind}-{len(self.programs)}.log"
        with log.open("wb") as told:
            process = subprocess.Popen(
                argv,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )
        program = Program(kind=kind, log=log, process=process)
        self.programs.append(program)
        return program

    def of(self, kind: str) -> list[Program]:
        return [program for program in self.programs if program.kind == kind]

    def __enter__(self) -> "Family":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self.programs)


def end(programs: Iterable[Program]) -> None:
    """SIGTERM to all together, and SIGKILL to the groups of those that take too long."""
    programs = list(programs)
    for program in programs:
        program.signal(signal.SIGTERM)
    for program in programs:
        with suppress(subprocess.TimeoutExpired):
            program.process.wait(_GRACE_S)
        program.signal(signal.SIGKILL)
        program.process.wait()


def cpu_s(pids: Iterable[int], *, reaped: bool = False) -> float:
    """Processor seconds of living processes so far; `reaped` adds those of their children that have ended."""
    total = 0.0
    for pid in pids:
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
            if reaped:
                total += times.children_user + times.children_system
    return total


def tree_of(pid: int) -> list[int]:
    """A process and all its living descendants."""
    with suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def resident(pids: Iterable[int]) -> int:
    """Bytes of resident memory of the largest of them."""
    found = [0]
    for pid in pids:
        with suppress(psutil.Error):
            found.append(psutil.Process(pid).memory_info().rss)
    return max(found)


def end_on_signals() -> None:
    """Ctrl-C and SIGTERM end us once, so that what we started is ended too; a second one does not stop that."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)
        raise KeyboardInterrupt

    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, interrupted)
