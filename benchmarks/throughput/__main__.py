"""Calls a second of a whole product run, beside the bare client and, with PEERS=1, its rivals: a table, and gates.

    python -m benchmarks.throughput [--quick] [--peers] [--only ours|bare|peers|scaling]... [--out FOLDER]

Prints progress, then lines `gate NAME VALUE LIMIT ok|short`; exit 1 if one is short, 130 when interrupted. With --quick
it measures a few cells for seconds each, and writes nothing unless told where.
"""

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.page import conditions
from benchmarks.throughput import bare, ours, peers, report
from benchmarks.throughput.figures import BARE, ENDPOINT, Cell, Measured
from benchmarks.throughput.gates import all_gates
from benchmarks.throughput.ours import Times
from benchmarks.throughput.processes import Family, cpu_s, end_on_signals
from benchmarks.throughput.site import ROOT, Failed, Site, clean_environment, open_endpoint, servers

DOCS = ROOT / "docs" / "benchmarks"
PARTS = ("ours", "bare", "peers", "scaling")
SLOTS, WORKERS, LATENCIES_S = (64, 128), (1, 2, 4), (0.1, 0.2, 1.0)
TARGET, MINUTE = Cell(workers=2, slots=64, latency_s=0.1), Cell(workers=1, slots=128, latency_s=1.0)
# So few calls a second that two real cores are no limit, even with four workers.
SCALING = tuple(Cell(workers=workers, slots=16, latency_s=1.0) for workers in (1, 2, 4))
Say = Callable[[str], None]


def parse() -> Namespace:
    parser = ArgumentParser(prog="benchmarks.throughput", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a few cells, a few seconds each")
    parser.add_argument(
        "--peers", action="store_true", default=os.environ.get("PEERS") == "1", help="Data Designer and distilabel too"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given again")
    parser.add_argument("--out", type=Path, help=f"folder of throughput.md [{DOCS}]")
    options = parser.parse_args()
    wanted = options.only or [part for part in PARTS if part != "peers" or options.peers]
    options.parts = tuple(wanted)
    return options


def speaker() -> Say:
    begun = time.monotonic()
    return lambda line: print(f"{time.monotonic() - begun:6.0f} s  {line}", flush=True)


def cells(quick: bool) -> list[tuple[Cell, Times]]:
    """Ours, with how long each is measured."""
    if quick:
        return [(TARGET, Times(warm_s=5, measured_s=10)), (MINUTE, Times(warm_s=8, measured_s=10))]
    listed = [Cell(workers=w, slots=s, latency_s=x) for s in SLOTS for w in WORKERS for x in LATENCIES_S]
    long = {MINUTE: 60.0, TARGET: 30.0}
    return [(cell, Times(warm_s=4 + 3 * cell.latency_s, measured_s=long.get(cell, 8.0))) for cell in listed]


def measure_ours(site: Site, quick: bool, say: Say) -> Iterator[Measured]:
    for number, (cell, times) in enumerate(cells(quick), start=1):
        yield told(ours.measure(site, cell, times, f"bench-{number}"), say)


def measure_scaling(site: Site, quick: bool, say: Say) -> Iterator[Measured]:
    times = Times(warm_s=8, measured_s=10 if quick else 15)
    for cell in SCALING:
        yield told(ours.measure(site, cell, times, f"scaling-{cell.workers}"), say)


def measure_bare(site: Site, quick: bool, say: Say) -> Iterator[Measured]:
    for slots in SLOTS:
        for latency_s in LATENCIES_S[:1] if quick else LATENCIES_S:
            cell = Cell(workers=1, slots=slots, latency_s=latency_s)
            yield told(_bare(site, cell, 4.0 if quick else 6.0), say)


def _bare(site: Site, cell: Cell, seconds: float) -> Measured:
    folder = site.folder / f"bare-{cell.slots}-{cell.latency_s:g}"
    folder.mkdir()
    with Family(folder) as family:
        endpoint = open_endpoint(family, cell.latency_s)
        arguments = (endpoint.base_url, str(cell.slots), "2", str(seconds))
        before = cpu_s([endpoint.program.process.pid])
        program = family.start("bare", (sys.executable, "-m", bare.__name__, *arguments), clean_environment())
        program.process.wait(seconds + 60)
        if program.process.returncode:
            raise Failed(f"the bare client has died: {program.said()}")
        told = json.loads(program.said())
        calls = endpoint.count()[0]
        spent = (cpu_s([endpoint.program.process.pid]) - before) * told["calls"] / max(calls, 1)
    return Measured(
        system=BARE,
        cell=cell,
        seconds=told["seconds"],
        calls=told["calls"],
        cpu_s={"client": told["cpu_s"], ENDPOINT: spent},
        worker_bytes=told["bytes"],
    )


def measure_peers(site: Site, quick: bool, say: Say) -> Iterator[Measured]:
    for number, peer in enumerate(peers.PEERS):
        python = peers.installed(peer, say)
        records = (800 if quick else 3000) // peer.calls
        yield told(peers.measure(peer, python, site.folder / f"peer-{number}", TARGET.latency_s, records), say)


def told(one: Measured, say: Say) -> Measured:
    """Says what was measured."""
    where = f"{one.cell.workers} x {one.cell.slots} slots, {one.cell.latency_s:g} s"
    memory = f", {one.worker_bytes / 1e6:.0f} MB" if one.worker_bytes else ""
    say(
        f"{one.system}, {where}: {one.rate:.0f} calls/s, slots {one.use:.0%} busy, {one.own_ms:.2f} ms CPU a call "
        f"+ {one.ms(ENDPOINT):.2f} of the endpoint{memory}"
    )
    return one


def measured(options: Namespace, say: Say) -> tuple[list[Measured], list[Measured]]:
    """All parts that are wanted, and the workers on simulated cores by themselves."""
    found: list[Measured] = []
    scaling: list[Measured] = []
    with servers(say) as site:
        for part, into, how in (
            ("bare", found, measure_bare),
            ("ours", found, measure_ours),
            ("peers", found, measure_peers),
            ("scaling", scaling, measure_scaling),
        ):
            if part in options.parts:
                into.extend(how(site, options.quick, say))
    return found, scaling


def main() -> int:
    options = parse()
    end_on_signals()
    made_on = conditions() + (" A short round (`--quick`): figures of a few seconds each." if options.quick else "")
    say = speaker()
    try:
        found, scaling = measured(options, say)
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        return 130
    except (Failed, subprocess.SubprocessError) as error:
        print(f"benchmarks.throughput: {error}", file=sys.stderr)
        return 1
    gates = all_gates(found, scaling)
    out = options.out or (None if options.quick or options.only else DOCS)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        path = out / "throughput.md"
        path.write_text(report.page(found, scaling, gates, made_on), encoding="utf-8")
        print(f"written {path}")
    for gate in gates:
        print(gate)
    return 0 if all(gate.holds for gate in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
