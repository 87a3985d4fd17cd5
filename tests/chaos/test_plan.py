"""The plan of a chaos run: the same for the same seed, and with as many kills as were asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.minutes import Minute
from db.notices import Trouble
from orchestrator.report.happened import Happened
from orchestrator.report.night import Night, night
from tests.chaos.plan import Deed, plan
from tests.chaos.programs import Part
from tests.chaos.rehearsal import kills, shows


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(40, 1) == plan(40, 1) != plan(40, 2)


@pytest.mark.parametrize("kills", [1, 3, 30, 200])
def test_it_has_the_kills_that_were_asked_for_and_hits_every_part(kills: int) -> None:
    acts = plan(kills, 5)
    killed = [act.part for act in acts if act.deed is Deed.KILL]
    assert len(killed) == kills
    assert len(set(killed)) == min(kills, len(Part))
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)
    assert {act.deed for act in acts} == set(Deed)


def test_a_rehearsal_kills_one_of_each_every_ten_minutes():
    acts = kills(7200.0, seed=1)
    assert [act.part for act in acts] == [Part.WORKER, Part.ORCHESTRATOR] * 11
    assert {round(later.at_s - act.at_s) for act, later in zip(acts, acts[2:], strict=False)} == {600}
    assert len(kills(300.0, seed=1)) == 6


def after(began: datetime, happened: Happened) -> Night:
    """An hour's report: in its middle, from this moment on, nothing ended for three minutes."""
    start = began.replace(second=0)
    rows = [minute(start + timedelta(minutes=number)) for number in range(-30, 30) if not 0 <= number < 3]
    found = night(rows, happened)
    assert found
    return found


def minute(start: datetime) -> Minute:
    times = {"wait_s": 100.0, "run_s": 200.0, "lag_s": 1.0}
    return Minute(minute=start, kind="expand", done=100, failed=0, retries=0, waits=(), runs=(), **times)


def test_a_report_shows_an_outage_when_a_dip_of_its_time_names_the_endpoint():
    began = datetime(2026, 1, 1, 2, 10, 30, tzinfo=UTC)
    reason = "endpoint 'default' has served no call for 1.7 minutes; it cannot be reached"
    away = Trouble(at=began + timedelta(seconds=100), event="endpoint_down", reason=reason)
    found = after(began, Happened(troubles=[away]))
    page = f"<td>{found.dips[0].cause}</td>"
    assert shows(found, began, page) and not shows(found, began, "<td>nothing ended for 3 minutes</td>")
    assert not shows(found, began - timedelta(hours=1), page)
    other = replace(away, reason=reason.replace("default", "judge"))
    judged = after(began, Happened(troubles=[other]))
    assert not shows(judged, began, judged.dips[0].cause)


def test_a_dip_of_which_nothing_is_known_does_not_show_an_outage():
    began = datetime(2026, 1, 1, 2, 10, 30, tzinfo=UTC)
    unknown = after(began, Happened())
    assert len(unknown.dips) == 1 and "endpoint" in unknown.dips[0].cause
    assert not shows(unknown, began, unknown.dips[0].cause)
