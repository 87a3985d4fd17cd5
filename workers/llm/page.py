"""One page of the ledger: everything that was wanted of it at about the same time, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from db import attempts, calls
from db.attempts import Refusal
from db.records import AttemptRow, CallRow, Spend
from workers.llm.errors import BudgetSpent, ModelError, Withdrawn


@dataclass(frozen=True, slots=True)
class Lookup:
    key: str


@dataclass(frozen=True, slots=True)
class Record:
    """An answer, and the attempt that brought it."""

    row: CallRow
    attempt: str | None


@dataclass(frozen=True, slots=True)
class Unpaid:
    attempt: str


Wanted = Lookup | AttemptRow | Record | Unpaid
Answer = CallRow | ModelError | None


@dataclass(slots=True, kw_only=True)
class Page:
    """What a transaction found, and what is left to do after it."""

    found: dict[str, CallRow] = field(default_factory=dict)
    refused: dict[str, Refusal | None] = field(default_factory=dict)
    uncovered: list[AttemptRow] = field(default_factory=list)
    doubled: list[CallRow] = field(default_factory=list)

    def answer(self, wanted: Wanted) -> Answer:
        """What whoever wanted this is told."""
        if isinstance(wanted, Record):
            return self.found[wanted.row.key]
        if isinstance(wanted, Lookup):
            return self.found.get(wanted.key)
        return _error(self.refused.get(wanted.id)) if isinstance(wanted, AttemptRow) else None


def _error(refusal: Refusal | None) -> ModelError | None:
    if refusal is None:
        return None
    if refusal is Refusal.CAP:
        return BudgetSpent("no cap of the run leaves room for another call")
    said = "its run is not running" if refusal is Refusal.HALTED else "its task has been taken away"
    return Withdrawn(f"the call is not made: {said}")


def write_page(connection: Connection, records: Sequence[Record], others: Sequence[Wanted]) -> Page:
    """Answers are written first, then attempts are announced, then questions answered."""
    page = Page()
    unpaid = [item.attempt for item in others if isinstance(item, Unpaid)]
    attempts.lock(connection, [*unpaid, *(record.attempt for record in records if record.attempt)])
    _record(connection, records, page)
    attempts.close_all(connection, dict.fromkeys(unpaid, Spend()))
    opening = [item for item in others if isinstance(item, AttemptRow)]
    page.refused.update(attempts.open_all(connection, opening))
    page.uncovered = [item for item in opening if page.refused.get(item.id) is Refusal.UNCOVERED]
    wanted = {item.key for item in others if isinstance(item, Lookup)}
    page.found.update(calls.find(connection, wanted - page.found.keys()))
    return page


def _record(connection: Connection, records: Sequence[Record], page: Page) -> None:
    """Under a key that is taken the older row stands, and the attempt is kept: it was paid for in vain."""
    first = {record.row.key: record for record in reversed(records)}
    added = calls.insert(connection, [record.row for record in first.values()])
    page.found.update({key: first[key].row for key in added})
    page.found.update(calls.find(connection, first.keys() - added))
    brought = [record for record in records if page.found[record.row.key] == record.row]
    attempts.close_all(connection, {record.attempt: _cost(record.row) for record in brought if record.attempt})
    for record in records:
        if record not in brought:
            page.doubled.append(record.row)
            if record.attempt:
                attempts.doubled(connection, record.attempt, _cost(record.row))


def _cost(row: CallRow) -> Spend:
    return Spend(calls=1, tokens=row.tokens_in + row.tokens_out, nusd=row.nusd or 0)
