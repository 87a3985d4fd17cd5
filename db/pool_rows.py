"""Rows of a pool's data set to be read by people: a few at random, those that bring most, those at a given place.

All texts of a run pass through here one by one, and are never held together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.pool_views import AT_RANDOM

Place = tuple[int, int]
"""An instruction's ordinal, and the number of its instance."""

# So many rows are fetched together where all are looked at.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A demonstration."""

    ordinal: int
    origin: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeExample:
    """An accepted example with the demonstrations that its instruction was generated from.

    brings: by so many nats a token its output is likelier behind the instruction than behind an empty one; None where
        that was not asked for.
    """

    ordinal: int
    instance: int
    round: int
    instruction: str
    input: str
    output: str | None
    shown: tuple[Shown, ...]
    brings: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Of how many instructions training said what they bring to their answer, and how many of these bring nothing."""

    measured: int
    nothing: int


_COLUMNS = "e.ordinal, e.instance, e.instruction, e.input, e.output"
_ACCEPTED = "e.run_id = :run AND e.ordinal IS NOT NULL AND e.status = 'accepted'"


def made_examples(connection: Connection, run_id: int, *, most: int) -> list[MadeExample]:
    """At most `most` accepted examples, at random but always the same, in the order of their instructions."""
    drawn = f"""
        SELECT {_COLUMNS}, NULL::float8 AS brings FROM examples e WHERE {_ACCEPTED}
        ORDER BY {AT_RANDOM.format("ordinal || ':' || instance")} LIMIT :most
    """
    return sorted(_made(connection, run_id, drawn, most=most), key=_place)


def bringing_most(connection: Connection, run_id: int, *, most: int) -> list[MadeExample]:
    """At most `most` accepted examples of which training said that the instruction brings something, the most first.

    An instruction has one of them: its first good instance, which is the one that training read.
    """
    drawn = f"""
        SELECT {_COLUMNS}, l.brings FROM (
            SELECT ordinal, brings FROM lessons WHERE run_id = :run AND brings > 0
            ORDER BY brings DESC, ordinal LIMIT :most
        ) l CROSS JOIN LATERAL (
            SELECT * FROM examples e WHERE {_ACCEPTED} AND e.ordinal = l.ordinal ORDER BY e.instance LIMIT 1
        ) e
    """
    return sorted(_made(connection, run_id, drawn, most=most), key=lambda one: (-(one.brings or 0.0), *_place(one)))


def made_at(connection: Connection, run_id: int, places: Sequence[Place]) -> list[MadeExample]:
    """The examples at these places, in this order."""
    drawn = f"""
        SELECT {_COLUMNS}, NULL::float8 AS brings
        FROM unnest(CAST(:ordinals AS int[]), CAST(:instances AS int[])) AS p (ordinal, instance)
        JOIN examples e ON {_ACCEPTED} AND e.ordinal = p.ordinal AND e.instance = p.instance
    """
    ordinals, instances = [ordinal for ordinal, _ in places], [instance for _, instance in places]
    found = {_place(one): one for one in _made(connection, run_id, drawn, ordinals=ordinals, instances=instances)}
    return [found[place] for place in places if place in found]


def texts(connection: Connection, run_id: int) -> Iterator[tuple[Place, str, str | None]]:
    """Place, instruction and output of every accepted example in their order, read as they are taken.

    None for the output of a task of classification: it is a label, which says nothing by its length.
    """
    query = f"""
        SELECT e.ordinal, e.instance, e.instruction, CASE WHEN i.is_classification THEN NULL ELSE e.output END AS output
        FROM examples e JOIN instructions i ON i.run_id = e.run_id AND i.ordinal = e.ordinal
        WHERE {_ACCEPTED} ORDER BY 1, 2
    """
    for row in connection.execute(text(query), {"run": run_id}, execution_options={"yield_per": _TOGETHER}):
        yield (row.ordinal, row.instance), row.instruction, row.output


def brought(connection: Connection, run_id: int) -> Brought:
    query = (
        "SELECT count(brings) AS measured, count(*) FILTER (WHERE brings <= 0) AS nothing "
        "FROM lessons WHERE run_id = :run"
    )
    return Brought(**connection.execute(text(query), {"run": run_id}).one()._mapping)


def _place(one: MadeExample) -> Place:
    return one.ordinal, one.instance


def _made(connection: Connection, run_id: int, drawn: str, **parameters: object) -> list[MadeExample]:
    """What a query found, with its demonstrations.

    Drawn before anything is joined: however many examples there are, a few rows of instructions are looked up.
    """
    query = f"""
        WITH drawn AS MATERIALIZED ({drawn})
        SELECT d.*, i.round, i.shown FROM drawn d JOIN instructions i ON i.run_id = :run AND i.ordinal = d.ordinal
    """
    rows = connection.execute(text(query), {"run": run_id, **parameters}).all()
    known = _shown(connection, run_id, sorted({ordinal for row in rows for ordinal in row.shown}))
    return [
        MadeExample(**{**row._mapping, "shown": tuple(known[ordinal] for ordinal in row.shown if ordinal in known)})
        for row in rows
    ]


def _shown(connection: Connection, run_id: int, ordinals: Sequence[int]) -> Mapping[int, Shown]:
    rows = connection.execute(
        text("SELECT ordinal, origin, text FROM instructions WHERE run_id = :run AND ordinal = ANY (:ordinals)"),
        {"run": run_id, "ordinals": list(ordinals)},
    )
    return {row.ordinal: Shown(**row._mapping) for row in rows}
