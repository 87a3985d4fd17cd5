"""All that a comparison shows: one object, a document, a picture, tables for a terminal, notes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from sqlalchemy import Connection

from db.records import Run
from orchestrator.compare import figures, picture, record, table, wording
from orchestrator.compare.arms import Arm, setting_of
from orchestrator.compare.gather import outcome_of
from orchestrator.compare.pools import figures as pool_figures
from orchestrator.compare.pools import picture as pool_picture
from orchestrator.compare.pools import record as pool_record
from orchestrator.compare.pools import table as pool_table
from orchestrator.compare.pools import wording as pool_wording
from orchestrator.compare.pools.gather import outcome_of as pool_outcome_of
from orchestrator.compare.pools.setting import pool_setting
from orchestrator.compare.terms import PoolTerms, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """`tables` are made for a width in characters."""

    json: str
    markdown: str
    picture: str
    tables: Callable[[int], Sequence[Table]]
    notes: Sequence[str]


def pages_of(
    connection: Connection, name: str, arms: Sequence[Arm], runs: Sequence[Run], terms: Terms | PoolTerms, seeds: int
) -> Pages:
    """What the runs of these arms, which have ended, came to."""
    if isinstance(terms, Terms):
        return _of_trees(connection, name, arms, runs, terms)
    return _of_pools(connection, name, arms, runs, terms, seeds)


def _of_trees(connection: Connection, name: str, arms: Sequence[Arm], runs: Sequence[Run], terms: Terms) -> Pages:
    setting = setting_of(arms, terms)
    found = figures.compare([outcome_of(connection, arm.name, run) for arm, run in zip(arms, runs, strict=True)])
    return Pages(
        json=record.as_json(name, found, setting),
        markdown=table.markdown(found, setting),
        picture=picture.picture(found, setting),
        tables=lambda width: [table.terminal(found, setting, width)],
        notes=wording.notes(found, setting),
    )


def _of_pools(
    connection: Connection, name: str, arms: Sequence[Arm], runs: Sequence[Run], terms: PoolTerms, seeds: int
) -> Pages:
    setting = pool_setting(arms, seeds=seeds, max_calls=terms.max_calls)
    outcomes = [pool_outcome_of(connection, arm.name, run) for arm, run in zip(arms, runs, strict=True)]
    found = pool_figures.compare(outcomes)
    return Pages(
        json=pool_record.as_json(name, found, setting),
        markdown=pool_table.markdown(found, setting),
        picture=pool_picture.picture(found, setting),
        tables=lambda width: pool_table.terminal(found, setting, width),
        notes=pool_wording.notes(found, setting),
    )
