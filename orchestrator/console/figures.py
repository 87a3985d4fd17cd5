"""What a run's page says: how far it is, whether it goes, what it costs, what is wrong. Pure, from what was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from db.browse import Paid, Process
from db.minutes import BOUNDS_S, Minute
from db.records import Run
from db.workers import ORCHESTRATOR, SILENT_S
from orchestrator.begin import ENDED
from orchestrator.report.wording import words
from workers.config import NUSD_PER_USD

Status = Mapping[str, Any]
Level = Literal["good", "idle", "warn", "bad"]
# Of a cap, this much used is worth a word.
_NEARLY = 0.9
# Seconds without any task ending, while some are due, after which a run stands still.
_STANDSTILL_S = 180.0
PAID_WINDOW_S = 300.0
# A worker that has been silent for longer is past history, not trouble.
_STILL_SHOWN_S = 1800.0
_LOOK = "look at the endpoints' page and at the workers' logs"
_PHASES = (("growing", "growing"), ("judging", "judging"), ("responding", "answering"), ("ended", "ended"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that was read of a run at one moment. `paid` is of the last `PAID_WINDOW_S`, None where nothing was."""

    run: Run
    status: Status
    now: datetime
    minutes: Sequence[Minute]
    paid: Paid | None = None
    processes: Sequence[Process] = ()
    dropped: int = 0
    kept: int = 0

    @property
    def workers(self) -> list[Process]:
        return [one for one in self.processes if ORCHESTRATOR not in one.queues]

    @property
    def hosts(self) -> list[str]:
        return sorted({one.host for one in self.workers})

    @property
    def drivers(self) -> list[Process]:
        return [one for one in self.processes if ORCHESTRATOR in one.queues]


def is_silent(process: Process) -> bool:
    """Whether it is not counted as alive, though it has not said that it leaves."""
    return process.silent_s > SILENT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`done` of `total`, which may still grow; None where nobody knows how many there will be."""

    what: str
    done: int
    total: int | None

    @property
    def share(self) -> float | None:
        return None if not self.total else min(self.done / self.total, 1.0)


def progress_of(status: Status) -> Progress:
    """How far the run is in the part of its work that it is at."""
    settled = status["examples"] + status["examples_rejected"] + status["examples_failed"]
    pool = status["pool"]
    if pool is not None:
        target = pool["target"]
        return Progress(what="kept instructions" if target else "rounds", **_of_pool(pool))
    if status["phase"] == "growing" or status["status"] == "cancelled":
        return Progress(what="trees grown", done=status["trees_done"], total=status["seeds"])
    return Progress(what="rows settled", done=settled, total=settled + status["examples_pending"])


def _of_pool(pool: Mapping[str, Any]) -> dict[str, Any]:
    if pool["target"]:
        return {"done": pool["kept"], "total": pool["target"]}
    return {"done": pool["rounds_done"], "total": None}


def phases(status: Status) -> list[tuple[str, str]]:
    """Each phase as people call it, and whether it is past, now or to come."""
    at = [name for name, _ in _PHASES].index(status["phase"])
    return [(label, "past" if i < at else "now" if i == at else "next") for i, (_, label) in enumerate(_PHASES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the run is going, in one line, and what is wrong with it, the worst first."""

    level: Level
    line: str
    troubles: tuple["Trouble", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    level: Level
    what: str
    cure: str


def health_of(reading: Reading) -> Health:
    status = reading.status
    troubles = tuple(_troubles(reading))
    if status["status"] != "running":
        return Health(level=level(status["status"]), line=_standing(status), troubles=troubles)
    if any(trouble.level == "bad" for trouble in troubles):
        return Health(level="bad", line="It is not going", troubles=troubles)
    alive = [one for one in reading.workers if not is_silent(one)]
    pace = f"{status['rate']['calls_per_s']:.1f} calls a second on {_count(len(alive), 'worker')}"
    line = f"It is going, with something to look at: {pace}" if troubles else f"It is going: {pace}"
    return Health(level="warn" if troubles else "good", line=line, troubles=troubles)


_LEVELS: Mapping[str, Level] = {
    "running": "good",
    "done": "good",
    "paused": "idle",
    "cancelled": "idle",
    "stopped": "warn",
}


def level(status: str) -> Level:
    """How a run's status is coloured."""
    return _LEVELS.get(status, "bad")


def _standing(status: Status) -> str:
    reason = status["reason"]
    why = f": {reason}" if reason and reason not in (status["status"], "paused", "cancelled") else ""
    said = {
        "paused": "It is paused: nothing new is asked, what is in hand is finished",
        "done": "It is done",
        "stopped": "It was stopped by a cap, and what it had was made into a data set",
        "cancelled": "It was cancelled",
        "failed": "It failed",
    }
    return said.get(status["status"], str(status["status"])) + why


def _troubles(reading: Reading) -> list[Trouble]:
    found: list[Trouble] = []
    if reading.status["status"] == "running":
        found += _missing(reading) + _standing_still(reading) + _refused(reading.status)
    if reading.status["status"] not in ENDED:
        found += _waiting(reading.status) + _near_caps(reading)
    found += _dead(reading.status) + _silent(reading)
    return sorted(found, key=lambda trouble: trouble.level != "bad")


def _missing(reading: Reading) -> list[Trouble]:
    """A part without which nothing goes."""
    found = []
    if all(is_silent(one) for one in reading.drivers):
        found.append(Trouble(level="bad", what="no orchestrator is alive", cure="start `instructree orchestrator`"))
    alive = [one for one in reading.workers if not is_silent(one)]
    if not alive:
        return [*found, Trouble(level="bad", what="no worker is alive", cure="start `instructree worker`")]
    served = {queue for one in alive for queue in one.queues}
    for kind, queue in reading.status["queues"].items():
        if queue["ready"] and kind not in served:
            what = f"{_count(queue['ready'], 'task')} of queue {kind}, which no worker takes"
            found.append(Trouble(level="bad", what=what, cure=f"start `instructree worker --queues {kind}`"))
    return found


def _standing_still(reading: Reading) -> list[Trouble]:
    if reading.status["stalled"]:
        return [Trouble(level="bad", what="nothing has moved for a while", cure=_LOOK)]
    due = [queue["oldest_s"] for queue in reading.status["queues"].values() if queue["ready"]]
    last = max((one.minute for one in reading.minutes), default=reading.run.created_at)
    silent_s = (reading.now - last).total_seconds()
    if not due or max(due) < _STANDSTILL_S or silent_s < _STANDSTILL_S:
        return []
    what = f"tasks are due and none has ended for {silent_s / 60:.0f} minutes"
    return [Trouble(level="bad", what=what, cure=_LOOK)]


def _refused(status: Status) -> list[Trouble]:
    return [
        Trouble(
            level="warn",
            what=f"a worker on {one['host']} was refused work {one['ago_s'] / 60:.0f} min ago: {one['reason']}",
            cure="mend what the reason names, then start it again",
        )
        for one in status["refused"][:3]
    ]


def _waiting(status: Status) -> list[Trouble]:
    if not status["waiting"]:
        return []
    tasks, cause = status["waiting"]["tasks"], str(status["waiting"]["cause"])
    what = f"{_count(tasks, 'task')} tried in vain, will be tried again: {cause.partition(': ')[2] or cause}"
    return [Trouble(level="warn", what=what, cure="see the endpoints' page")]


def _dead(status: Status) -> list[Trouble]:
    found = []
    for error, count in list(status["failed_tasks"].items())[:3]:
        what = f"{_count(count, 'task')} failed for good: {error}"
        found.append(Trouble(level="warn", what=what, cure="the rows that hung on them carry the reason"))
    return found


def _silent(reading: Reading) -> list[Trouble]:
    if reading.status["status"] != "running":
        return []
    gone = [one for one in reading.workers if is_silent(one) and one.silent_s < _STILL_SHOWN_S]
    return [
        Trouble(
            level="warn",
            what=f"worker {one.host}:{one.pid} has been silent for {one.silent_s / 60:.0f} min",
            cure="its tasks go to others when their leases end",
        )
        for one in sorted(gone, key=lambda one: one.silent_s)[:3]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit and how much of it is used up; `reserved` is set aside for what is in hand. None: no limit."""

    unit: str
    limit: float | None
    used: float
    reserved: float

    @property
    def share(self) -> float | None:
        return None if not self.limit else min((self.used + self.reserved) / self.limit, 1.0)

    @property
    def used_share(self) -> float | None:
        return None if not self.limit else min(self.used / self.limit, 1.0)


def cap_lines(run: Run) -> list[Cap]:
    """Calls, tokens, dollars and hours."""
    caps, used, reserved = run.caps, run.spent, run.reserved
    dollars = None if caps.nusd is None else caps.nusd / NUSD_PER_USD
    hours = None if caps.seconds is None else caps.seconds / 3600
    return [
        Cap(unit="calls", limit=caps.calls, used=used.calls, reserved=reserved.calls),
        Cap(unit="tokens", limit=caps.tokens, used=used.tokens, reserved=reserved.tokens),
        Cap(unit="usd", limit=dollars, used=used.nusd / NUSD_PER_USD, reserved=reserved.nusd / NUSD_PER_USD),
        Cap(unit="hours", limit=hours, used=run.driven_s / 3600, reserved=0.0),
    ]


def _near_caps(reading: Reading) -> list[Trouble]:
    near = [cap for cap in cap_lines(reading.run) if (cap.used_share or 0.0) >= _NEARLY]
    return [
        Trouble(level="warn", what=f"{cap.used_share:.0%} of the cap on {cap.unit} is used", cure="raise it below")
        for cap in near
    ]


def per_hour(reading: Reading) -> float | None:
    """Nano-dollars an hour at the pace of the last minutes; None where nothing was paid for, or prices are unknown."""
    if reading.paid is None or reading.status["usd"] is None or reading.status["status"] != "running":
        return None
    window_s = min(PAID_WINDOW_S, max(float(reading.status["elapsed_s"]), 1.0))
    return reading.paid.nusd / window_s * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Seconds until the run is over, and the times that this makes it."""

    low: float
    high: float
    first: datetime
    last: datetime


def time_left(reading: Reading) -> Left | None:
    """None while nothing is known, or nothing is left."""
    low, high = reading.status["eta_s"]["low"], reading.status["eta_s"]["high"]
    if reading.status["status"] != "running":
        return None
    if not high:
        return None
    ends = (reading.now + timedelta(seconds=seconds) for seconds in (low, high))
    return Left(low=low, high=high, first=next(ends), last=next(ends))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """One queue now, and its tasks that ended lately. Percentiles are read off classes of length (`db.minutes`)."""

    kind: str
    ready: int
    leased: int
    oldest_s: float
    done: int
    failed: int
    retries: int
    waits: tuple[float | None, ...]
    runs: tuple[float | None, ...]


PERCENTILES = (0.5, 0.9, 0.99)


def queue_lines(status: Status, rows: Sequence[Minute]) -> list[QueueLine]:
    """One for each kind of task that is open or ended among these minutes."""
    nothing = {"ready": 0, "leased": 0, "oldest_s": 0.0}
    found = []
    for kind in sorted({*status["queues"], *(row.kind for row in rows)}):
        mine = [row for row in rows if row.kind == kind]
        waits, runs = _summed([row.waits for row in mine]), _summed([row.runs for row in mine])
        found.append(
            QueueLine(
                kind=kind,
                **status["queues"].get(kind, nothing),
                done=sum(row.done for row in mine),
                failed=sum(row.failed for row in mine),
                retries=sum(row.retries for row in mine),
                waits=tuple(quantile(waits, part) for part in PERCENTILES),
                runs=tuple(quantile(runs, part) for part in PERCENTILES),
            )
        )
    return found


def _summed(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(place) for place in zip(*rows, strict=True)]


def quantile(counts: Sequence[int], part: float) -> float | None:
    """The length that `part` of all do not pass, taking each class as evenly filled; what is longest counts as its
    lower bound. None of nothing.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, before, low = part * total, 0, 0.0
    for bound, count in zip(BOUNDS_S, counts, strict=False):
        if before + count >= wanted and count:
            return low + (bound - low) * (wanted - before) / count
        before, low = before + count, bound
    return BOUNDS_S[-1]


def reason_lines(status: Status, most: int = 10) -> list[tuple[str, int, float]]:
    """Why things came to nothing: reason, number, and that as a share of the most frequent one's."""
    found = list(status["failures"].items())[:most]
    highest = max((count for _, count in found), default=1)
    return [(words(reason), count, count / highest) for reason, count in found]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
