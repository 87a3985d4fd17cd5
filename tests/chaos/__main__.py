"""`python -m tests.chaos`: a real run under faults made by a seeded plan; then the laws. Exit code 1: one is broken."""

import logging
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import FrameType

import structlog

from tests.chaos import scenarios
from tests.chaos.doubled import doubled
from tests.chaos.rehearsal import rehearsal
from tests.chaos.restarts import restarts
from tests.chaos.soak import soak

SCENARIOS = ("chaos", "pools", "caps", "outage", "restarts", "doubled", "soak", "rehearsal")


def parse() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", choices=SCENARIOS, default="chaos")
    parser.add_argument("--count", type=int, default=20, help="of runs, for restarts")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak, or the rehearsal")
    parser.add_argument("--keep", action="store_true", help="keep the folder whatever comes of it")
    return parser.parse_args()


def play(options: Namespace, folder: Path) -> bool:
    match options.scenario:
        case "pools":
            return scenarios.pools(folder, kills=options.kills, seed=options.seed)
        case "caps":
            return scenarios.caps(folder, kills=options.kills, seed=options.seed)
        case "outage":
            return scenarios.outage(folder, seed=options.seed)
        case "restarts":
            return restarts(folder, count=options.count, seed=options.seed)
        case "doubled":
            return doubled(folder, seed=options.seed)
        case "soak":
            return soak(folder, minutes=options.minutes, seed=options.seed)
        case "rehearsal":
            return rehearsal(folder, minutes=options.minutes, seed=options.seed)
        case _:
            return scenarios.chaos(folder, kills=options.kills, seed=options.seed)


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    options = parse()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    signal.signal(signal.SIGTERM, _stop)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)  # as root PostgreSQL runs as somebody else, who must reach its data
    print(f"{options.scenario}: kills={options.kills} seed={options.seed}, in {folder}", flush=True)
    held = False
    try:
        held = play(options, folder)
    finally:
        if held and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"logs and data are kept in {folder}", file=sys.stderr)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
