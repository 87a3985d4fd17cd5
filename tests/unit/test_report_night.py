"""The section on how the night went: minutes without anything, dips and what caused them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from db.minutes import BOUNDS_S, Minute
from db.notices import Trouble
from db.records import Change, Pause
from db.workers import GoneRow
from orchestrator.report import render, render_pool
from orchestrator.report.happened import Happened
from orchestrator.report.night import MOST_SPANS, Night, night
from orchestrator.report.turns import turns
from tests.unit.pool_story import story as pool_story
from tests.unit.report_story import story

BEGIN = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
NOTHING = Happened()
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


def told(*rows: Minute, happened: Happened = NOTHING) -> Night:
    found = night(rows, happened)
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
    assert dip.cause == (
        "nothing ended for 2 minutes: the endpoint, the database, the orchestrators or the workers were away"
    )


def test_a_minute_without_a_task_is_no_dip_where_a_task_a_minute_is_usual():
    assert told(*(minute(n, 1) for n in range(60) if n % 7)).dips == ()


def test_a_long_night_is_drawn_in_few_marks_and_loses_nothing():
    found = told(*steady(900, {400: None}))
    assert len(found.spans) <= MOST_SPANS
    assert sum(span.done for span in found.spans) == 899 * 100
    assert sum(span.minutes for span in found.spans) == 900


def test_of_a_few_minutes_nothing_is_told():
    assert night([], NOTHING) is None
    assert night([minute(0, 5), minute(1, 5)], NOTHING) is None
    assert night([minute(n, 0) for n in range(20)], NOTHING) is None


ROOM = "endpoints.default.concurrency"


def changed(number: float, what: str = ROOM, before: float | None = 32, after: float | None = 2) -> Change:
    return Change(at=BEGIN + timedelta(minutes=number), what=what, before=before, after=after)


SLOW = {n: minute(n, 20, each={"run_s": 9.0}) for n in range(10, 14)}


@pytest.mark.parametrize("change", [changed(9.5), changed(10.2), changed(9.5, before=None)])
def test_a_limit_that_was_lowered_then_is_the_cause_of_a_dip(change: Change):
    found = told(*steady(30, SLOW), happened=Happened(changes=[change]))
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
    found = told(*steady(30, SLOW), happened=Happened(changes=[change]))
    assert [dip.cause[:20] for dip in found.dips] == ["tasks took 4.5 times"]


# From 22:10 to 22:40 nothing ended.
SILENT = steady(60, dict.fromkeys(range(10, 40)))


def at(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


def gone(number: float, host: str = "b", *, drives: bool = False, left: bool = False) -> GoneRow:
    return GoneRow(host=host, drives=drives, at=at(number), left=left)


AWAY = Trouble(at=at(15), event="endpoint_down", reason="endpoint 'judge' has served no call for 5 minutes; it hangs")
STALL = Trouble(at=at(25), event="stalled", reason="no task has ended for 15 minutes; no task was tried in vain")


@pytest.mark.parametrize(
    ("happened", "cause"),
    [
        (
            Happened(pauses=[Pause(begin=at(10.1), end=at(40), reason="paused")]),
            "the run was paused from 22:10 to 22:40",
        ),
        (
            Happened(pauses=[Pause(begin=at(9), end=at(10.5), reason="interrupted")]),
            "the run was paused from 22:09 to 22:10: interrupted; nothing ended for 30 minutes: the endpoint, "
            "the database, the orchestrators or the workers were away",
        ),
        (
            Happened(pauses=[Pause(begin=at(39), end=None, reason="endpoint 'default' answered 401")]),
            "the run was paused from 22:39 on: endpoint 'default' answered 401; nothing ended for 30 minutes: "
            "the endpoint, the database, the orchestrators or the workers were away",
        ),
        (
            Happened(pauses=[Pause(begin=at(25), end=None, reason="endpoint 'default' answered 401")]),
            "the run was paused from 22:25 on: endpoint 'default' answered 401",
        ),
        (
            Happened(troubles=[AWAY, STALL]),
            "an endpoint was away at 22:15: endpoint 'judge' has served no call for 5 minutes; it hangs; "
            "the run had stalled at 22:25: no task has ended for 15 minutes; no task was tried in vain",
        ),
        (
            Happened(changes=[changed(9.5)], troubles=[AWAY], gone=[gone(12)]),
            "concurrency of endpoint 'default' was set from 32 to 2 at 22:09; "
            "an endpoint was away at 22:15: endpoint 'judge' has served no call for 5 minutes; it hangs",
        ),
        (
            Happened(gone=[gone(9.9), gone(10), gone(10.5, "a", left=True), gone(12), gone(13, drives=True)]),
            "nothing ended for 30 minutes; 1 worker on host 'a' ended at 22:10; "
            "3 workers on host 'b' fell silent from 22:09 to 22:12; 1 orchestrator on host 'b' fell silent at 22:13",
        ),
    ],
)
def test_a_silence_is_told_by_what_happened_in_it(happened: Happened, cause: str):
    (dip,) = told(*SILENT, happened=happened).dips
    assert dip.cause == cause


def test_what_happened_at_another_time_explains_no_silence():
    early, late = Pause(begin=at(3), end=at(10), reason="paused"), Pause(begin=at(40), end=None, reason="paused")
    troubles = [replace(AWAY, at=at(9.9)), replace(STALL, at=at(40))]
    happened = Happened(pauses=[early, late], troubles=troubles, gone=[gone(8), gone(40)])
    assert told(*SILENT, happened=happened).dips == told(*SILENT).dips


@pytest.mark.parametrize(
    ("low", "cause"),
    [
        (minute(10, 20, retries=5), "workers died, or answers were lost (1 worker on host 'b' fell silent at 22:10)"),
        (minute(10, 20, each={"lag_s": 20.0}), "an orchestrator (1 worker on host 'b' fell silent at 22:10)"),
        (minute(10, 20, each={"wait_s": 4.0}), "there were fewer workers (1 worker on host 'b' fell silent at 22:10)"),
        (minute(10, 20, each={"run_s": 9.0}), "the endpoint was slow or refused"),
    ],
)
def test_who_ended_is_told_beside_a_cause_that_may_come_of_it(low: Minute, cause: str):
    (dip,) = told(*steady(30, {10: low}), happened=Happened(gone=[gone(10.2)])).dips
    assert dip.cause.endswith(cause)


def test_times_are_told_in_utc_as_those_of_the_page_are():
    away = replace(AWAY, at=at(15).astimezone(timezone(timedelta(hours=5))))
    assert told(*SILENT, happened=Happened(troubles=[away])).dips[0].cause.startswith("an endpoint was away at 22:15")


def test_a_long_reason_is_cut():
    (dip,) = told(*SILENT, happened=Happened(troubles=[replace(AWAY, reason="x" * 5000)])).dips
    assert len(dip.cause) < 300


def test_the_pages_of_trees_and_of_pools_tell_it_as_plain_text():
    evil = Happened(troubles=[replace(AWAY, reason="it answered <img src=x onerror=alert(1)>")])
    rows = tuple(SILENT)
    for page in (
        render(replace(story(trees=2), minutes=rows, happened=evil)),
        render_pool(replace(pool_story(), minutes=rows, happened=evil)),
    ):
        assert "an endpoint was away at 22:15: it answered &lt;img" in page and "<img src=x" not in page


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
