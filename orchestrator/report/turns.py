"""What was changed while the run was on, and how much was done before and after it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.changes import trait_of
from db.minutes import Minute
from db.records import Change
from orchestrator.report.wording import NONE, clock, words

# So long before a change and after it is looked at, without the minute in which it was made.
AROUND = timedelta(minutes=10)
_ONE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """`before`, `after`: tasks done a minute, in the minutes around it in which the run went; None where none did."""

    change: Change
    before: float | None
    after: float | None

    @property
    def what(self) -> str:
        return name_of(self.change)

    @property
    def values(self) -> str:
        return f"{_value(self.change.before)} → {_value(self.change.after)}"


def turns(changes: Iterable[Change], rows: Sequence[Minute]) -> list[Turn]:
    return [
        Turn(
            change=change,
            before=_pace(rows, minute - AROUND, minute),
            after=_pace(rows, minute + _ONE, minute + _ONE + AROUND),
        )
        for change in changes
        for minute in [change.at.replace(second=0, microsecond=0)]
    ]


def _pace(rows: Sequence[Minute], begin: datetime, end: datetime) -> float | None:
    """Tasks done a minute, between the first minute of the run and the last."""
    if not rows:
        return None
    begin = max(begin, min(row.minute for row in rows))
    end = min(end, max(row.minute for row in rows) + _ONE)
    if end <= begin:
        return None
    return sum(row.done for row in rows if begin <= row.minute < end) / ((end - begin) / _ONE)


def lowered(change: Change) -> bool:
    """Whether it lets less through: a lower limit of an endpoint, or one where there was none."""
    place = trait_of(change.what)
    if place is None or place[1].startswith("usd") or change.after is None:
        return False
    return change.before is None or change.after < change.before


def told(change: Change) -> str:
    """In half a sentence."""
    return f"{name_of(change)} was set from {_value(change.before)} to {_value(change.after)} at {clock(change.at)}"


def name_of(change: Change) -> str:
    """What was changed, in words."""
    place = trait_of(change.what)
    if place is None:
        return f"the cap on {change.what.removeprefix('max_')}"
    return f"{words(place[1])} of endpoint {place[0]!r}"


def _value(value: float | None) -> str:
    return NONE if value is None else f"{value:,.15g}"
