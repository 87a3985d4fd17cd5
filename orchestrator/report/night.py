"""How the night went: what ended from minute to minute, and what was different when it was less."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from statistics import median

from db.minutes import Minute
from orchestrator.report import plots
from orchestrator.report.happened import Happened

# More marks than these would stand closer than they can be told apart.
MOST_SPANS = 120
# Of a run of a few minutes there is nothing to tell.
FEWEST_MINUTES = 5
_MOST_DIPS = 12
# Dips are sought in pieces of so many tasks each, as usual: one in which nothing ended is no chance then.
_ENOUGH = 10
# Below this part of what is usual there was a dip; above this multiple a time was long.
_LOW, _LONG = 0.5, 2.0
_LONG_LAG_S = 5.0
_MANY_RETRIES = 0.1
# Of a silence of which nothing is known. A pause would be.
_AWAY = "the endpoint, the database, the orchestrators or the workers were away"
_ONE = timedelta(minutes=1)
_SUMMED = ("done", "failed", "retries", "wait_s", "run_s", "lag_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Neighbouring minutes together, as few as one. wait_s, run_s, lag_s: sums over the tasks that ended in it."""

    start: datetime
    minutes: int
    done: int = 0
    failed: int = 0
    retries: int = 0
    wait_s: float = 0.0
    run_s: float = 0.0
    lag_s: float = 0.0

    @property
    def end(self) -> datetime:
        return self.start + self.minutes * _ONE

    @property
    def ended(self) -> int:
        return self.done + self.failed

    @property
    def pace(self) -> float:
        """Tasks done a minute."""
        return self.done / self.minutes

    def mean(self, total: float) -> float | None:
        """Of one task."""
        return total / self.ended if self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dip:
    """Neighbouring spans in which less than half of what is usual was done. `cause` is what else was different."""

    span: Span
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """`usual`: the median of tasks done a minute, where any were. `dips`: those that cost most, in their order."""

    spans: tuple[Span, ...]
    usual: float
    dips: tuple[Dip, ...]
    plot: plots.Plot | None


def night(rows: Iterable[Minute], happened: Happened) -> Night | None:
    """None for a run of which there is too little to tell."""
    ordered = sorted(rows, key=lambda row: row.minute)
    count = int((ordered[-1].minute - ordered[0].minute) / _ONE) + 1 if ordered else 0
    spans = _spans(ordered, count, each=-(-count // MOST_SPANS))
    busy = [span for span in spans if span.done]
    if not busy or count < FEWEST_MINUTES:
        return None
    usual = median(span.pace for span in busy)
    begin = spans[0].start
    offsets = [int((span.start - begin) / _ONE) for span in spans]
    whole = [(at, at + span.minutes - 1) for at, span in zip(offsets, spans, strict=True)]
    pieces = _spans(ordered, count, each=ceil(_ENOUGH / usual))
    return Night(
        spans=tuple(spans),
        usual=usual,
        dips=tuple(_dips(pieces, usual, happened)),
        plot=plots.lines(whole, [("after", [span.pace for span in spans])]),
    )


def _spans(rows: Sequence[Minute], count: int, *, each: int) -> list[Span]:
    """All `count` minutes from the first row's on, those in which nothing ended too, `each` of them together."""
    parts: list[list[Minute]] = [[] for _ in range(0, count, each)] if count else []
    for row in rows:
        parts[int((row.minute - rows[0].minute) / _ONE) // each].append(row)
    return [
        _joined(part, start=rows[0].minute + at * each * _ONE, minutes=min(each, count - at * each))
        for at, part in enumerate(parts)
    ]


def _joined(parts: Sequence[Span] | Sequence[Minute], *, start: datetime, minutes: int) -> Span:
    sums = {name: sum(getattr(part, name) for part in parts) for name in _SUMMED}
    return Span(start=start, minutes=minutes, **sums)


def _dips(spans: Sequence[Span], usual: float, happened: Happened) -> list[Dip]:
    """The first span and the last are left out: there the run begins and ends."""
    found: list[list[Span]] = []
    before = False
    for span in spans[1:-1]:
        low = span.pace < _LOW * usual
        if low and before:
            found[-1].append(span)
        elif low:
            found.append([span])
        before = low
    worst = sorted(found, key=lambda some: sum(span.done - usual * span.minutes for span in some))[:_MOST_DIPS]
    return [_dip(some, spans, happened) for some in sorted(worst, key=lambda some: some[0].start)]


def _dip(some: Sequence[Span], spans: Sequence[Span], happened: Happened) -> Dip:
    whole = _joined(some, start=some[0].start, minutes=_minutes(some))
    silent = _minutes(span for span in some if not span.ended)
    early = whole.start - spans[0].minutes * _ONE  # what was done in the span before may be felt in this one
    known = happened.known(early, whole.start, whole.end)
    if happened.suffices(early, whole.start, whole.end):
        return Dip(span=whole, cause=known)
    seen = _cause(whole, silent, spans, happened.parted(early, whole.end))
    return Dip(span=whole, cause=f"{known}; {seen}" if known else seen)


def _minutes(spans: Iterable[Span]) -> int:
    return sum(span.minutes for span in spans)


def _cause(dip: Span, silent: int, spans: Sequence[Span], parted: str) -> str:
    """What is told by most is asked first. `silent`: minutes of the dip in which nothing ended.

    What ended in the minutes around a silence says nothing of it: it was as long under way as ever. `parted`: which
    processes ended meanwhile.
    """
    if silent:
        long = "a minute" if silent == 1 else f"{silent} minutes"
        return f"nothing ended for {long}; {parted}" if parted else f"nothing ended for {long}: {_AWAY}"
    if dip.retries > _MANY_RETRIES * dip.ended:
        tasks = "1 task" if dip.retries == 1 else f"{dip.retries} tasks"
        return _also(f"{tasks} had to be begun again: workers died, or answers were lost", parted)
    times = _longer(dip, spans, lambda span: span.run_s)
    if times > _LONG:
        return f"tasks took {times:.1f} times as long as usual: the endpoint was slow or refused"
    lag = dip.mean(dip.lag_s) or 0.0
    if lag > _LONG_LAG_S and _longer(dip, spans, lambda span: span.lag_s) > _LONG:
        return _also(f"results waited {lag:.0f} s for an orchestrator", parted)
    times = _longer(dip, spans, lambda span: span.wait_s)
    if times > _LONG:
        return _also(f"due tasks waited {times:.1f} times as long as usual: there were fewer workers", parted)
    return "little was due: what was left hung on a few trees or texts"


def _also(cause: str, parted: str) -> str:
    return f"{cause} ({parted})" if parted else cause


def _longer(dip: Span, spans: Sequence[Span], what: Callable[[Span], float]) -> float:
    """How many times as long as in the middle one of all spans."""
    means = [mean for span in spans if (mean := span.mean(what(span))) is not None]
    usual, here = median(means), dip.mean(what(dip))
    return here / usual if here and usual else 1.0
