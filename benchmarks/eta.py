"""How well `status` says when a run will end: real runs on the scripted model, looked at twice a second.

`python -m benchmarks.eta` prints for each kind of run what was said and what was true, and two gates: the error of the
time left at the first tenth of the run, as a share of that time; and the error of the end from there on, as a share of
the whole, in 19 of 20 looks.
"""

import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import runs
from orchestrator.status import status_of
from tests.chaos.jobs import PRICES
from tests.chaos.site import Layout
from tests.chaos.stage import Stage, staged

_LIMIT = 0.2
_EVERY_S = 0.5
_LAYOUT = Layout(orchestrators=1, workers=2, slots=8, faults=("--latency", "400", "--latency-p99", "1200"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of run: its options, and how its command may end."""

    name: str
    seeds: int
    options: Sequence[str]
    good: tuple[int, ...] = (0,)


def _set(**pairs: object) -> tuple[str, ...]:
    return tuple(word for name, value in pairs.items() for word in ("--set", f"{name.replace('__', '.')}={value}"))


CASES = (
    Case(name="idea-mcts", seeds=600, options=("--recipe", "idea-mcts")),
    Case(name="many-trees-at-once", seeds=600, options=("--recipe", "idea-mcts", *_set(trees_at_once=100))),
    Case(name="gradient-front", seeds=300, options=("--recipe", "gradient-front", *_set(search__nodes=16))),
    Case(name="calls-a-tree", seeds=300, options=("--recipe", "paced-front", *_set(search__calls=24))),
    Case(name="capped", seeds=400, options=("--recipe", "idea-mcts", "--max-calls", "4000"), good=(3,)),
    Case(
        name="self-instruct",
        seeds=40,
        options=("--recipe", "self-instruct", *_set(rounds__prompts=8, rounds__target=3000)),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was said at a moment (seconds from the beginning): the middle of the range, if there was one."""

    at_s: float
    left_s: float | None


def watched(stage: Stage, case: Case) -> tuple[list[Look], float]:
    """All looks at a run, and how long it took."""
    stage.jobs.good, stage.jobs.width = case.good, case.seeds
    job = stage.begin(case.name, *case.options)
    stage.until_spent(job, 1)
    looks: list[Look] = []
    begun = time.monotonic()
    while (found := _status(stage, job.name))["status"] == "running":
        low, high = found["eta_s"]["low"], found["eta_s"]["high"]
        looks.append(Look(at_s=time.monotonic() - begun, left_s=None if low is None else (low + high) / 2))
        stage.rest(_EVERY_S)
    total_s = time.monotonic() - begun
    stage.until(lambda: job.over, f"{job.name} has ended")
    return looks, total_s


def _status(stage: Stage, name: str) -> dict[str, Any]:
    with stage.site.engine.connect() as connection:
        run = runs.by_name(connection, name)
        assert run is not None
        return status_of(connection, run)


def judge(case: str, looks: Sequence[Look], total_s: float) -> bool:
    later = [look for look in looks if look.at_s >= total_s / 10]
    known = [look for look in later if look.left_s is not None]
    print(f"{case}: {total_s:.0f} s, known in {len(known)} of {len(later)} looks after the first tenth")
    if not known or known[0] is not later[0]:
        print(f"gate eta_{case} unknown {_LIMIT} short")
        return False
    first = known[0]
    left_s = total_s - first.at_s
    begin = abs((first.left_s or 0.0) - left_s) / left_s
    errors = [abs(look.at_s + (look.left_s or 0.0) - total_s) / total_s for look in known]
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        look = next((look for look in known if look.at_s >= share * total_s), None)
        said = f"{look.left_s:6.1f} s said, {total_s - look.at_s:6.1f} s were left" if look else "nothing said"
        print(f"  at {share:4.0%}: {said}")
    worst = statistics.quantiles(errors, n=20)[-1] if len(errors) > 1 else errors[0]
    return all([gate(f"eta_{case}_at_first_tenth", begin), gate(f"eta_{case}_of_the_end_p95", worst)])


def gate(name: str, value: float) -> bool:
    ok = value <= _LIMIT
    print(f"gate {name} {value:.3f} {_LIMIT} {'ok' if ok else 'short'}", flush=True)
    return ok


def main() -> int:
    parser = ArgumentParser(prog="python -m benchmarks.eta", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], choices=[case.name for case in CASES])
    only = parser.parse_args().only
    held = []
    with tempfile.TemporaryDirectory(prefix="eta-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with staged(folder, _LAYOUT, 1, width=1, options=PRICES) as stage:
            for case in CASES:
                if not only or case.name in only:
                    held.append(judge(case.name, *watched(stage, case)))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
