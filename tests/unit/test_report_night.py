"""The section on how the night went: minutes without anything, dips and what caused them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from db.minutes import BOUNDS_S, Minute
from orchestrator.report.night import MOST_SPANS, Night, night

BEGIN = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
NONE = (0,) * (len(BOUNDS_S) + 1)


def minute(number: int, done: int, *, each: Mapping[str, float] | None = None, retries: int = 0) -> Minute:
    """`each`: seconds of one task."""
    times = {"wait_s": 1.0, "run_s": 2.0, "lag_s": 0.1, **(each or {})}
    return Minute(
        minute=BEGIN + timedelta(minutes=number),
        kind="expand",
        done=done,
        failed=0,
        retries=retries,
        waits=NONE,
        runs=NONE,
        **{name: value * done for name, value in times.items()},
    )


def told(*rows: Minute) -> Night:
    found = night(rows)
    assert found
    return found


def steady(count: int, but: Mapping[int, Minute | None]) -> list[Minute]:
    return [row for n in range(count) if (row := but.get(n, minute(n, 100))) is not None]


def test_a_steady_night_has_no_dips():
    found = told(*steady(30, {}))
    assert (found.usual, found.dips, len(found.spans)) == (100, (), 30)
    assert found.plot


def test_how_it_begins_and_ends_is_no_dip():
    assert told(*steady(30, {0: minute(0, 3), 29: minute(29, 2)})).dips == ()


@pytest.mark.parametrize(
    ("low", "cause"),
    [
        (None, "nothing ended"),
        (minute(10, 20, retries=5), "5 tasks had to be begun again"),
        (minute(10, 2, retries=1), "1 task had to be begun again"),
        (minute(10, 20, each={"run_s": 9.0}), "tasks took 4.5 times as long as usual"),
        (minute(10, 20, each={"lag_s": 20.0}), "results waited 20 s for an orchestrator"),
        (minute(10, 20, each={"wait_s": 4.0}), "due tasks waited 4.0 times as long as usual"),
        (minute(10, 20), "little was due"),
    ],
)
def test_a_dip_has_the_cause_that_was_different_then(low: Minute | None, cause: str):
    (dip,) = told(*steady(30, {10: low})).dips
    assert (dip.span.start, dip.span.minutes) == (BEGIN + timedelta(minutes=10), 1)
    assert dip.cause.startswith(cause)


def test_neighbouring_minutes_are_one_dip():
    (dip,) = told(*steady(30, {10: None, 11: minute(11, 1), 12: None})).dips
    assert (dip.span.minutes, dip.span.done) == (3, 1)


def test_a_long_night_is_drawn_in_few_marks_and_loses_nothing():
    found = told(*steady(900, {400: None}))
    assert len(found.spans) <= MOST_SPANS
    assert sum(span.done for span in found.spans) == 899 * 100
    assert sum(span.minutes for span in found.spans) == 900


def test_of_a_few_minutes_nothing_is_told():
    assert night([]) is None
    assert night([minute(0, 5), minute(1, 5)]) is None
    assert night([minute(n, 0) for n in range(20)]) is None
