"""How long a run that widens a pool has still to go: the arithmetic, on counts and paces made up."""

from dataclasses import replace

import pytest

from db.pool_views import Lessons, PoolCounts, RoundCounts
from orchestrator.pace import Pace
from orchestrator.pool_eta import Bounds, PoolProgress, seconds_left, steps_to_come, texts_to_come

PACE = Pace(made=2.0, calls=4.0, tokens=400.0, nusd=1000.0, busy=8.0)
WIDENING = PoolProgress(
    to_come=300.0, waiting=20.0, text_s=0.5, instances_s=1.0, steps=0.0, step_s=None, slots=16, left={}
)
BOUNDS = Bounds(target=600, most=100_000, calls=None, ahead=1)
COUNTS = PoolCounts(
    seeds=40,
    generated=400,
    after_heuristics=350,
    kept=300,
    unsettled=20,
    with_instance=210,
    trained=0,
    accepted=210,
    rejected=70,
    failed=0,
)
ROUNDS = RoundCounts(
    begun=6, done=3, by_status={"generating": 1, "done": 5}, prompts=48, prompts_lost={}, filter_s=0.0, embed_s=0.0
)
LESSONS = Lessons(
    batches=30,
    steps=20,
    marked={},
    loss=1.0,
    gradient_norm=1.0,
    brings=None,
    diversity=None,
    diversity_random=None,
    seconds=40.0,
)


def to_come(bounds: Bounds = BOUNDS, counts: PoolCounts = COUNTS, rounds: RoundCounts = ROUNDS) -> float | None:
    return texts_to_come(bounds, counts, rounds, used=900, calls_a_text=(0.5, 2.0))


def test_rounds_are_begun_whole_and_some_ahead_of_what_is_known():
    assert to_come() == 5 * 60 + 60
    assert to_come(replace(BOUNDS, target=601, ahead=0)) == 6 * 60
    assert to_come(replace(BOUNDS, target=300)) == 60  # what is being generated
    assert to_come(replace(BOUNDS, target=300), rounds=replace(ROUNDS, by_status={"done": 6})) == 0


def test_the_nearest_bound_ends_generation():
    assert to_come(replace(BOUNDS, most=7)) == 2 * 60
    assert to_come(replace(BOUNDS, calls=1040)) == (1040 - 900 - 20 * 2.0) / 2.5
    assert to_come(replace(BOUNDS, calls=910)) == 0


def test_nothing_is_known_before_a_round_has_kept_a_text():
    assert to_come(counts=replace(COUNTS, kept=0)) is None
    assert to_come(rounds=replace(ROUNDS, begun=1)) is None
    assert seconds_left(replace(WIDENING, to_come=None), PACE) is None
    assert seconds_left(WIDENING, replace(PACE, made=0.0)) is None


def test_it_ends_when_the_slowest_of_rounds_calls_and_steps_does():
    assert seconds_left(WIDENING, PACE) == 300 / 2.0
    assert seconds_left(replace(WIDENING, instances_s=8.0), PACE) == (300 * 8.5 + 20 * 8.0) / 8.0
    assert seconds_left(replace(WIDENING, instances_s=8.0, slots=4), PACE) == (300 * 8.5 + 20 * 8.0) / 4
    assert seconds_left(replace(WIDENING, steps=100.0, step_s=3.0), PACE) == 300
    assert seconds_left(replace(WIDENING, steps=100.0), PACE) is None  # nobody knows how long a step takes


def test_when_rounds_are_over_the_instances_that_wait_are_what_is_left():
    over = replace(WIDENING, to_come=0.0, instances_s=2.0)
    assert seconds_left(over, PACE) == 20 * 2.0 / 8.0
    assert seconds_left(over, replace(PACE, made=0.0)) == 20 * 2.0 / 8.0
    assert seconds_left(replace(over, waiting=1.0), PACE) == 2.0
    assert seconds_left(replace(over, waiting=0.0), PACE) == 0.0


def test_a_cap_may_end_it_earlier():
    assert seconds_left(replace(WIDENING, left={"calls": 40}), PACE) == pytest.approx(10)
    assert seconds_left(replace(WIDENING, to_come=None, left={"calls": 40}), PACE) == pytest.approx(10)


def test_steps_to_come_are_those_of_all_good_texts_or_the_batches_that_wait():
    assert steps_to_come(8, COUNTS, LESSONS, 0.0) == 30 - 20
    assert steps_to_come(8, COUNTS, LESSONS, 300.0) == 0.75 * 600 // 8 - 20
