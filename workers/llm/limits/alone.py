"""What one process allows itself while nobody can be asked: a small part of what all of them may do together."""

from dataclasses import dataclass

from workers.llm.limits.take import Take

# As many processes are assumed, even if fewer were seen.
LEAST_SHARERS = 4
# Requests a second for all together where no limit is known.
UNKNOWN_PACE = 4.0


@dataclass(slots=True, kw_only=True)
class Alone:
    """A pace and a number of calls at a time, divided by the processes last seen. Times are the caller's clock's."""

    sharers: int = LEAST_SHARERS
    pace: float = UNKNOWN_PACE
    _next: float = 0.0

    def learn(self, *, members: int, pace: float) -> None:
        """Keeps in mind what all together were doing: how many they are, and requests a second."""
        self.sharers = max(members, LEAST_SHARERS)
        self.pace = min(pace, UNKNOWN_PACE) if pace > 0 else UNKNOWN_PACE

    def wait_s(self, take: Take, *, now: float, in_flight: int) -> float | None:
        """0 when this take may go now, and is counted; else the seconds until it may. None: when another ends."""
        if in_flight >= max(take.concurrency // self.sharers, 1):
            return None
        if now < self._next:
            return self._next - now
        self._next = now + self.sharers / self._all_together(take)
        return 0.0

    def _all_together(self, take: Take) -> float:
        """Requests a second. A configured limit is known to be right; a learned pace may have been a moment's."""
        paces = [] if take.requests_per_minute is None else [take.requests_per_minute / 60]
        if take.tokens_per_minute is not None:
            paces.append(take.tokens_per_minute / 60 / max(take.tokens, 1))
        return min(paces, default=self.pace)
