"""The laws at the end: recounted from the rows, and held against what the endpoint itself has counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from db import laws, runs
from db.records import Run

# Under which count a broken law goes, by words of its name; a law that is not known here counts as lost.
_COUNTED = {
    "duplicated": ("twice",),
    "overspent": ("exceeds a cap",),
    "stat_errors": (
        *("summed up", "reward is", "score comes", "what is spent", "has reserved", "is reserved", "is settled"),
    ),
}


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Every count must be 0, but for `repaid`, which may be as large as `in_flight`.

    `repaid`: calls paid again although their first answer had gone out whole, by the endpoint's count.
    """

    lost: int = 0
    duplicated: int = 0
    stat_errors: int = 0
    overspent: int = 0
    repaid: int = 0
    in_flight: int = 0
    faults: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.duplicated or self.stat_errors or self.overspent) and (
            self.repaid <= self.in_flight
        )

    def blame(self, count: str, fault: str, amount: int = 1) -> None:
        self.faults.append(f"{count}: {fault}")
        setattr(self, count, getattr(self, count) + amount)


def audit(
    engine: Engine,
    datasets: Mapping[str, Path],
    stats: Mapping[str, Any],
    *,
    in_flight: int,
    ends: Sequence[str] = ("done",),
) -> Verdict:
    """These runs (by name, with the data set that each has written), and all that the endpoint was ever paid for.

    `ends` are the states that the runs may have come to. The database must hold all runs that the endpoint has served.
    """
    verdict = Verdict(in_flight=in_flight)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        for name, dataset in datasets.items():
            _judge_run(verdict, connection, name, dataset, ends)
        _judge_money(verdict, connection, stats)
    return verdict


def _judge_run(verdict: Verdict, connection: Connection, name: str, dataset: Path, ends: Sequence[str]) -> None:
    run = runs.by_name(connection, name)
    if run is None:
        verdict.blame("lost", f"run {name} was never begun")
        return
    if run.status not in ends:
        verdict.blame("lost", f"run {name} is {run.status}, {run.phase} ({run.reason})")
    for law, found in laws.recount(connection, run.id).items():
        for fault in found:
            verdict.blame(_count_of(law), f"{name}: {law}: {fault}")
    if run.status == "done":
        _judge_trees(verdict, connection, run)
    _judge_dataset(verdict, connection, run, dataset)


def _count_of(law: str) -> str:
    return next((count for count, words in _COUNTED.items() if any(word in law for word in words)), "lost")


def _judge_trees(verdict: Verdict, connection: Connection, run: Run) -> None:
    """Nothing kept a run from its end, so every tree has grown, and no task was lost to kills."""
    for tree in runs.trees_of(connection, run.id):
        if tree.status != "grown":
            verdict.blame("lost", f"{run.name}: tree {tree.ordinal} is {tree.status}")
    query = text("SELECT key, attempts, error FROM tasks WHERE run_id = :run")
    for row in connection.execute(query, {"run": run.id}):
        verdict.blame("lost", f"{run.name}: task {row.key} failed after {row.attempts} attempts: {row.error}")


def _judge_dataset(verdict: Verdict, connection: Connection, run: Run, dataset: Path) -> None:
    query = text("SELECT count(*) FROM examples WHERE run_id = :run AND status = 'accepted'")
    accepted = connection.execute(query, {"run": run.id}).scalar_one()
    written = len(dataset.read_text(encoding="utf-8").splitlines()) if dataset.exists() else 0
    if written != accepted:
        verdict.blame("lost", f"{run.name}: {accepted} examples, {written} of them in the data set")


def _judge_money(verdict: Verdict, connection: Connection, stats: Mapping[str, Any]) -> None:
    """Every paid answer is in the ledger or counted as an attempt without one; none is in it that was not paid."""
    query = """
        SELECT (SELECT count(*) FROM calls) AS answers, (SELECT count(*) FROM attempts) AS attempts,
               (SELECT count(*) FROM attempts WHERE fate = 'doubled') AS doubled,
               (SELECT sum(spent_calls) FROM runs) AS spent
    """
    row = connection.execute(text(query)).one()
    paid, spoiled = int(stats["paid_total"]), int(stats["spoiled"])
    verdict.figures = {
        "paid": paid,
        "spoiled": spoiled,
        "repaid_in_all": int(stats["repaid"]),
        "answers": row.answers,
        "attempts_without": row.attempts,
        "doubled": row.doubled,
        "spent": int(row.spent or 0),
    }
    verdict.repaid = int(stats["repaid_unexplained"])
    if paid > int(row.spent or 0):
        verdict.blame("overspent", f"the endpoint was paid {paid} calls, {row.spent} are counted", paid - row.spent)
    if row.answers > paid:
        verdict.blame("stat_errors", f"{row.answers} answers in the ledger, {paid} were paid", row.answers - paid)
    if verdict.repaid > verdict.in_flight:
        verdict.faults.append(f"repaid: {verdict.repaid} calls, {verdict.in_flight} were in flight")


def figures(verdict: Verdict) -> str:
    return " ".join(f"{name}={value}" for name, value in verdict.figures.items())


def complain(verdict: Verdict) -> None:
    for fault in verdict.faults:
        print(f"BROKEN {fault}")


def counts(verdict: Verdict) -> str:
    return (
        f"lost={verdict.lost} duplicated={verdict.duplicated} stat_errors={verdict.stat_errors} "
        f"repaid={verdict.repaid} inflight_at_kills={verdict.in_flight} overspent={verdict.overspent}"
    )
