"""The arithmetic of `make bench-growth`: what its gates look at, and what stands on the page."""

from collections.abc import Mapping

import pytest

pytest.importorskip("benchmarks", reason="benchmarks stand in the checkout and are in no wheel")
pytest.importorskip("psutil", reason="the extra `local` is not installed")

from benchmarks.growth.gauge import Checkpoint, Clock, Written
from benchmarks.growth.report import Ended, gates, page

ENDED = Ended(
    wall_s=1,
    driver_s=1,
    longest_tick_ms=100,
    written=Written(examples=1, rows_s=0.1, report_s=0.1, report_mb=1, page_mb=1),
)


def checkpoint(nodes: int, driver_s: float, hands_s: float = 10.0, *, status_ms: float = 50, scrape_ms: float = 20):
    """A span of 10,000 nodes."""
    return Checkpoint(
        nodes=nodes,
        new=10_000,
        spent=Clock(wall_s=10, driver_s=driver_s, database_s=0, hands_s=hands_s),
        ticking_s=1,
        ticks=10,
        driver_rss=100_000_000,
        sizes={"nodes": nodes},
        indices={"nodes": nodes},
        claim_p50_ms=1,
        claim_p95_ms=2,
        status_ms=status_ms,
        scrape_ms=scrape_ms,
        longest_tick_ms=300,
    )


def holds(*found: Checkpoint) -> Mapping[str, bool]:
    return {gate.name: gate.holds for gate in gates(found, ENDED)}


@pytest.mark.parametrize("name", ["status_ms", "scrape_ms"])
def test_a_question_that_was_slow_at_any_size_is_short(name: str):
    slow = checkpoint(20_000, 10, **{name: 101})
    assert not holds(checkpoint(10_000, 10), slow, checkpoint(30_000, 10))[name]
    assert holds(checkpoint(10_000, 10), checkpoint(20_000, 10), checkpoint(30_000, 10))[name]


def test_the_page_says_what_nodes_cost_by_either_beginning_and_in_either_measure():
    found = [checkpoint(10_000, 5), checkpoint(20_000, 8), checkpoint(1_000_000, 12, hands_s=12.5)]
    told = page(found, ENDED, gates(found, ENDED), about="", at_once=512)
    assert "| growth_of_cost_a_node | 1.2 | 1.2 | ok |" in told
    assert "From 10,000 to 1,000,000 nodes, *cost* comes to 1.92 times" in told and "to 2.40 times;" in told
    assert "from 20,000 on, to 1.20 and 1.50 times" in told
