"""A night in short: one long run through kills and an outage, and what its report says of them in the morning."""

import time
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from random import Random

from db import minutes as by_minute
from db import runs
from orchestrator.notices import STALL
from orchestrator.report.night import Night, night
from orchestrator.story import happened_to
from tests.chaos.audit import complain, figures
from tests.chaos.jobs import GREEDY, PRICES, Job
from tests.chaos.plan import Act, Deed
from tests.chaos.programs import Part
from tests.chaos.scenarios import last_line
from tests.chaos.site import Layout
from tests.chaos.stage import FAULTS, Stage, staged

# So many requests a minute leave the machine idle for most of the time: how long a run takes is known before.
_PACE = 600
_CALLS_A_SEED = 50
# Trees that are grown to their end, and so many at once that there is always something to do.
_WORK = (
    *("--set", "search.stop_reward=40", "--set", "trees_at_once=40"),
    *("--set", "endpoints.default.timeout_s=30"),
)
_EVERY_S = 600.0
_OUTAGE_S = 180.0
# An endpoint is announced as down after a third of it: within the outage.
_STALL_MINUTES = 5.0
# Of the whole.
_OUTAGE_AT = 0.55
_LEAST = 0.9


def rehearsal(folder: Path, *, minutes: float, seed: int) -> bool:
    """Two orchestrators and four workers, one of each killed every ten minutes and away for up to a minute and a half,
    and a faulty endpoint, which is dead for three minutes after half-time.

    The run lasts for that long and completes, the laws hold, and the report shows the outage and names its cause.
    """
    began = time.monotonic()
    environment = {STALL: f"{_STALL_MINUTES:g}"}
    layout = Layout(workers=4, slots=8, faults=FAULTS, pause_s=(20.0, 90.0), environment=environment)
    options = (*GREEDY, *PRICES, *_WORK, "--set", f"endpoints.default.requests_per_minute={_PACE}")
    total_s, width = minutes * 60, round(minutes * _PACE / _CALLS_A_SEED)
    with staged(folder, layout, seed, width=width, options=options) as stage:
        job = stage.begin("night")
        stage.until_spent(job, 1)
        acts, half_s = kills(total_s, seed), _OUTAGE_AT * total_s
        stage.play([act for act in acts if act.at_s < half_s], busy=lambda: not job.over)
        outage = _outage(stage)
        later = [Act(at_s=act.at_s - half_s, deed=act.deed, part=act.part, lot=act.lot) for act in acts]
        stage.play([act for act in later if act.at_s >= 0], busy=lambda: not job.over)
        stage.until(lambda: job.over, "the night is over", 2 * total_s)
        verdict = stage.conclude()
        complain(verdict)
        explained = _tell(stage, job, outage)
        lasted = (time.monotonic() - began) / 60
        print(f"minutes={lasted:.0f} of={minutes:g} dips_explained={int(explained)} {figures(verdict)}")
        return last_line(stage, verdict) and explained and lasted >= _LEAST * minutes


def kills(total_s: float, seed: int) -> list[Act]:
    """One worker and one orchestrator every ten minutes; in a rehearsal of less than half an hour, three times."""
    chance = Random(f"{seed}:night")
    rounds = max(3, int(total_s / _EVERY_S) - 1)
    each_s = total_s / (rounds + 1)
    return [
        Act(at_s=number * each_s, deed=Deed.KILL, part=part, lot=chance.random())
        for number in range(1, rounds + 1)
        for part in (Part.WORKER, Part.ORCHESTRATOR)
    ]


def _outage(stage: Stage) -> datetime:
    """Kills the endpoint for three minutes; when it did."""
    stage.saboteur.do(Act(at_s=0, deed=Deed.KILL, part=Part.ENDPOINT))
    stage.site.endpoint.due = time.monotonic() + _OUTAGE_S
    return datetime.now(UTC)


def _tell(stage: Stage, job: Job, outage: datetime) -> bool:
    """Prints the dips as the report has them. Whether the outage is among them, with its cause, and on the page."""
    with stage.site.engine.connect() as connection:
        run = runs.by_name(connection, job.name)
        assert run is not None
        found = night(by_minute.of_run(connection, run.id), happened_to(connection, run))
    assert found is not None
    print(f"usual: {found.usual:.0f} tasks a minute; the endpoint died at {outage:%H:%M:%S}")
    for dip in found.dips:
        print(f"dip {dip.span.start:%H:%M}, {dip.span.minutes} min, {dip.span.pace:.0f} a minute: {dip.cause}")
    return shows(found, outage, unescape((job.folder / "report.html").read_text()))


def shows(found: Night, outage: datetime, page: str) -> bool:
    """Whether one of the dips is the outage, its cause this endpoint by its name, and the page says so."""
    end = outage + timedelta(seconds=_OUTAGE_S)
    during = [dip.cause for dip in found.dips if dip.span.start < end and dip.span.end > outage]
    return any("an endpoint was away" in cause and "'default'" in cause and cause in page for cause in during)
