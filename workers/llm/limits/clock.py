"""What the server's clock says in terms of ours, without trusting that either is right."""

from dataclasses import dataclass


@dataclass(slots=True)
class ServerClock:
    """Learns the difference from exchanges. Ours and theirs are in seconds.

    An answer that waited for a busy event loop says the time late, and places would be taken late by as much. But
    their time was read between sending and receiving, so every exchange bounds the difference, and the bounds of
    earlier ones are better than the moment at which this answer was looked at. A clock that is set moves them.
    """

    difference: float | None = None

    def ours(self, theirs: float, *, sent: float, received: float) -> float:
        """Their moment by our clock."""
        least, most = sent - theirs, received - theirs
        self.difference = most if self.difference is None else min(max(self.difference, least), most)
        return theirs + self.difference
