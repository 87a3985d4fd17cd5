"""What every stage kept and what it cost, for `status`, the report and `compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Stage(StrEnum):
    GENERATE = "generate"
    FILTER = "filter"
    EMBED = "embed"
    INSTANCE = "instance"
    TRAIN = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Instructions of a run: generated, left by the heuristics, left by the gate, with a good instance, trained on."""

    generated: int
    after_heuristics: int
    after_gate: int
    with_instance: int
    trained: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Paid calls, tokens in and out, billionths of a dollar (None: a price is not known), seconds of work."""

    calls: int = 0
    tokens: int = 0
    nusd: int | None = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """`Spend` for one kept instruction."""

    calls: float
    tokens: float
    nusd: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage, or all of them (`stage` None).

    entered, kept, share: instructions; share is None where none entered. The heuristics belong to `generate`, whose
        workers apply them, the gate is `filter`; `embed` keeps what it is given.
    each: what the stage cost for one instruction kept *by the run*, not by the stage; None where none was kept.
    """

    stage: Stage | None
    entered: int
    kept: int
    share: float | None
    spend: Spend
    each: Each | None


# What counts as kept: what the gate let through (the papers' word), or what has a good instance besides.
Basis = Literal["gate", "instance"]


def table(counts: Counts, spent: Mapping[Stage, Spend], *, basis: Basis = "instance") -> tuple[Row, ...]:
    """A row for each stage in their order, and one for all together. A stage that is not in `spent` cost nothing."""
    passed = {
        Stage.GENERATE: (counts.generated, counts.after_heuristics),
        Stage.FILTER: (counts.after_heuristics, counts.after_gate),
        Stage.EMBED: (counts.with_instance, counts.with_instance),
        Stage.INSTANCE: (counts.after_gate, counts.with_instance),
        Stage.TRAIN: (counts.with_instance, counts.trained),
    }
    kept = counts.after_gate if basis == "gate" else counts.with_instance
    rows = [_row(stage, *passed[stage], spent.get(stage, Spend()), kept) for stage in Stage]
    return (*rows, _row(None, counts.generated, kept, together([row.spend for row in rows]), kept))


def together(spends: Sequence[Spend]) -> Spend:
    """The sum; what includes an unknown price is unknown."""
    prices = [one.nusd for one in spends if one.nusd is not None]
    return Spend(
        calls=sum(one.calls for one in spends),
        tokens=sum(one.tokens for one in spends),
        nusd=sum(prices) if len(prices) == len(spends) else None,
        seconds=sum(one.seconds for one in spends),
    )


def each(spend: Spend, kept: int) -> Each | None:
    """What one of `kept` instructions cost; None where none was kept."""
    if not kept:
        return None
    return Each(
        calls=spend.calls / kept,
        tokens=spend.tokens / kept,
        nusd=None if spend.nusd is None else spend.nusd / kept,
        seconds=spend.seconds / kept,
    )


def _row(stage: Stage | None, entered: int, kept: int, spend: Spend, of: int) -> Row:
    share = kept / entered if entered else None
    return Row(stage=stage, entered=entered, kept=kept, share=share, spend=spend, each=each(spend, of))
