"""How long a run has still to go: the arithmetic, on progress and paces made up."""

from dataclasses import replace

import pytest

from orchestrator.eta import Progress, seconds_left
from orchestrator.pace import UNKNOWN, Pace

STEADY = Pace(made=2.0, calls=4.0, tokens=400.0, nusd=1000.0, busy=8.0)
HALF = Pace(made=1.0, calls=2.0, tokens=200.0, nusd=500.0, busy=4.0)
GROWING = Progress(
    nodes=1500,
    answers=0.0,
    judgings=0.0,
    answer_s=0.0,
    judging_s=0.0,
    slots=16,
    left={},
)


def middle(progress: Progress, pace: Pace = STEADY) -> float:
    low, high = seconds_left(progress, (pace, pace))
    assert low is not None and high is not None
    return (low + high) / 2


def test_nodes_to_come_take_their_time():
    assert middle(GROWING) == pytest.approx(750)


def test_the_range_goes_from_the_faster_to_the_slower_pace():
    assert seconds_left(GROWING, (STEADY, HALF)) == (675.0, 1650.0) == seconds_left(GROWING, (HALF, STEADY))


def test_answers_are_added_at_one_call_a_slot():
    waiting = replace(GROWING, nodes=0, answers=120, answer_s=3.0)
    assert middle(waiting) == pytest.approx(120 * 3 / 8)
    assert middle(replace(waiting, slots=2)) == pytest.approx(120 * 3 / 2)
    assert middle(replace(waiting, nodes=1500)) == pytest.approx(750 + 45)


def test_the_last_answer_takes_its_time_however_many_slots_there_are():
    assert middle(replace(GROWING, nodes=0, answers=2, answer_s=3.0)) == pytest.approx(3.0)


def test_judgings_of_the_harvest_count_too():
    assert middle(replace(GROWING, nodes=0, judgings=40, judging_s=2.0, answer_s=1.0)) == pytest.approx(10.0)


@pytest.mark.parametrize(("unit", "left", "seconds"), [("calls", 400, 100), ("tokens", 400, 1), ("seconds", 30.0, 30)])
def test_a_cap_may_end_it_earlier(unit: str, left: float, seconds: float):
    assert middle(replace(GROWING, left={unit: left})) == pytest.approx(seconds)


def test_a_cap_that_comes_later_changes_nothing():
    assert middle(replace(GROWING, left={"calls": 1_000_000})) == pytest.approx(750)


def test_nothing_is_said_before_something_is_known():
    still = Pace(made=0.0, calls=0.0, tokens=0.0, nusd=0.0, busy=0.0)
    assert seconds_left(GROWING, (STEADY, still)) == UNKNOWN
    assert seconds_left(replace(GROWING, nodes=None), (STEADY, STEADY)) == UNKNOWN
