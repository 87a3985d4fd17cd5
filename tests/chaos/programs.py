"""Processes that are killed on purpose and started again: each in a group of its own, each with its log."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random


class Part(StrEnum):
    """What can be hit."""

    WORKER = "worker"
    ORCHESTRATOR = "orchestrator"
    POSTGRES = "postgres"
    VALKEY = "valkey"
    ENDPOINT = "endpoint"


@dataclass(slots=True, kw_only=True)
class Program:
    """One process of ours. `due` is when it is to be started again (monotonic), `starts` how often it was."""

    name: str
    part: Part
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    paused: bool = False
    away: bool = False
    due: float | None = None
    starts: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1
        self.due, self.paused = None, False

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, sign: signal.Signals) -> None:
        """To all of its group; SIGKILL is waited for."""
        if self.process is None or not self.alive:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, sign)
        if sign is signal.SIGKILL:
            self.process.wait()

    def end(self) -> None:
        self.away = True
        self.send(signal.SIGKILL)


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Starts again whatever it finds dead, after a pause drawn between two bounds in seconds."""

    chance: Random
    pause_s: tuple[float, float] = (0.2, 2.0)
    programs: list[Program] = field(default_factory=list)

    def add(self, program: Program) -> Program:
        self.programs.append(program)
        program.start()
        return program

    def look(self, now: float) -> None:
        for program in self.programs:
            if program.away or program.alive:
                continue
            if program.due is None:
                program.due = now + self.chance.uniform(*self.pause_s)
            elif now >= program.due:
                program.start()

    def of(self, part: Part) -> list[Program]:
        """Those of a part that run, neither dead nor paused."""
        return [p for p in self.programs if p.part is part and p.alive and not p.paused]

    def close(self) -> None:
        for program in self.programs:
            program.end()
