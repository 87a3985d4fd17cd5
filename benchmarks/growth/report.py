"""What was found, as lines, as gates and as a page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.growth.gauge import Checkpoint, Written
from benchmarks.page import Gate, table, table_of

MOST_GROWTH, MOST_MS, MOST_TICK_MS = 1.2, 100.0, 10_000.0
_COLUMNS = (
    *("nodes", "wall s", "nodes/s", "wall ms", "driver ms", "database ms", "hands ms", "cost", "ticks ms"),
    "nodes a tick",
    *("driver MB", "B a node", "claim p50 ms", "claim p95 ms", "status ms", "scrape ms", "longest tick ms"),
)
_HEAD = """# Growth

Made by `make bench-growth`, never by hand. {conditions}

A run of `idea-mcts`, 26 nodes a tree, {at_once} trees at once, on the local stack's PostgreSQL with its settings as
they come. The orchestrator's own driver grows it and harvests it at the end; one process of hands carries tasks out
without a network: texts, grades and tags are the scripted model's, and each call is looked up, announced and recorded
in the ledger by the gateway's functions, about two calls a node. The hands render no prompts and guard nothing: what a
worker costs, `make bench` measures.

Wall and processor time are for one node of the span since the line before; the processor's of the driver, of all
processes of the database, of the hands. *ticks* is the wall time inside of the driver's ticks, its statements included:
one driver makes a node in so long at best. Bytes are of the whole database with its indices. A claim is the product's
own, of one task, in the table as it is; status is what `instructree status` reads, a scrape what Prometheus is told by
an orchestrator that has just started, each the median of five, beside the driver and the hands at work.

The machine is not the same from minute to minute: others share it. What the hands do for a node does not depend on how
many nodes there are, so their processor time is the yardstick: *cost* is the processor time of driver and database by
that of the hands, and growth is that of *cost*. The milliseconds are as they were.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What came after growing: seconds on the wall and of the driver's processor, the longest tick of it, the files."""

    wall_s: float
    driver_s: float
    longest_tick_ms: float
    written: Written


def heading() -> str:
    return "  ".join(_COLUMNS)


def line(one: Checkpoint) -> str:
    return "  ".join(value.rjust(len(name)) for name, value in zip(_COLUMNS, _values(one), strict=True))


def _values(one: Checkpoint) -> list[str]:
    spent = one.spent
    return [
        f"{one.nodes:,}",
        f"{spent.wall_s:.1f}",
        f"{one.new / spent.wall_s:.0f}",
        *(f"{one.each_ms(s):.3f}" for s in (spent.wall_s, spent.driver_s, spent.database_s, spent.hands_s)),
        f"{one.cost_in_hands:.3f}",
        f"{one.each_ms(one.ticking_s):.3f}",
        f"{one.new / one.ticks:.0f}",
        f"{one.driver_rss / 1e6:.0f}",
        f"{one.bytes_a_node:.0f}",
        *(f"{ms:.2f}" for ms in (one.claim_p50_ms, one.claim_p95_ms)),
        *(f"{ms:.1f}" for ms in (one.status_ms, one.scrape_ms)),
        f"{one.longest_tick_ms:.0f}",
    ]


def gates(found: Sequence[Checkpoint], ended: Ended) -> list[Gate]:
    """The last checkpoint against the first steady one, and the slowest question of all against the clock."""
    first, last = _steady(found), found[-1]
    ticks = [one.longest_tick_ms for one in found] + [ended.longest_tick_ms]
    return [
        Gate(name="growth_of_cost_a_node", value=last.cost_in_hands / first.cost_in_hands, limit=MOST_GROWTH),
        Gate(name="growth_of_driver_memory", value=last.driver_rss / first.driver_rss, limit=MOST_GROWTH),
        Gate(name="status_ms", value=max(one.status_ms for one in found), limit=MOST_MS),
        Gate(name="scrape_ms", value=max(one.scrape_ms for one in found), limit=MOST_MS),
        Gate(name="longest_tick_ms", value=max(ticks), limit=MOST_TICK_MS),
    ]


def _steady(found: Sequence[Checkpoint]) -> Checkpoint:
    """At 10,000 nodes, not the first: there all trees are equally young, and a tree's first steps bring more a task."""
    return found[min(1, len(found) - 1)]


def growths(found: Sequence[Checkpoint]) -> str:
    """What the last nodes cost by what early ones did: from either beginning, in either measure."""
    first, steady, last = found[0], _steady(found), found[-1]
    whole, later = (f"{last.cost_in_hands / one.cost_in_hands:.2f}" for one in (first, steady))
    whole_ms, later_ms = (f"{last.cost_ms / one.cost_ms:.2f}" for one in (first, steady))
    return (
        f"From {first.nodes:,} to {last.nodes:,} nodes, *cost* comes to {whole} times what it was, and driver and "
        f"database together, in milliseconds, to {whole_ms} times; from {steady.nodes:,} on, to {later} and {later_ms} "
        "times. The gate is on *cost* from the second line on. Up to the first, all trees are equally young, which is "
        "no steady state: the first steps of a tree bring more nodes a task."
    )


def page(found: Sequence[Checkpoint], ended: Ended, held: Sequence[Gate], *, about: str, at_once: int) -> str:
    last = found[-1]
    sizes = sorted(last.sizes.items(), key=lambda item: -item[1])[:8]
    parts = [
        _HEAD.format(conditions=about, at_once=at_once),
        "## Gates\n\n",
        table_of(held),
        f"\n{growths(found)}\n",
        "\n## By nodes\n\n",
        table(_COLUMNS, [_values(one) for one in found]),
        f"\n{_told(ended)}\n",
        f"\n## Bytes a node at {last.nodes:,}\n\n",
        table(
            ("table", "all", "of it indices"),
            [[name, f"{size / last.nodes:.0f}", f"{last.indices[name] / last.nodes:.0f}"] for name, size in sizes],
        ),
    ]
    return "".join(parts)


def _told(ended: Ended) -> str:
    found = ended.written
    return (
        f"The harvest of {found.examples:,} examples took {ended.wall_s:.1f} s, {ended.driver_s:.1f} s of them the "
        f"driver's, in ticks of {ended.longest_tick_ms:.0f} ms at most. The rows of the data set were then read in "
        f"{found.rows_s:.1f} s; the report was made in {found.report_s:.1f} s with {found.report_mb:.0f} MB of memory, "
        f"and is a page of {found.page_mb:.1f} MB."
    )
