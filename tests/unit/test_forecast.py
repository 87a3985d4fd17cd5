"""What a small run says of a whole one."""

from dataclasses import replace

import pytest

from db.errors import ConfigError
from db.records import Caps
from db.tree_costs import TreeCost
from orchestrator import forecast
from orchestrator.compare.bootstrap import FEWEST, Estimate
from orchestrator.config import PoolConfig, TreeConfig, build
from orchestrator.estimating import ROUNDS, SEEDS, small
from orchestrator.forecast import Forecast, Means
from orchestrator.seeds import Seed, Seeds

TREE = TreeCost(calls=30, tokens=9_000, nusd=5_000_000, seconds=60.0, rows=2)
WHOLE = Forecast(
    calls=Estimate(mean=3_000, interval=(2_700, 3_600), n=24),
    tokens=Estimate(mean=900_000, interval=(800_000, 1_000_000), n=24),
    nusd=Estimate(mean=5e8, interval=(4e8, 6e8), n=24),
    call_s=Estimate(mean=6_000, interval=(5_400, 7_200), n=24),
    rows=Estimate(mean=200, interval=(150, 250), n=24),
)
MODEL = {"endpoints": {"default": {"model": "scripted"}}}
MEANS = Means(slots=16, concurrency=100, per_minute=None, busy=4.0)


def of(costs: list[TreeCost], seeds: int = 100, most_rows: int = 1_000) -> Forecast:
    found = forecast.of_trees(costs, seeds, most_rows)
    assert found is not None
    return found


def seeds_of(count: int) -> Seeds:
    return Seeds(seeds=tuple(Seed(instruction=f"Say {number}.") for number in range(count)), duplicates=0)


def test_trees_that_are_alike_leave_no_doubt():
    found = of([TREE] * 10)
    assert (found.calls.mean, found.calls.interval, found.calls.n) == (3_000, (3_000, 3_000), 10)
    assert found.tokens.mean == 900_000 and found.call_s.mean == 6_000 and found.rows.mean == 200
    assert found.nusd is not None and found.nusd.mean == 500_000_000


def test_the_range_holds_what_trees_that_differ_may_come_to():
    found = of([replace(TREE, calls=calls) for calls in (10, 20, 30, 40, 50, 30)])
    low, high = found.calls.interval or (0, 0)
    assert 1_000 < low < found.calls.mean == 3_000 < high < 5_000


def test_one_price_that_is_not_known_makes_the_sum_unknown():
    assert of([TREE, replace(TREE, nusd=None)]).nusd is None


def test_there_are_no_more_rows_than_the_harvest_takes():
    assert of([TREE] * FEWEST, most_rows=50).rows == Estimate(mean=50, interval=(50, 50), n=FEWEST)


def test_without_a_tree_nothing_can_be_said():
    assert forecast.of_trees([], 100, 1_000) is None


def test_time_is_from_all_slots_busy_to_the_pace_of_the_small_run():
    assert forecast.hours_of(WHOLE, MEANS) == (5_400 / 16 / 3600, 7_200 / 4 / 3600)


@pytest.mark.parametrize(
    ("means", "low_s"),
    [
        (replace(MEANS, concurrency=8), 5_400 / 8),  # the endpoint allows no more
        (replace(MEANS, per_minute=60), 2_700),  # nor that often
        (replace(MEANS, slots=1), 5_400 / 4),  # a task of that slot made several calls at once
    ],
)
def test_the_soonest_end_heeds_what_allows_least(means: Means, low_s: float):
    assert forecast.hours_of(WHOLE, means)[0] == pytest.approx(low_s / 3600)


def test_a_small_run_that_was_replayed_knows_no_pace():
    assert forecast.hours_of(WHOLE, replace(MEANS, busy=None))[1] is None
    assert forecast.hours_of(WHOLE, replace(MEANS, busy=None, slots=0)) == (None, None)


def test_caps_that_the_whole_run_would_reach_are_named():
    caps = Caps(calls=3_000, tokens=100_000, nusd=10**9, seconds=3600 * 9)
    assert forecast.reached(WHOLE, (1.0, 2.0), caps) == [
        "--max-calls 3000 may end it early, at the worst after 83% of it",
        "--max-tokens 100000 ends it early, at the worst after 10% of it",
    ]
    assert forecast.reached(WHOLE, (1.0, 20.0), Caps(seconds=3600 * 9)) == [
        "--max-hours may end it early, at the worst after 45% of it"
    ]
    replayed = (20.0, None)
    assert forecast.reached(WHOLE, replayed, Caps(seconds=3600 * 9)) == [
        "--max-hours ends it early, at best after 45% of it"
    ]


def test_a_small_run_of_trees_grows_some_of_the_seeds_and_keeps_their_part_of_the_harvest():
    config = build("idea-mcts", [MODEL])
    assert isinstance(config, TreeConfig)
    made, few = small(config, seeds_of(96), None)
    assert isinstance(made, TreeConfig)
    assert len(few.seeds) == SEEDS and set(few.seeds) < set(seeds_of(96).seeds)
    assert made.harvest.size == config.harvest.size * SEEDS / 96
    assert made.model_copy(update={"harvest": config.harvest}) == config
    assert small(config, seeds_of(96), None) == (made, few)


def test_a_small_run_of_a_pool_has_few_rounds_and_all_seeds():
    config = build("self-instruct", [MODEL])
    assert isinstance(config, PoolConfig)
    made, same = small(config, seeds_of(30), None)
    assert isinstance(made, PoolConfig)
    assert (made.rounds.most, same) == (ROUNDS, seeds_of(30))
    assert made.rounds.target == config.rounds.target


def test_so_few_seeds_that_the_small_run_would_be_the_whole_one_are_told_so():
    with pytest.raises(ConfigError, match="7 seeds are no more than the 7 of a small run: start the whole one"):
        small(build("idea-mcts", [MODEL]), seeds_of(7), 7)
