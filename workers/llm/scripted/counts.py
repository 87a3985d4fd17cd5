"""What was asked, what was answered and so paid for, and which of it the client could make nothing of."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workers.llm.scripted.journal import Journal
from workers.llm.scripted.limits import Window

_PAID, _SENT, _SPOILED, _CUT = "paid", "sent", "spoiled", "cut"


class Receipt:
    """One paid answer on its way. It ends sent or spoiled, once."""

    def __init__(self, counts: "Counts", body: str) -> None:
        self._counts = counts
        self._body = body
        self._ended = False

    def sent(self) -> None:
        """The whole of it was given to the network."""
        if not self._ended:
            self._ended = True
            self._counts.note_sent(self._body)

    def spoil(self, why: str) -> None:
        """The client cannot have it whole, or can make nothing of it."""
        if not self._ended:
            self._ended = True
            self._counts.note_spoiled(self._body, why)


class Counts:
    """Counters of one server, with what its journal knows of the ones before it.

    `spoiled` are paid answers for which a client may rightly pay again: sent in part or not at all, unreadable, given
    up by the client, a judge's answer that is no answer, or on their way when the endpoint was killed. `abandoned` are
    requests whose client went away before the work was done: not paid.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.spoiled: Counter[str] = Counter()
        self.spoiled_bodies: Counter[str] = Counter()
        self.abandoned = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.asking, self.admitting, self.answering = Window(), Window(), Window()
        self._rooms: dict[str, int] = {}
        if journal is not None:
            self._restore(journal)

    @contextmanager
    def flight(self) -> Iterator[None]:
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self.asking.mark()
        try:
            yield
        finally:
            self.in_flight -= 1

    def pay(self, body: str, path: str, tokens_in: int, tokens_out: int) -> Receipt:
        """Counts an answer, durably, before any of it is sent. Raises OSError when the journal cannot be written."""
        if self._journal is not None:
            self._journal.write((_PAID, body, path, tokens_in, tokens_out))
        self._count_paid(body, path, tokens_in, tokens_out)
        return Receipt(self, body)

    def note_sent(self, body: str) -> None:
        self.answering.mark()
        if self._journal is not None:
            self._journal.write((_SENT, body))

    def note_spoiled(self, body: str, why: str) -> None:
        if self._journal is not None:
            self._journal.write((_SPOILED, body, why))
        self._count_spoiled(body, why)

    def was_cut(self, question: str, room: int) -> bool:
        """Whether this question was cut off before with less room than this."""
        return self._rooms.get(question, room) < room

    def note_cut(self, question: str, room: int) -> None:
        if self._journal is not None:
            self._journal.write((_CUT, question, room))
        self._rooms[question] = min(self._rooms.get(question, room), room)

    def _count_paid(self, body: str, path: str, tokens_in: int, tokens_out: int) -> None:
        self.paid[path] += 1
        self.bodies[body] += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def _count_spoiled(self, body: str, why: str) -> None:
        self.spoiled[why] += 1
        self.spoiled_bodies[body] += 1

    def _restore(self, journal: Journal) -> None:
        unsent: Counter[str] = Counter()
        for line in journal.lines():
            match line:
                case [verb, body, path, tokens_in, tokens_out] if verb == _PAID:
                    self._count_paid(body, path, int(tokens_in), int(tokens_out))
                    unsent[body] += 1
                case [verb, body] if verb == _SENT:
                    unsent[body] -= 1
                case [verb, body, why] if verb == _SPOILED:
                    self._count_spoiled(body, why)
                    unsent[body] -= 1
                case [verb, question, room] if verb == _CUT:
                    self._rooms[question] = min(self._rooms.get(question, int(room)), int(room))
        for body in unsent.elements():  # the endpoint was killed before it could say that these went out
            self._count_spoiled(body, "killed")
        self.asked.update(self.bodies)

    def as_json(self) -> dict[str, Any]:
        paid_for_nothing = {body: n - 1 - self.spoiled_bodies[body] for body, n in self.bodies.items()}
        return {
            "requests": dict(self.requests),
            "statuses": dict(self.statuses),
            "refused": {status: n for status, n in self.statuses.items() if status != "200"},
            "rejected_429": self.statuses["429"],
            "paid": dict(self.paid),
            "paid_total": self.paid.total(),
            "repaid": self.bodies.total() - len(self.bodies),
            "repaid_unexplained": sum(n for n in paid_for_nothing.values() if n > 0),
            "bodies": dict(self.bodies),
            "spoiled": self.spoiled.total(),
            "spoiled_by": dict(self.spoiled),
            "spoiled_bodies": dict(self.spoiled_bodies),
            "abandoned": self.abandoned,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "asked_per_second_peak": self.asking.peak,
            "admitted_per_second_peak": self.admitting.peak,
            "answered_last_second": self.answering.now(),
        }
