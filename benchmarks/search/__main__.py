"""Search policies on landscapes with a known optimum, at equal calls: tables, pictures, gates.

    python -m benchmarks.search [--seeds 200] [--quick] [--processes 2] [--out docs/benchmarks]

SEEDS in the environment sets the seeds, too. Prints progress, then lines `gate NAME VALUE LIMIT ok|short`; exit 1 if
one is short. With --quick it runs fewer budgets and writes nothing unless told where.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from itertools import chain
from pathlib import Path

from benchmarks.search import cases, cost, report
from benchmarks.search.gates import FLYING, all_gates
from benchmarks.search.players import TREEQUEST

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"


def parse() -> Namespace:
    parser = ArgumentParser(prog="benchmarks.search", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=os.environ.get("SEEDS") or "200", help="at least 2")
    parser.add_argument("--quick", action="store_true", help="fewer budgets and numbers in flight, no TreeQuest")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help=f"folder of search.md and its pictures [{DOCS}]")
    options = parser.parse_args()
    if options.seeds < 2 or options.processes < 1:
        parser.error("--seeds must be at least 2 and --processes at least 1")
    return options


def wanted(quick: bool) -> set[cases.Case]:
    """All cases of all tables; one that stands in several is run once."""
    if quick:
        some = chain(cases.equal_calls((64, 256)), cases.corrections((1, 8, 32)), cases.busy(((256, 8), (256, 32))))
        return {case for case in some if case.player not in TREEQUEST}
    return {
        *cases.equal_calls((32, 64, 128, 256, 512)),
        *cases.corrections(cases.IN_FLIGHT),
        *cases.busy(cases.BUSY),
        *cases.ordered(cases.WINDOWS),
    }


def main() -> int:
    options = parse()
    costs = {name: cost.measure(name) for name in cost.MEASURED}
    results = cases.run(wanted(options.quick), seeds=options.seeds, processes=options.processes)
    closer = cases.run(cases.closely(tuple(FLYING)), seeds=cases.CLOSER * options.seeds, processes=options.processes)
    gates = all_gates(results, closer, costs)
    out = options.out or (None if options.quick else DOCS)
    if out:
        for path in report.write(out, results, costs, gates, options.seeds):
            print(f"written {path}")
    for gate in gates:
        print(gate)
    return 0 if all(gate.holds for gate in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
