"""The rivals, each in an environment of its own, on their nearest pipeline and at the same endpoint."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.throughput.figures import ENDPOINT, Cell, Measured
from benchmarks.throughput.processes import Family, Program, cpu_s, resident, tree_of
from benchmarks.throughput.site import ROOT, Endpoint, Failed, clean_environment, open_endpoint

ENVIRONMENTS = ROOT / ".build" / "peers"
# Only the calls between these shares of all are timed: neither the start nor the last stragglers count against anybody.
_FROM, _TO = 0.1, 0.9
_PATIENCE_S = 300.0
_KIND = "rival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A rival: how it is installed and run. `width` is its own word for how much it does at once.

    `at_once`: the calls that it may then have in flight, over all of its steps. `calls`: those that one record takes.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    program: str
    width: int
    at_once: int
    calls: int

    @property
    def system(self) -> str:
        return f"{self.name} {self.version}"


def _data_designer(parallel: int) -> Peer:
    return Peer(
        name="Data Designer",
        version="0.9.6",
        packages=("data-designer==0.9.6",),
        program="benchmarks.throughput.peer_data_designer",
        width=parallel,
        at_once=parallel,
        calls=2,
    )


def _distilabel(batch: int) -> Peer:
    return Peer(
        name="distilabel",
        version="1.5.3",
        packages=("distilabel[openai]==1.5.3", "requests"),  # which it imports without naming it
        program="benchmarks.throughput.peer_distilabel",
        width=batch,
        at_once=2 * batch,
        calls=3,
    )


# Widths at which they were found to be fastest, and one beside each.
PEERS = (_data_designer(64), _data_designer(128), _distilabel(64), _distilabel(200))


def installed(peer: Peer, say: Callable[[str], None]) -> Path:
    """The Python of its environment, made when it is not there yet.

    Raises:
        Failed: it cannot be installed here.
    """
    folder = ENVIRONMENTS / peer.name.lower().replace(" ", "-")
    python, done = folder / "bin" / "python", folder / f"installed-{peer.version}"
    if done.exists():
        return python
    say(f"{peer.system} is installed into {folder.relative_to(ROOT)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    commands = ([sys.executable, "-m", "venv", "--clear", str(folder)], [str(python), "-m", "pip", "install", "-q"])
    for command in (commands[0], [*commands[1], *peer.packages]):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise Failed(f"{peer.system} cannot be installed: {ended.stderr.strip().splitlines()[-1][:200]}")
    done.touch()
    return python


def measure(peer: Peer, python: Path, folder: Path, latency_s: float, records: int) -> Measured:
    """Runs its pipeline over so many records.

    Raises:
        Failed: it died, or did not make its calls.
    """
    folder.mkdir()
    cell = Cell(workers=1, slots=peer.at_once, latency_s=latency_s)
    with Family(folder) as family:
        endpoint = open_endpoint(family, latency_s)
        arguments = (endpoint.base_url, str(records), str(peer.width), str(folder))
        env = {**clean_environment(), "HF_HUB_OFFLINE": "1", "HOME": str(folder)}
        program = family.start(_KIND, (str(python), "-m", peer.program, *arguments), env)
        return _watched(peer, cell, endpoint, program, peer.calls * records)


def _watched(peer: Peer, cell: Cell, endpoint: Endpoint, program: Program, expected: int) -> Measured:
    calls, cpu, begun = _at(peer, endpoint, program, _FROM * expected)
    ended, later, now = _at(peer, endpoint, program, _TO * expected)
    return Measured(
        system=peer.system,
        cell=cell,
        seconds=now - begun,
        calls=ended - calls,
        cpu_s={kind: later[kind] - cpu[kind] for kind in later},
        worker_bytes=sum(resident([pid]) for pid in tree_of(program.process.pid)),
        note=f"{peer.calls} calls a record, width {peer.width}; memory of all its processes",
    )


def _at(peer: Peer, endpoint: Endpoint, program: Program, wanted: float) -> tuple[int, dict[str, float], float]:
    """The count, the processor seconds and the time when so many calls have been answered."""
    deadline = time.monotonic() + _PATIENCE_S
    while (paid := endpoint.count()[0]) < wanted:
        if not program.alive or time.monotonic() > deadline:
            raise Failed(f"{peer.system} made {paid} of {wanted:.0f} calls: {program.said()}")
        time.sleep(0.05)
    rival = cpu_s(tree_of(program.process.pid), reaped=True)
    return paid, {ENDPOINT: cpu_s([endpoint.program.process.pid]), _KIND: rival}, time.monotonic()
