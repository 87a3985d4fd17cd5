"""The pool of one run: every text that was generated, held against those kept before it. No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from db.records import InstructionRow, RoundRow, SeedEventRow
from orchestrator.diversity.lexical import LexicalPool
from orchestrator.diversity.tokens import rouge_tokens
from orchestrator.generation.seedpool import Event, SeedPool, replayed
from workers.contracts import Generated, GeneratePayload, GenerateResult, Reason

Slot = tuple[int, int]


class Pool:
    """The texts in the order in which they were judged, which is part of the result: a prompt's slot, then its place.

    A pool taken up again from its rows is the same pool.
    """

    def __init__(self, *, lexical: float) -> None:
        self._gate = LexicalPool(lexical, inclusive=False, split=rouge_tokens)
        self._at: list[int] = []
        self._count = 0
        self._seeds: list[int] = []
        self._events: list[SeedEventRow] = []
        self.rounds: list[RoundRow] = []
        self.texts: dict[int, str] = {}
        self.parents: dict[int, tuple[int, ...]] = {}
        self.round_of: dict[int, int] = {}
        # Kept texts whose instances are not there yet.
        self.unsettled: dict[int, int] = {}

    def load(self, rows: Iterable[InstructionRow], rounds: Iterable[RoundRow], events: Iterable[SeedEventRow]) -> None:
        for row in rows:
            self._take(row)
        self.rounds = list(rounds)
        self._events = list(events)

    def judge(self, payload: GeneratePayload, result: GenerateResult) -> list[InstructionRow]:
        """The verdicts on what one prompt brought; kept texts are in the pool for the next."""
        rows = [self._judged(payload, found, result.calls) for found in result.found]
        kept = sum(row.status == "kept" for row in rows)
        lost = Counter(self.rounds[payload.round].prompts_lost)
        if why := result.failed or result.rejected:
            lost[str(why)] += 1
        self.change(payload.round, generated=len(rows), kept=kept, prompts_lost=lost)
        return rows

    def _judged(self, payload: GeneratePayload, found: Generated, calls: Sequence[str]) -> InstructionRow:
        row = InstructionRow(
            ordinal=self._count,
            origin="generated",
            text=found.text,
            status="rejected" if found.rejected else "kept",
            reason=found.rejected,
            round=payload.round,
            slot=payload.slot,
            shown=payload.shown,
            calls=tuple(calls),
        )
        near = None if found.rejected else self._gate.near(found.text)
        if near:
            nearest = self._at[near.position]
            duplicate = Reason.DUPLICATE.value
            row = replace(row, status="rejected", reason=duplicate, nearest=nearest, similarity=near.similarity)
        self._take(row)
        return row

    def _take(self, row: InstructionRow) -> None:
        self._count = row.ordinal + 1
        if row.status != "kept":
            return
        self._gate.add([row.text])
        self._at.append(row.ordinal)
        self.texts[row.ordinal] = row.text
        if row.round is None:
            self._seeds.append(row.ordinal)
            return
        self.parents[row.ordinal] = row.shown
        self.round_of[row.ordinal] = row.round
        if not row.is_settled:
            self.unsettled[row.ordinal] = row.round

    def change(
        self,
        number: int,
        *,
        status: str | None = None,
        generated: int = 0,
        kept: int = 0,
        filter_s: float = 0.0,
        embed_s: float = 0.0,
        prompts_lost: Mapping[str, int] | None = None,
    ) -> None:
        """How far a round has come: counts and seconds are added to those it has."""
        row = self.rounds[number]
        self.rounds[number] = replace(
            row,
            status=status or row.status,
            generated=row.generated + generated,
            kept=row.kept + kept,
            filter_s=row.filter_s + filter_s,
            embed_s=row.embed_s + embed_s,
            prompts_lost=row.prompts_lost if prompts_lost is None else dict(prompts_lost),
        )

    def seeds(self, through: int) -> SeedPool:
        """The seed pool after round `through`, its feedback included."""
        past = (event for event in self._events if event.round <= through)
        return replayed(self._seeds, (_event(row) for row in past))

    def made(self, through: int) -> list[int]:
        """The kept texts of the rounds up to `through`."""
        return [ordinal for ordinal, number in self.round_of.items() if number <= through]

    def record(self, events: Iterable[SeedEventRow]) -> None:
        self._events += events


def _event(row: SeedEventRow) -> Event:
    return Event(kind="entered" if row.event == "entered" else "left", instruction=row.ordinal, reason=row.reason)
