"""Removing a run that has ended: who is refused, and its rows batch by batch, each in a transaction of its own."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine

from db import removal, runs
from db.engine import patiently
from db.errors import ConfigError
from db.records import Run
from orchestrator.changing import ENDED
from orchestrator.steering import find_run

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How many rows went, by table; and how many answers stay in the ledger, where any run finds them."""

    rows: Mapping[str, int]
    calls_kept: int


def refuse_on(run: Run) -> None:
    """Raises ConfigError for a run that is not over."""
    if run.status not in ENDED:
        raise ConfigError(
            f"run {run.name!r} is {run.status}: only a run that has ended can be removed; "
            f"`instructree cancel {run.name}` ends it"
        )


def remove(engine: Engine, name: str, *, with_calls: bool) -> Removed:
    """Removes the run's rows, bit by bit. Where it was killed or refused half-way, doing it again goes on.

    `with_calls`: its answers in the ledger go, too, but for those that rows of other runs name.

    Raises:
        ConfigError: there is no such run, or it is not over; or another is not, which may be given these answers at any
            moment.
    """
    run = patiently(engine, lambda connection: _mark(connection, name, with_calls))
    rows: Counter[str] = Counter()
    while some := _in_turn(engine, run, lambda connection: removal.remove_some(connection, run.id)):
        rows.update(some)
    if with_calls:
        rows["calls"] = _through_calls(engine, run, _forget_some)
    kept = _through_calls(engine, run, removal.release_some)
    patiently(engine, lambda connection: removal.remove_run(connection, run))
    return Removed(rows={table: count for table, count in rows.items() if count}, calls_kept=kept)


def _mark(connection: Connection, name: str, with_calls: bool) -> Run:
    run = runs.lock(connection, find_run(connection, name).id)
    refuse_on(run)
    if with_calls:
        _refuse_others_on(connection, run.id)
    removal.mark(connection, run.id)
    return run


def _refuse_others_on(connection: Connection, run_id: int) -> None:
    if others := removal.others_on(connection, run_id):
        raise ConfigError(
            f"run {others[0]!r} is not over and may be given these answers: leave --calls out, or wait for its end"
        )


def _forget_some(connection: Connection, run_id: int, after: int) -> removal.Calls | None:
    _refuse_others_on(connection, run_id)
    return removal.forget_some(connection, run_id, after)


def _through_calls(engine: Engine, run: Run, step: Callable[[Connection, int, int], removal.Calls | None]) -> int:
    """Takes this step with all calls of the run, a batch at a time. Returns how many it changed."""
    after = changed = 0
    while found := _in_turn(engine, run, lambda connection: step(connection, run.id, after)):  # noqa: B023 - at once
        after, changed = found.last, changed + found.changed
    return changed


def _in_turn(engine: Engine, run: Run, work: Callable[[Connection], T]) -> T:
    """One batch in its transaction, which another command that removes the same run waits for."""

    def batch(connection: Connection) -> T:
        removal.wait_for_turn(connection, run.id)
        return work(connection)

    return patiently(engine, batch)
