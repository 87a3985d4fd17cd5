"""The figures that must hold, each as one line `gate NAME VALUE LIMIT ok|short`.

Ratios are of means over the same seeds, by judged score; `errors` are standard errors of paired differences.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.page import Gate
from benchmarks.search import reference
from benchmarks.search.cases import CLOSELY, Case, Figure, Results, figure, paired
from benchmarks.search.cost import Cost
from benchmarks.search.landscapes import NAMES
from benchmarks.search.players import DEFAULT, TREEQUEST, UCT, UCT_LOW

RIVALS = (UCT_LOW, UCT, "beam 4", "beam 8", "greedy", "chains", "best of n", *TREEQUEST)
NOT_ABOVE = ("beam 4", "beam 8", "greedy", *TREEQUEST)
FAR_ERRORS = 3.0
# By how much regret may grow with so many in flight.
FLYING = {8: 1.05, 32: 1.10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One published figure beside ours. `away`: their difference in standard errors of both."""

    table: str
    place: str
    published: float
    ours: Figure
    away: float


def judged(results: Results, case: Case) -> Figure | None:
    found = results.get(case)
    return figure([one.judged for one in found]) if found else None


def ratio(results: Results, one: Case, other: Case) -> float:
    """Of mean regrets, over the seeds that both have."""
    pairs = list(zip(results[one], results[other], strict=False))
    return fmean(a.judged for a, _ in pairs) / fmean(b.judged for _, b in pairs)


def compared(results: Results) -> list[Cell]:
    """All cells of the tables of policies.md and search.md that were run."""
    places: list[tuple[str, str, float, int, Case]] = []
    for (calls, player, name), value in reference.policies().items():
        case = Case(landscape=name, player=player, calls=calls)
        places.append(("policies.md 3", f"{calls} {player}, {name}", value, reference.SEEDS, case))
    for (calls, player, name), value in reference.rivals().items():
        seeds = 60 if player in TREEQUEST else 200
        case = Case(landscape=name, player=player, calls=calls)
        places.append(("search.md 4.1", f"{calls} {player}, {name}", value, seeds, case))
    for (flying, player, name), value in reference.in_flight().items():
        case = Case(landscape=name, player=player, calls=256, in_flight=flying)
        places.append(("search.md 4.2", f"{flying} in flight, {player}, {name}", value, 300, case))
    return [
        cell_of(table, place, value, seeds, ours, len(results[case]))
        for table, place, value, seeds, case in places
        if (ours := judged(results, case))
    ]


def cell_of(table: str, place: str, published: float, seeds: int, ours: Figure, own_seeds: int) -> Cell:
    """The published error is ours scaled to their seeds, and half a unit of their last digit."""
    error = math.sqrt(ours.error**2 * (1 + own_seeds / seeds) + 0.0005**2)
    return Cell(table=table, place=place, published=published, ours=ours, away=(ours.mean - published) / error)


def all_gates(results: Results, closer: Results, costs: dict[str, Cost]) -> list[Gate]:
    """`closer`: the default's cases with work in flight on a few landscapes, over more seeds."""
    return [*of_tables(results), *at_64(results), *at_256(results), *in_flight(results, closer), *of_cost(costs)]


def of_tables(results: Results) -> Iterator[Gate]:
    cells = compared(results)
    far = sum(abs(cell.away) > FAR_ERRORS for cell in cells)
    yield Gate(name="tables_share_of_cells_beyond_3_errors", value=far / len(cells), limit=0.02)


def at_64(results: Results) -> Iterator[Gate]:
    def at(player: str, name: str) -> Case:
        return Case(landscape=name, player=player, calls=64)

    for name in ("E", "D"):
        for rival, limit in (("chains", 0.80), ("best of n", 0.80), (UCT_LOW, 0.95), (UCT, 0.95)):
            value = ratio(results, at(DEFAULT, name), at(rival, name))
            yield Gate(name=f"64_{name}_of_{slug(rival)}", value=value, limit=limit)
    ours = fmean(one.judged for name in NAMES for one in results[at(DEFAULT, name)])
    for rival in ("chains", "best of n"):
        theirs = fmean(one.judged for name in NAMES for one in results[at(rival, name)])
        yield Gate(name=f"64_mean_of_{slug(rival)}", value=ours / theirs, limit=0.80)
    for rival in NOT_ABOVE:
        if at(rival, "E") in results:
            worst = max(errors_above(results, at(DEFAULT, name), at(rival, name)) for name in NAMES)
            yield Gate(name=f"64_worst_errors_above_{slug(rival)}", value=worst, limit=2.0)


def errors_above(results: Results, one: Case, other: Case) -> float:
    difference = paired(results[one], results[other])
    return difference.mean / difference.error


def at_256(results: Results) -> Iterator[Gate]:
    for name in NAMES:
        ours = Case(landscape=name, player=DEFAULT, calls=256)
        there = [Case(landscape=name, player=rival, calls=256) for rival in RIVALS]
        worst = max(ratio(results, ours, rival) for rival in there if rival in results)
        yield Gate(name=f"256_{name}_of_best", value=worst, limit=1.05)


def in_flight(results: Results, closer: Results) -> Iterator[Gate]:
    for flying, limit in FLYING.items():
        for name in CLOSELY:
            yield Gate(name=f"256_{flying}_in_flight_{name}", value=loss(closer, flying, (name,)), limit=limit)
        yield Gate(name=f"256_{flying}_in_flight_mean", value=loss(results, flying, NAMES), limit=limit)


def loss(results: Results, flying: int, names: Sequence[str]) -> float:
    """Regret with so many in flight over regret with one at a time."""
    busy = [Case(landscape=name, player=DEFAULT, calls=256, in_flight=flying) for name in names]
    alone = [Case(landscape=name, player=DEFAULT, calls=256) for name in names]
    return fmean(r.judged for c in busy for r in results[c]) / fmean(r.judged for c in alone for r in results[c])


def of_cost(costs: dict[str, Cost]) -> Iterator[Gate]:
    for player in (DEFAULT, UCT):
        yield Gate(name=f"core_us_at_10000_{slug(player)}", value=costs[player].large, limit=100.0)
        yield Gate(name=f"core_growth_of_log_n_{slug(player)}", value=costs[player].growth, limit=1.0)


def slug(label: str) -> str:
    return label.lower().replace(" ", "_").replace("-", "_").replace(",", "").replace(".", "0.")
