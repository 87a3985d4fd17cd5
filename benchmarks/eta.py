"""How well `status` says when a run will end: real runs on the scripted model, looked at twice a second.

    python -m benchmarks.eta [--only CASE ...] [--page docs/benchmarks/eta.md]

Prints for each kind of run what was said and what was left at shares of it, and two gates; exit 1 if one is short.
"""

import math
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.page import Gate, conditions, table, table_of
from db import runs
from orchestrator.status import status_of
from tests.chaos.jobs import PRICES
from tests.chaos.site import Layout
from tests.chaos.stage import Stage, staged

_LIMIT = 0.2
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
_HEAD = """# The time that is left

Made by `make bench-eta`, never by hand. {conditions}

Real runs by the command, one orchestrator and two workers of eight slots on the scripted model, which answers in 0.4 s
at the median and 1.2 s at the 99th percentile. `instructree status` is asked twice a second; what it says is the middle
of its range. The first gate is the error at the first tenth of the run, as a share of the time that was left; the
second that of the end from there on, as a share of the whole run, in 19 of 20 looks.

"""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was said of one run. `said`: at shares of it, the seconds that were said and those that were left."""

    case: str
    total_s: float
    known: int
    looks: int
    said: tuple[tuple[float, float | None, float], ...]
    gates: tuple[Gate, ...]

    @property
    def row(self) -> list[str]:
        told = [f"{said:.1f} / {left:.1f}" if said is not None else f"– / {left:.1f}" for _, said, left in self.said]
        return [self.case, f"{self.total_s:.0f}", f"{self.known} of {self.looks}", *told]


def judge(case: str, looks: Sequence[Look], total_s: float) -> Judged:
    later = [look for look in looks if look.at_s >= total_s / 10]
    known = [look for look in later if look.left_s is not None]
    at_once = bool(known) and known[0] is later[0]
    begin, end = _errors(known, total_s) if at_once else (math.inf, math.inf)
    return Judged(
        case=case,
        total_s=total_s,
        known=len(known),
        looks=len(later),
        said=tuple((share, *_said(later, share, total_s)) for share in _SHARES),
        gates=(
            Gate(name=f"eta_{case}_at_first_tenth", value=begin, limit=_LIMIT),
            Gate(name=f"eta_{case}_of_the_end_p95", value=end, limit=_LIMIT),
        ),
    )


def _errors(known: Sequence[Look], total_s: float) -> tuple[float, float]:
    """Of the first look, as a share of the time left; of the end, in 19 of 20 looks, as a share of the whole."""
    errors = [abs(look.at_s + (look.left_s or 0.0) - total_s) / total_s for look in known]
    begin = errors[0] * total_s / (total_s - known[0].at_s)
    return begin, statistics.quantiles(errors, n=20)[-1] if len(errors) > 1 else errors[0]


def _said(later: Sequence[Look], share: float, total_s: float) -> tuple[float | None, float]:
    look = next(look for look in later if look.at_s >= share * total_s)
    return look.left_s, total_s - look.at_s


def page(found: Sequence[Judged], about: str) -> str:
    """What is written to docs/benchmarks/eta.md."""
    gates = [gate for one in found for gate in one.gates]
    shares = [f"at {share:.0%}" for share in _SHARES]
    return "".join(
        [
            _HEAD.format(conditions=about),
            "## Gates\n\n" + table_of(gates),
            "\n## What was said and what was left, in seconds\n\n",
            table(("run", "took s", "known", *shares), [one.row for one in found]),
        ]
    )


def measured(cases: Sequence[Case]) -> Iterator[Judged]:
    with tempfile.TemporaryDirectory(prefix="eta-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with staged(folder, _LAYOUT, 1, width=1, options=PRICES) as stage:
            for case in cases:
                yield judge(case.name, *watched(stage, case))


def main() -> int:
    parser = ArgumentParser(prog="python -m benchmarks.eta", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], choices=[case.name for case in CASES])
    parser.add_argument("--page", type=Path, help="where the figures go")
    options = parser.parse_args()
    about = conditions()
    found = []
    for one in measured([case for case in CASES if not options.only or case.name in options.only]):
        found.append(one)
        print(*one.row, *one.gates, sep="\n", flush=True)
    if options.page:
        options.page.write_text(page(found, about), encoding="utf-8")
    return 0 if all(gate.holds for one in found for gate in one.gates) else 1


if __name__ == "__main__":
    sys.exit(main())
