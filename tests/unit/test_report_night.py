"""The section on how the night went: minutes without anything, dips and what caused them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.minutes import BOUNDS_S, Minute
from db.records import Change
from orchestrator.report import render
from orchestrator.report.night import MOST_SPANS, Night, night
from orchestrator.report.turns import turns
from tests.unit.report_story import story

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


def test_an_outage_is_told_by_its_silence_however_long_the_night():
    """It began and ended within a minute; two minutes of this night are one point of the plot."""
    out = {60: minute(60, 40), 61: None, 62: None, 63: minute(63, 15)}
    found = told(*steady(130, out))
    assert found.spans[0].minutes == 2
    (dip,) = found.dips
    assert (dip.span.start, dip.span.minutes) == (BEGIN + timedelta(minutes=60), 4)
    assert dip.cause.startswith("nothing ended for 2 minutes: the run was paused, or the endpoint")


def test_a_minute_without_a_task_is_no_dip_where_a_task_a_minute_is_usual():
    assert told(*(minute(n, 1) for n in range(60) if n % 7)).dips == ()


def test_a_long_night_is_drawn_in_few_marks_and_loses_nothing():
    found = told(*steady(900, {400: None}))
    assert len(found.spans) <= MOST_SPANS
    assert sum(span.done for span in found.spans) == 899 * 100
    assert sum(span.minutes for span in found.spans) == 900


def test_of_a_few_minutes_nothing_is_told():
    assert night([]) is None
    assert night([minute(0, 5), minute(1, 5)]) is None
    assert night([minute(n, 0) for n in range(20)]) is None


ROOM = "endpoints.default.concurrency"


def changed(number: float, what: str = ROOM, before: float | None = 32, after: float | None = 2) -> Change:
    return Change(at=BEGIN + timedelta(minutes=number), what=what, before=before, after=after)


SLOW = {n: minute(n, 20, each={"run_s": 9.0}) for n in range(10, 14)}


@pytest.mark.parametrize("change", [changed(9.5), changed(10.2), changed(9.5, before=None)])
def test_a_limit_that_was_lowered_then_is_the_cause_of_a_dip(change: Change):
    found = night(steady(30, SLOW), [change])
    assert found
    assert [dip.cause.split(" was set from ")[0] for dip in found.dips] == ["concurrency of endpoint 'default'"]
    assert found.dips[0].cause.endswith(f"to 2 at {change.at:%H:%M}")


@pytest.mark.parametrize(
    "change",
    [
        changed(5.0),
        changed(14.5),
        changed(9.5, after=64),
        changed(9.5, after=None),
        changed(9.5, "max_calls"),
        changed(9.5, "endpoints.default.usd_per_million_in"),
    ],
)
def test_what_was_changed_at_another_time_or_lets_no_less_through_is_no_cause(change: Change):
    found = night(steady(30, SLOW), [change])
    assert found and [dip.cause[:20] for dip in found.dips] == ["tasks took 4.5 times"]


def test_a_change_is_told_with_what_was_done_before_and_after():
    rows = [minute(n, 100 if n < 20 else 250) for n in range(23)]
    rise, late = turns([changed(20.4, after=64), changed(22.9, "max_usd", None, 20)], rows)
    assert (rise.before, rise.after, rise.values) == (100, 250, "32 → 64")
    assert (late.what, late.values, late.after) == ("the cap on usd", "– → 20", None)
    assert [turn.before for turn in turns([changed(3)], [])] == [None]


def test_as_many_minutes_after_a_change_are_looked_at_as_before_it():
    """Minute 21 is its own; 11 to 20 lie before it, 22 to 31 after it."""
    rows = [minute(n, 1000 if n in (9, 20, 22, 31, 32) else 0 if n == 21 else 100) for n in range(60)]
    (turn,) = turns([changed(21.5)], rows)
    assert turn.before == pytest.approx((9 * 100 + 1000) / 10)
    assert turn.after == pytest.approx((8 * 100 + 2 * 1000) / 10)


def test_the_page_lists_changes_as_plain_text_and_nothing_where_there_are_none():
    plain = story(trees=2)
    assert 'id="changes"' not in render(plain)
    evil = changed(1, "endpoints.<img src=x onerror=alert(1)>.concurrency")
    page = render(replace(plain, run=replace(plain.run, changes=(evil, changed(2)))))
    assert 'id="changes"' in page and "32 → 2" in page
    assert "<img src=x" not in page and "&lt;img src=x" in page
