"""How well a student writes answers: its loss on reference answers, before and after training."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from workers.training.answers import answers
from workers.training.checkpoints import latest
from workers.training.errors import StudentUnusable
from workers.training.figures import interval
from workers.training.nats import answer_of, nats_of
from workers.training.settings import StudentSettings
from workers.training.steps import Learner, begin, restore
from workers.training.student import Student
from workers.training.texts import LessonText


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemLoss:
    """One item: how many tokens its answer has, and their mean loss in nats."""

    tokens: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Mean losses per answer token (nats) over all items, before and after; negative differences are gains.

    low, high: a 95 % interval of the difference, by bootstrap over items, each with both of its losses. skipped: items
    whose prompt leaves no room for an answer within max_tokens, or whose loss is not finite. written: its own answers
    to all items, before and after, where they were asked for.
    """

    checkpoint: str
    items: int
    skipped: int
    tokens: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    better: int
    written: tuple[Sequence[str], Sequence[str]] | None = None

    def row(self) -> dict[str, object]:
        """The figures."""
        return {name: value for name, value in asdict(self).items() if name != "written"}


def losses(student: Student, texts: Sequence[LessonText]) -> list[ItemLoss | None]:
    """Each item's loss over its answer alone; None for one that has no token to be measured."""
    return [_loss(student, text) for text in texts]


def _loss(student: Student, text: LessonText) -> ItemLoss | None:
    encoded = answer_of(student, text)
    loss = nats_of(student, encoded) if encoded.tokens else math.nan
    return ItemLoss(tokens=encoded.tokens, loss=loss) if math.isfinite(loss) else None


def compare(
    texts: Sequence[LessonText], settings: StudentSettings, folder: Path, *, answer_tokens: int = 0
) -> Comparison:
    """The student as it came, against its last checkpoint in `folder` (a run's, or one step's).

    It also writes answers of its own, of so many tokens at most, where these are above 0.

    Raises:
        MachineUnfit: there is no checkpoint, or the student cannot be loaded here.
        StudentUnusable: not one item could be measured.
    """
    checkpoint = latest(folder)
    learner: Learner = begin(settings)
    before = losses(learner.student, texts)
    written = answers(learner.student, texts, most=answer_tokens) if answer_tokens else []
    restore(learner, checkpoint, optimiser=False)
    after = losses(learner.student, texts)
    rewritten = answers(learner.student, texts, most=answer_tokens) if answer_tokens else []
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old and new]
    if not pairs:
        raise StudentUnusable("no held-out item leaves room for an answer: raise student.max_tokens or shorten them")
    found = summarise(pairs, skipped=len(texts) - len(pairs), checkpoint=checkpoint)
    return replace(found, written=(written, rewritten)) if answer_tokens else found


def summarise(pairs: Sequence[tuple[ItemLoss, ItemLoss]], *, skipped: int, checkpoint: Path) -> Comparison:
    tokens = np.array([old.tokens for old, _ in pairs], dtype=np.float64)
    before = np.array([old.loss for old, _ in pairs]) * tokens
    after = np.array([new.loss for _, new in pairs]) * tokens
    low, high = interval(after - before, tokens)
    count = tokens.sum()
    return Comparison(
        checkpoint=str(checkpoint),
        items=len(pairs),
        skipped=skipped,
        tokens=int(count),
        before=float(before.sum() / count),
        after=float(after.sum() / count),
        difference=float((after.sum() - before.sum()) / count),
        low=low,
        high=high,
        better=int((after < before).sum()),
    )
