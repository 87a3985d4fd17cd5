"""What is run: cases, each a player on a landscape for so many calls, and their results over seeds."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import mean, stdev

from benchmarks.search.arena import Growth, grow, judged, regret
from benchmarks.search.estimate import estimated
from benchmarks.search.landscapes import NAMES, World, world
from benchmarks.search.players import (
    ANYTIME,
    CORRECTIONS,
    DEFAULT,
    EVERYONE,
    FRONT,
    HAS_TREEQUEST,
    PLAYERS,
    TREEQUEST,
    UCT,
    Terms,
)

FIRST_SEED = 1000
CHUNK = 10
# AB-MCTS-A takes milliseconds a call: fewer seeds, and none of the longest trees.
SLOW = frozenset({"TreeQuest AB-MCTS-A"})
SLOW_SEEDS, SLOW_CALLS = 40, 256
IN_FLIGHT = (1, 4, 8, 16, 32, 64)
# policies.md, section 4.
# The default on these, where its losses to work under way are gates; so many times the seeds, for the error of such a
# ratio at 200 seeds, .02, is too wide for them.
CLOSELY = ("D", "N")
CLOSER = 4
BUSY = ((32, 4), (64, 4), (64, 8), (128, 8), (128, 16), (256, 8), (256, 16), (256, 32), (512, 32))
WINDOWS = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    landscape: str
    player: str
    calls: int
    in_flight: int = 1
    window: int | None = None
    latency: str = "mild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One tree: regret of its harvest by judged score and by estimate, simulated seconds, calls that were made."""

    judged: float
    estimate: float
    seconds: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean over seeds and its standard error."""

    mean: float
    error: float


Results = dict[Case, list[Result]]


def figure(values: Sequence[float]) -> Figure:
    return Figure(mean=mean(values), error=stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf)


def paired(one: Sequence[Result], other: Sequence[Result]) -> Figure:
    """one - other by judged score, over the seeds that both have."""
    return figure([a.judged - b.judged for a, b in zip(one, other, strict=False)])


def equal_calls(budgets: Sequence[int]) -> Iterator[Case]:
    """Everyone on every landscape, one call at a time."""
    for calls in budgets:
        for player in (*PLAYERS, *(TREEQUEST if HAS_TREEQUEST else ())):
            if player not in SLOW or calls <= SLOW_CALLS:
                yield from (Case(landscape=name, player=player, calls=calls) for name in (*NAMES, "X"))


def corrections(in_flight: Sequence[int]) -> Iterator[Case]:
    """search.md, 4.2."""
    for flying in in_flight:
        for player in CORRECTIONS:
            yield from (Case(landscape=n, player=player, calls=256, in_flight=flying) for n in ("D", "N"))


def busy(pairs: Iterable[tuple[int, int]]) -> Iterator[Case]:
    """policies.md, section 4: the default and UCT with calls in flight, and one at a time beside it."""
    for calls, flying in pairs:
        for player in (DEFAULT, FRONT, UCT):
            for name in NAMES:
                yield Case(landscape=name, player=player, calls=calls)
                yield Case(landscape=name, player=player, calls=calls, in_flight=flying)


def closely(in_flight: Sequence[int]) -> Iterator[Case]:
    """The default at 256 calls, one at a time and with so many in flight."""
    for flying in (1, *in_flight):
        yield from (Case(landscape=name, player=DEFAULT, calls=256, in_flight=flying) for name in CLOSELY)


def ordered(windows: Sequence[int]) -> Iterator[Case]:
    """search.md, 4.3: eight workers, results committed in order of issue or of arrival."""
    for player in (DEFAULT, UCT):
        for latency in ("mild", "heavy"):
            for window in (None, *windows):
                for name in ("D", "N"):
                    yield Case(landscape=name, player=player, calls=256, in_flight=8, window=window, latency=latency)


def run_together(some: Sequence[Case], seed: int) -> list[Result]:
    """One result for each of the cases, all of which the first and longest has within it."""
    case = some[0]
    tree = world(case.landscape, seed)
    terms = Terms(calls=case.calls, in_flight=case.in_flight, window=case.window)
    player = EVERYONE[case.player](tree, terms)
    grown = grow(tree, player, calls=case.calls, in_flight=case.in_flight, latency=case.latency)
    return [result_of(tree, grown.first(one.calls)) for one in some]


def result_of(tree: World, grown: Growth) -> Result:
    return Result(
        judged=regret(tree, grown, judged),
        estimate=regret(tree, grown, estimated(tree, grown)),
        seconds=grown.seconds,
        calls=len(grown.entries),
    )


Job = tuple[tuple[Case, ...], int, int]


def run_job(job: Job) -> tuple[tuple[Case, ...], list[list[Result]]]:
    some, first, last = job
    return some, [run_together(some, seed) for seed in range(first, last)]


def jobs_of(wanted: Iterable[Case], seeds: int) -> list[Job]:
    """The slowest first, so that the processes end together."""
    together: dict[Case, list[Case]] = {}
    for case in sorted(wanted, key=lambda case: (case.player not in SLOW, -case.calls)):
        shared = case.player in ANYTIME and case.in_flight == 1 and case.window is None
        together.setdefault(replace(case, calls=0) if shared else case, []).append(case)
    return [
        (tuple(some), FIRST_SEED + at, FIRST_SEED + min(at + CHUNK, last))
        for some in together.values()
        for last in [min(seeds, SLOW_SEEDS) if some[0].player in SLOW else seeds]
        for at in range(0, last, CHUNK)
    ]


def run(cases: Iterable[Case], *, seeds: int, processes: int) -> Results:
    """Every case once, on the same seeds; says how far it is about every ten seconds."""
    results: Results = {case: [] for case in cases}
    jobs = jobs_of(results, seeds)
    begun = said = time.monotonic()
    with get_context("spawn").Pool(processes) as pool:
        for done, (some, found) in enumerate(pool.imap(run_job, jobs), 1):
            for of_seed in found:
                for case, result in zip(some, of_seed, strict=True):
                    results[case].append(result)
            if time.monotonic() - said > 10 or done == len(jobs):
                said = time.monotonic()
                print(f"{done} of {len(jobs)} chunks of {len(results)} cases, {said - begun:.0f} s", flush=True)
    return results
