"""What was done to a run and what befell it, each told in half a sentence: by this a dip is explained."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from db.notices import Trouble
from db.records import Change, Pause
from db.workers import GoneRow
from orchestrator.report.text import shorten
from orchestrator.report.turns import lowered, told
from orchestrator.report.wording import clock

_LONGEST_REASON = 200
_TROUBLES = {"stalled": "the run had stalled", "endpoint_down": "an endpoint was away"}
# What is said of a pause that somebody wanted: nothing.
_WANTED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Each in the order of time. `gone` are processes that any run may have used."""

    changes: Sequence[Change] = ()
    pauses: Sequence[Pause] = ()
    troubles: Sequence[Trouble] = ()
    gone: Sequence[GoneRow] = ()

    def known(self, early: datetime, start: datetime, end: datetime) -> str:
        """What explains that less was done from `start` to `end`; nothing where nothing does.

        A limit that was lowered a little before, from `early` on, does so, too.
        """
        made, paused, troubles = self._lowered(early, end), self._paused(start, end), self._troubles(start, end)
        return "; ".join([*map(told, made[-1:]), *map(_pause, paused), *map(_trouble, troubles)])

    def suffices(self, early: datetime, start: datetime, end: datetime) -> bool:
        """Whether what is known may be the whole reason: pauses alone are it from half of the time on."""
        spans = [min(one.end or end, end) - max(one.begin, start) for one in self._paused(start, end)]
        long = 2 * sum(spans, timedelta()) >= end - start
        return bool(self._lowered(early, end) or self._troubles(start, end)) or (bool(spans) and long)

    def _lowered(self, early: datetime, end: datetime) -> list[Change]:
        return [change for change in self.changes if lowered(change) and early <= change.at < end]

    def _paused(self, start: datetime, end: datetime) -> list[Pause]:
        return [one for one in self.pauses if one.begin < end and (one.end is None or one.end > start)]

    def _troubles(self, start: datetime, end: datetime) -> list[Trouble]:
        return [trouble for trouble in self.troubles if start <= trouble.at < end]

    def parted(self, early: datetime, end: datetime) -> str:
        """Which workers and orchestrators ended then. It may explain a dip, or others did their work."""
        return "; ".join(_parted(one for one in self.gone if early <= one.at < end))


def _pause(pause: Pause) -> str:
    reason = "" if pause.reason in (None, _WANTED) else f": {shorten(pause.reason, _LONGEST_REASON)}"
    until = "on" if pause.end is None else f"to {clock(pause.end)}"
    return f"the run was paused from {clock(pause.begin)} {until}{reason}"


def _trouble(trouble: Trouble) -> str:
    return f"{_TROUBLES[trouble.event]} at {clock(trouble.at)}: {shorten(trouble.reason, _LONGEST_REASON)}"


def _parted(gone: Iterable[GoneRow]) -> Iterator[str]:
    """Those of one host together, by what they were and whether they said that they left."""

    def alike(one: GoneRow) -> tuple[str, bool, bool]:
        return one.host, one.drives, one.left

    for (host, drives, left), group in groupby(sorted(gone, key=alike), key=alike):
        some = list(group)
        noun = "orchestrator" if drives else "worker"
        who = f"1 {noun}" if len(some) == 1 else f"{len(some)} {noun}s"
        first, last = clock(some[0].at), clock(some[-1].at)
        when = f"at {first}" if first == last else f"from {first} to {last}"
        yield f"{who} on host {host!r} {'ended' if left else 'fell silent'} {when}"
