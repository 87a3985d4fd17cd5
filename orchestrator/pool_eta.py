"""How long a run that widens a pool has still to go, as a range of seconds.

Rounds bring texts, calls bring the instances of texts, steps train on them, side by side; whatever takes longest says
when the run ends. Texts come at the pace of the whole run or of the last minute, calls as many at a time as then; the
two are the ends of the range. A cap may end all of it earlier.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from db import pool_views, progress, workers
from db.minutes import Lately
from db.pool_views import Lessons, PoolCounts, RoundCounts
from db.progress import Taken
from db.records import Run
from orchestrator.pace import OVER, Pace, Span, calls_s, caps_s, left_of, pace_of, ranged, taken_lately
from orchestrator.pool_status import Counted
from workers.config import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of the options `rounds`: what ends generation."""

    target: int
    most: int
    calls: int | None
    ahead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolProgress:
    """Where a run stands.

    to_come: texts that will still be kept; None while nobody knows. waiting: kept ones without their instances.
    text_s, instances_s: seconds of calls for one kept text, and for its instances. steps: of training that are still to
    come; step_s: seconds of one. slots: of all living workers. left: what caps leave, by unit.
    """

    to_come: float | None
    waiting: float
    text_s: float
    instances_s: float
    steps: float
    step_s: float | None
    slots: int
    left: Mapping[str, float]


def seconds_left(progress: PoolProgress, pace: Pace) -> float | None:
    """Whatever comes first: that all is done, or that a cap is reached. None while nothing is known of the pace."""
    ends = list(caps_s(progress.left, pace))
    if (done := _done_s(progress, pace)) is not None:
        ends.append(done)
    return min(ends, default=None)


def _done_s(progress: PoolProgress, pace: Pace) -> float | None:
    if progress.to_come is None or (progress.to_come and not pace.made):
        return None
    if progress.steps and progress.step_s is None:
        return None
    texts = progress.to_come + progress.waiting
    work_s = progress.to_come * progress.text_s + texts * progress.instances_s
    answered_s = calls_s(work_s, progress.instances_s, pace, progress.slots) or 0.0
    rounds_s = progress.to_come / pace.made if progress.to_come else 0.0
    return max(rounds_s, answered_s, progress.steps * (progress.step_s or 0.0))


def texts_to_come(
    bounds: Bounds, counts: PoolCounts, rounds: RoundCounts, *, used: int, calls_a_text: tuple[float, float]
) -> float | None:
    """How many texts rounds will still keep, by the nearest bound; None before a round has kept one.

    A round is begun whole, and `ahead` of them before it is known that enough were kept. `used`: calls so far, replayed
    ones too. `calls_a_text`: to get a text that is kept, and for its instances.
    """
    generating = rounds.by_status.get("generating", 0)
    filtered = rounds.begun - generating
    if not (filtered and counts.kept):
        return None
    each = counts.kept / filtered
    lacking = math.ceil((bounds.target - counts.kept) / each) + bounds.ahead
    found = [(lacking if counts.kept < bounds.target else generating) * each, (bounds.most - filtered) * each]
    if bounds.calls is not None:
        a_text, its_instances = calls_a_text
        room = bounds.calls - used - counts.unsettled * its_instances
        found.append(room / (a_text + its_instances) if a_text else 0.0)
    return max(min(found), 0.0)


def steps_to_come(size: int, counts: PoolCounts, lessons: Lessons, to_come: float) -> float:
    """Of training: batches that wait, or those that all the texts with a good instance will make."""
    settled = counts.kept - counts.unsettled
    good = counts.with_instance / settled if settled else 0.0
    return max(lessons.batches, good * (counts.kept + to_come) // size) - lessons.steps


def pool_eta(connection: Connection, run: Run, pool: Counted, lately: Lately) -> Span:
    """For a run that widens a pool, counted already; zero when nothing is left, None while nothing is known."""
    if run.status not in ("running", "paused") or run.phase == "ended":
        return OVER
    by_role = progress.taken_by_role(connection, run.id)
    found = _progress(connection, run, by_role, pool)
    driven_s = max(run.driven_s, 1.0)
    paces = [pace_of(sum(by_role.values(), Taken()), pool.counts.kept, driven_s)]
    if driven_s > lately.seconds:
        kept = pool_views.kept_recently(connection, run.id, lately.seconds)
        paces.append(pace_of(taken_lately(lately), kept, lately.seconds))
    return ranged([seconds_left(found, pace) for pace in paces])


def _progress(connection: Connection, run: Run, by_role: Mapping[str, Taken], pool: Counted) -> PoolProgress:
    options, counts, lessons = run.config.get("rounds", {}), pool.counts, pool.lessons
    settled = max(counts.kept - counts.unsettled, 1)
    writing, answering = by_role.get(Role.GENERATOR, Taken()), by_role.get(Role.RESPONDER, Taken())
    to_come = texts_to_come(
        Bounds(**{name: options.get(name) for name in Bounds.__slots__}),
        counts,
        pool.rounds,
        used=run.spent.calls + run.calls_replayed,
        calls_a_text=(writing.calls / max(counts.kept, 1), answering.calls / settled),
    )
    size = run.config.get("batches", {}).get("size", 1)
    return PoolProgress(
        to_come=to_come,
        waiting=float(counts.unsettled),
        text_s=writing.seconds / max(counts.kept, 1),
        instances_s=answering.seconds / settled,
        steps=steps_to_come(size, counts, lessons, to_come or 0.0) if run.config.get("train") else 0.0,
        step_s=lessons.seconds / lessons.steps if lessons.steps else None,
        slots=sum(worker.slots for worker in workers.alive(connection)),
        left=left_of(run),
    )
