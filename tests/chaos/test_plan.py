"""The plan of a chaos run: the same for the same seed, and with as many kills as were asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.report.night import Dip, Night, Span
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


def test_a_report_shows_an_outage_when_a_dip_of_its_time_names_the_endpoint():
    began = datetime(2026, 1, 1, 2, 10, 30, tzinfo=UTC)
    quiet = Span(start=began.replace(second=0), minutes=3)
    dip = Dip(span=quiet, cause="nothing ended: the run was paused, or the endpoint or the database away")
    assert shows(Night(spans=(), usual=100, dips=(dip,), plot=None), began)
    assert not shows(Night(spans=(), usual=100, dips=(replace(dip, cause="little was due"),), plot=None), began)
    assert not shows(Night(spans=(), usual=100, dips=(dip,), plot=None), began - timedelta(hours=1))
