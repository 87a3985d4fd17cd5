"""Amounts of calls, tokens and nano-dollars in the columns of a table: `reserved_calls`, `spent_nusd` and so on."""

from typing import Literal

from sqlalchemy import ColumnElement, Row, Table

from db.records import Caps, Spend

What = Literal["reserved", "spent"]


def plus(table: Table, what: What, amount: Spend) -> dict[str, ColumnElement[int]]:
    """The values of an update that adds to such columns."""
    more = {"calls": amount.calls, "tokens": amount.tokens, "nusd": amount.nusd}
    return {f"{what}_{unit}": table.c[f"{what}_{unit}"] + count for unit, count in more.items()}


def of(row: Row[tuple[object, ...]], what: What) -> Spend:
    """What a row's columns hold."""
    calls, tokens, nusd = (row._mapping[f"{what}_{unit}"] for unit in ("calls", "tokens", "nusd"))
    return Spend(calls=calls, tokens=tokens, nusd=nusd)


def caps_of(run: Row[tuple[object, ...]]) -> Caps:
    caps = run._mapping
    return Caps(calls=caps["cap_calls"], tokens=caps["cap_tokens"], nusd=caps["cap_nusd"], seconds=caps["cap_s"])
