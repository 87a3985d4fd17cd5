"""Pools of instructions, their rounds, and what training said of them: written by the scheduler alone, in bulk.

History is never overwritten: a text that was judged stays as it was judged, and who enters or leaves the seeds is an
event.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, func, insert, select, update

from db import totals
from db.records import BatchRow, InstanceRow, InstructionRow, Json, LessonRow, RoundRow, SeedEventRow
from db.schema import batches, examples, instructions, lessons, rounds, seed_events

R = TypeVar("R", InstructionRow, RoundRow, BatchRow, LessonRow, SeedEventRow)

_NOW = func.now()


def plant(connection: Connection, run_id: int, seeds: Sequence[tuple[str, Json]]) -> None:
    """Stores the seeds of a run, (text, whole row) each, as the first of its instructions."""
    rows = [
        {"run_id": run_id, "ordinal": i, "origin": "seed", "text": text, "seed": seed, "status": "kept"}
        for i, (text, seed) in enumerate(seeds)
    ]
    connection.execute(insert(instructions), rows)


def add(connection: Connection, run_id: int, rows: Sequence[InstructionRow]) -> None:
    """Stores generated texts and the verdict on each. An ordinal that exists raises: it would be a bug."""
    if rows:
        connection.execute(insert(instructions), [_values(run_id, row) for row in rows])
        totals.add(connection, run_id, "texts", [(row.status, row.reason) for row in rows])


def _values(run_id: int, row: InstructionRow) -> dict[str, Any]:
    values = {name: value for name, value in asdict(row).items() if name not in ("is_settled", "seed")}
    return {**values, "run_id": run_id, "shown": list(row.shown), "calls": list(row.calls)}


def of_run(connection: Connection, run_id: int) -> list[InstructionRow]:
    """All instructions in their order."""
    settled = instructions.c.settled_at.is_not(None).label("is_settled")
    query = select(instructions, settled).where(instructions.c.run_id == run_id).order_by(instructions.c.ordinal)
    return _records(InstructionRow, connection.execute(query))


def seeds_of(connection: Connection, run_id: int) -> list[Json]:
    """The seeds as they were given."""
    mine = instructions.c.run_id == run_id, instructions.c.origin == "seed"
    return list(connection.scalars(select(instructions.c.seed).where(*mine).order_by(instructions.c.ordinal)))


def shown(connection: Connection, run_id: int, ordinals: Sequence[int]) -> list[tuple[str, Json]]:
    """The texts with these ordinals in this order, each with its first good instance (`input`, `output`)."""
    rows = {
        row.ordinal: row
        for row in connection.execute(
            select(instructions.c.ordinal, instructions.c.text, instructions.c.seed).where(
                instructions.c.run_id == run_id, instructions.c.ordinal.in_(ordinals)
            )
        )
    }
    made = _first_instances(connection, run_id, ordinals)
    return [(rows[i].text, rows[i].seed or made.get(i) or {}) for i in ordinals]


def _first_instances(connection: Connection, run_id: int, ordinals: Sequence[int]) -> dict[int, Json]:
    found = connection.execute(
        select(examples.c.ordinal, examples.c.input, examples.c.output)
        .where(examples.c.run_id == run_id, examples.c.ordinal.in_(ordinals), examples.c.status == "accepted")
        .order_by(examples.c.instance.desc())
    )
    return {row.ordinal: {"input": row.input, "output": row.output} for row in found}


def taught(connection: Connection, run_id: int, ordinals: Sequence[int]) -> Mapping[int, tuple[str, str, str]]:
    """Instruction, input and output of the first good instance of each; those without one are left out."""
    made = _first_instances(connection, run_id, ordinals)
    texts = connection.execute(
        select(instructions.c.ordinal, instructions.c.text).where(
            instructions.c.run_id == run_id, instructions.c.ordinal.in_(list(made))
        )
    )
    return {row.ordinal: (row.text, made[row.ordinal]["input"], made[row.ordinal]["output"]) for row in texts}


def teachable(connection: Connection, run_id: int) -> list[int]:
    """The instructions that have a good instance and are in no batch yet, in their order."""
    used = select(func.unnest(batches.c.members)).where(batches.c.run_id == run_id)
    good = (
        select(examples.c.ordinal)
        .where(examples.c.run_id == run_id, examples.c.status == "accepted", examples.c.ordinal.is_not(None))
        .where(examples.c.ordinal.not_in(used))
        .distinct()
    )
    return sorted(connection.scalars(good))


def settle(
    connection: Connection, run_id: int, ordinal: int, *, is_classification: bool | None, calls: Sequence[str]
) -> None:
    """Its instances were asked for; what they are is in `examples`."""
    connection.execute(
        update(instructions)
        .where(instructions.c.run_id == run_id, instructions.c.ordinal == ordinal)
        .values(is_classification=is_classification, instance_calls=list(calls), settled_at=_NOW)
    )


def give(connection: Connection, run_id: int, rows: Sequence[InstanceRow], calls: Sequence[str]) -> None:
    """Stores the instances of instructions, good and bad, as examples."""
    values = [{**asdict(row), "run_id": run_id, "response_calls": list(calls)} for row in rows]
    if values:
        connection.execute(insert(examples), values)
        totals.add(connection, run_id, "examples", [(row.status, row.reason) for row in rows])


def rounds_of(connection: Connection, run_id: int) -> list[RoundRow]:
    query = select(rounds).where(rounds.c.run_id == run_id).order_by(rounds.c.ordinal)
    return _records(RoundRow, connection.execute(query))


def open_round(connection: Connection, run_id: int, ordinal: int, prompts: int) -> None:
    values = {"run_id": run_id, "ordinal": ordinal, "prompts": prompts, "status": "generating"}
    connection.execute(insert(rounds).values(values))


def update_round(connection: Connection, run_id: int, row: RoundRow) -> None:
    """Writes how far a round has come."""
    mine = rounds.c.run_id == run_id, rounds.c.ordinal == row.ordinal
    connection.execute(update(rounds).where(*mine).values(asdict(row)))


def add_batches(connection: Connection, run_id: int, rows: Sequence[BatchRow]) -> None:
    if rows:
        values = [{**asdict(row), "run_id": run_id, "members": list(row.members)} for row in rows]
        connection.execute(insert(batches), values)


def batches_of(connection: Connection, run_id: int) -> list[BatchRow]:
    """All batches in the order of their steps."""
    query = select(batches).where(batches.c.run_id == run_id).order_by(batches.c.step)
    return _records(BatchRow, connection.execute(query))


def train(connection: Connection, run_id: int, steps: Sequence[BatchRow], learnt: Sequence[LessonRow]) -> None:
    """Writes what training said of batches (their norm, loss, seconds, reason) and of each of their members."""
    for row in steps:
        connection.execute(
            update(batches)
            .where(batches.c.run_id == run_id, batches.c.round == row.round, batches.c.ordinal == row.ordinal)
            .values(gradient_norm=row.gradient_norm, loss=row.loss, seconds=row.seconds, reason=row.reason)
            .values(trained_at=_NOW)
        )
    if learnt:
        connection.execute(insert(lessons), [{**asdict(row), "run_id": run_id} for row in learnt])


def lessons_of(connection: Connection, run_id: int) -> list[LessonRow]:
    query = select(lessons).where(lessons.c.run_id == run_id)
    query = query.order_by(lessons.c.round, lessons.c.batch, lessons.c.ordinal)
    return _records(LessonRow, connection.execute(query))


def record(connection: Connection, run_id: int, events: Sequence[SeedEventRow]) -> None:
    """Appends who entered and who left the seed pool."""
    if events:
        connection.execute(insert(seed_events), [{**asdict(event), "run_id": run_id} for event in events])


def events_of(connection: Connection, run_id: int) -> list[SeedEventRow]:
    query = select(seed_events).where(seed_events.c.run_id == run_id).order_by(seed_events.c.id)
    return _records(SeedEventRow, connection.execute(query))


def _records(kind: type[R], rows: Iterable[Row[Any]]) -> list[R]:
    """Rows as records that have columns for fields; arrays become tuples."""
    names = [field.name for field in fields(kind)]
    return [kind(**{name: _frozen(row._mapping[name]) for name in names}) for row in rows]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
