"""Attempts, answers and caps on real rows: whatever is lost, doubled or late, no more is paid than a cap allows."""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, text

from db import attempts
from db.attempts import Refusal
from db.records import AttemptRow, CallRow, Caps, Lease, Spend
from tests.properties.lease_machine import ACTS, LOTS, LeaseMachine, Lot, gentle
from workers.llm.errors import BudgetSpent, Withdrawn
from workers.llm.page import Lookup, Page, Record, Unpaid, write_page

pytestmark = pytest.mark.integration

QUESTIONS = [f"k{i}" for i in range(5)]
MONEY = (
    *10 * ("ask",),
    *4 * ("hear",),
    *6 * ("record",),
    *2 * ("cover_later",),
    "open_again",
    "cover_again",
    "take_back",
    "ask_in_a_pause",
)
_ATTEMPTS = "SELECT id, key, task_id, tokens, coalesce(nusd, 0), fate, settled FROM attempts"
_CALLS = "SELECT key, task_id, tokens_in + tokens_out, coalesce(nusd, 0) FROM calls"


@dataclass(slots=True)
class Sent:
    """A request that has gone out: the endpoint has done the work, and charges for it."""

    row: CallRow
    recorded: bool = False


class MoneyMachine(LeaseMachine):
    """Requests are announced, sent, answered, lost: in time, late, twice, by workers that hold their lease or not."""

    @initialize(
        calls=st.none() | st.integers(4, 16),
        tokens=st.none() | st.integers(300, 4000),
        money=st.none() | st.integers(600, 8000),
        priced=st.booleans(),
    )
    def begin(self, calls: int | None, tokens: int | None, money: int | None, priced: bool) -> None:
        self.priced = priced or money is not None
        self.uncovered: list[AttemptRow] = []
        self.open_ones: dict[str, AttemptRow] = {}  # those that may be sent
        self.count = 0
        self.sent: dict[str, Sent] = {}
        self.charged = Spend()
        self.start(Caps(calls=calls, tokens=tokens, nusd=money))

    @rule(what=st.sampled_from(ACTS + MONEY), lot=LOTS)
    def happens(self, what: str, lot: Lot) -> None:
        getattr(self, what)(lot)

    def ask(self, lot: Lot) -> None:
        """Announced as the ledger does: on a page, and then by itself, at once or later, if too little is reserved.

        What may be sent is sent, and answered at once, later, or never.
        """
        if not (lease := self.lease(lot)):
            return
        tokens = 50 + 3 * lot.size // 2
        questions = [QUESTIONS[(lot.size + i) % len(QUESTIONS)] for i in range(1 + lot.pick % 2)]
        page_of = [self._attempt(lease, question, tokens) for question in questions]
        expected = {wanted.id: self.book.open(wanted) for wanted in page_of}
        page = write_page(self.connection, [], page_of)
        assert {wanted.id: page.refused.get(wanted.id) for wanted in page_of} == expected
        assert page.uncovered == [wanted for wanted in page_of if expected[wanted.id] is Refusal.UNCOVERED]
        self.uncovered += page.uncovered
        for wanted in page_of:
            if expected[wanted.id] is not Refusal.UNCOVERED:
                self._told(wanted, expected[wanted.id])
            elif lot.size % 4:
                self.uncovered.remove(wanted)
                self._cover(wanted)
            if lot.odd and wanted.id in self.open_ones:
                self._answer(wanted, lot.size)

    def ask_in_a_pause(self, lot: Lot) -> None:
        self.pause(lot)
        self.ask(lot)

    def _attempt(self, lease: Lease, question: str, tokens: int) -> AttemptRow:
        self.count += 1
        return AttemptRow(
            id=f"a{self.count:03}",
            key=question,
            run_id=lease.run_id,
            task_id=lease.task_id,
            lease_token=lease.token,
            role="evolver",
            endpoint="default",
            tokens=tokens,
            nusd=2 * tokens if self.priced else None,
        )

    def cover_later(self, lot: Lot) -> None:
        """Meanwhile its lease may have gone, its run been paused, its task been settled, its cap been used up."""
        if self.uncovered:
            self._cover(self.uncovered.pop(lot.pick % len(self.uncovered)))

    def cover_again(self, lot: Lot) -> None:
        """The commit was not heard of."""
        if wanted := self._open_one(lot):
            self._cover(wanted)

    def open_again(self, lot: Lot) -> None:
        """The commit was not heard of."""
        if wanted := self._open_one(lot):
            expected = self.book.open(wanted)
            assert write_page(self.connection, [], [wanted]).refused.get(wanted.id) == expected
            self._told(wanted, expected)

    def _cover(self, wanted: AttemptRow) -> None:
        expected = self.book.cover(wanted)
        assert attempts.cover(self.connection, wanted) == expected
        self._told(wanted, expected)

    def _open_one(self, lot: Lot) -> AttemptRow | None:
        names = sorted(self.open_ones)
        return self.open_ones[names[lot.pick % len(names)]] if names else None

    def _told(self, wanted: AttemptRow, refused: Refusal | None) -> None:
        """What whoever wanted the call hears: an error that says whether anybody may want it again, or nothing."""
        answer = Page(refused={wanted.id: refused}).answer(wanted)
        self.open_ones.pop(wanted.id, None)
        if refused is None:
            assert answer is None
            self.open_ones[wanted.id] = wanted
        elif refused is Refusal.CAP:
            assert isinstance(answer, BudgetSpent)
        else:
            assert isinstance(answer, Withdrawn)

    def hear(self, lot: Lot) -> None:
        if wanted := self._open_one(lot):
            self._answer(wanted, lot.size)

    def _answer(self, wanted: AttemptRow, used: int) -> None:
        """The endpoint is paid, whether or not anybody will hear its answer. `used` is in per cent."""
        del self.open_ones[wanted.id]
        tokens = wanted.tokens * used // 99
        cost = Spend(calls=1, tokens=tokens, nusd=2 * tokens if self.priced else 0)
        self.charged += cost
        row = CallRow(
            key=wanted.key,
            run_id=wanted.run_id,
            task_id=wanted.task_id,
            role="evolver",
            endpoint="default",
            model="m",
            tokens_in=tokens // 2,
            tokens_out=tokens - tokens // 2,
            nusd=cost.nusd if self.priced else None,
            latency_s=len(self.sent) + 0.1,  # no two answers are alike
            outcome="ok",
            response={"text": wanted.id},
        )
        self.sent[wanted.id] = Sent(row)

    def record(self, lot: Lot) -> None:
        """Up to three answers, new or written before (the commit was not heard of), on one page; perhaps twice over."""
        names = sorted(self.sent, key=lambda attempt_id: (self.sent[attempt_id].recorded, attempt_id))
        chosen = names[lot.pick % 3 : lot.pick % 3 + 1 + lot.size % 3]
        records = [Record(self.sent[attempt_id].row, attempt_id) for attempt_id in chosen]
        new = [r for r in records if r.attempt and not self.sent[r.attempt].recorded]
        self.book.record([(r.attempt, _cost(r.row)) for r in new if r.attempt])
        for _ in range(1 + lot.odd):
            page = write_page(self.connection, records, [Lookup(r.row.key) for r in records])
            for record in records:
                standing = page.answer(record)
                assert isinstance(standing, CallRow)
                assert standing == page.answer(Lookup(record.row.key))
                assert _cost(standing) == self.book.calls[record.row.key].cost
        for attempt_id in chosen:
            self.sent[attempt_id].recorded = True

    def take_back(self, lot: Lot) -> None:
        """It was surely not paid for."""
        if wanted := self._open_one(lot):
            del self.open_ones[wanted.id]
            self.book.unpaid(wanted.id)
            for _ in range(1 + lot.odd):
                write_page(self.connection, [], [Unpaid(wanted.id)])

    @invariant()
    def attempts_and_calls_are_as_the_model_says(self) -> None:
        found = {row[0]: tuple(row[1:]) for row in self.connection.execute(text(_ATTEMPTS))}
        assert found == {
            attempt_id: (a.key, a.task_id, a.cost.tokens, a.cost.nusd, a.fate, a.settled)
            for attempt_id, a in self.book.attempts.items()
        }
        known = {row[0]: tuple(row[1:]) for row in self.connection.execute(text(_CALLS))}
        assert known == {k: (p.task_id, p.cost.tokens, p.cost.nusd) for k, p in self.book.calls.items()}

    @invariant()
    def no_more_is_charged_than_a_cap_allows(self) -> None:
        """And what the run believes to have spent or set aside is never less than what was charged."""
        caps, charged = self.book.caps, self.charged
        for cap, amount in ((caps.calls, charged.calls), (caps.tokens, charged.tokens), (caps.nusd, charged.nusd)):
            assert cap is None or amount <= cap
        held = self.book.reserved + self.book.spent
        assert charged.calls <= held.calls and charged.tokens <= held.tokens and charged.nusd <= held.nusd


def _cost(row: CallRow) -> Spend:
    return Spend(calls=1, tokens=row.tokens_in + row.tokens_out, nusd=row.nusd or 0)


def test_no_loss_and_no_lateness_makes_a_run_pass_its_caps(engine: Engine):
    class Here(MoneyMachine):
        pass

    Here.engine = engine
    run_state_machine_as_test(Here, settings=gentle(examples=50, steps=40))
