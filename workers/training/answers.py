"""What a student answers, and what a judge thinks of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from workers.asking import Ask, all_of
from workers.config import GRADES, WorkSettings
from workers.judges.answers import ANSWER, answer_judge
from workers.judges.score import Candidate
from workers.training.figures import interval
from workers.training.texts import LessonText, encode

if TYPE_CHECKING:
    from workers.training.student import Student

# Items asked about side by side, four calls each.
_TOGETHER = 4
# An answer without a word does not do what was asked: nobody need be asked about it.
_EMPTY = float(GRADES[0])


def answers(student: "Student", texts: Sequence[LessonText], *, most: int) -> list[str]:
    """The student's own answers, the likeliest token each time, at most so many tokens."""
    return [_answer(student, text, most) for text in texts]


def _answer(student: "Student", text: LessonText, most: int) -> str:
    import torch
    from transformers import GenerationConfig

    from workers.training.student import fitting

    tokenizer = student.tokenizer
    asked = LessonText(instruction=text.instruction, input=text.input, output="")
    prompt = encode(asked, tokenizer, max_tokens=student.settings.max_tokens, on_prompt=False).ids
    end = tokenizer.eos_token_id
    greedy = GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=end)
    ids = torch.tensor([prompt], device=student.device)
    with torch.inference_mode(), fitting(student.settings):
        made = student.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=greedy, use_cache=True
        )
    return str(tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True)).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """Mean grades (1 to 6) of the student's answers before and after; positive differences are gains.

    low, high: a 95 % interval of the difference, by bootstrap over items. items: those of which both answers have a
    grade; unscored: why grades are missing. ranks: the share of items whose reference answer is graded above the
    reference answer of another item (equal ones count half): a judge near 0.5 cannot tell an answer from a text that
    has nothing to do with the request, and says nothing of the student. references: mean grade of reference answers.
    """

    items: int
    unscored: Mapping[str, int]
    before: float
    after: float
    difference: float
    low: float
    high: float
    better: int
    worse: int
    references: float | None
    ranks: float | None

    def row(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grades:
    """Of one item: the answers before and after, its reference answer, and another item's."""

    before: float | str
    after: float | str
    reference: float | str
    other: float | str


async def grade(
    texts: Sequence[LessonText], before: Sequence[str], after: Sequence[str], settings: WorkSettings, ask: Ask
) -> Graded | None:
    """All answers of all items, each graded by itself. None where no item has both of its grades.

    Raises:
        ModelError: the judge cannot be asked.
    """
    others = [text.output for text in (*texts[1:], *texts[:1])]
    rows = list(zip(texts, before, after, others, strict=True))
    found: list[Grades] = []
    for start in range(0, len(rows), _TOGETHER):
        found += await all_of(_grades(*row, settings, ask) for row in rows[start : start + _TOGETHER])
    return summarise(found)


async def _grades(text: LessonText, before: str, after: str, other: str, settings: WorkSettings, ask: Ask) -> Grades:
    four = (before, after, text.output, other)
    a, b, c, d = await all_of(_mark(text.request, one, settings, ask) for one in four)
    return Grades(before=a, after=b, reference=c, other=d)


async def _mark(request: str, answer: str, settings: WorkSettings, ask: Ask) -> float | str:
    """The grade, or why there is none."""
    if not answer.split():
        return _EMPTY
    said = (await answer_judge(settings, request).score([Candidate(key="0", text=answer)], None, ask))["0"]
    return said.values[ANSWER] if ANSWER in said.values else str(said.reason or "judge_unreadable")


def summarise(found: Sequence[Grades]) -> Graded | None:
    pairs = [(a, b) for a, b in ((one.before, one.after) for one in found) if _known(a) and _known(b)]
    if not pairs:
        return None
    gains = np.array([after - before for before, after in pairs])
    low, high = interval(gains, np.ones_like(gains))
    references = [one.reference for one in found if _known(one.reference)]
    told = [
        (one.reference > one.other) + 0.5 * (one.reference == one.other)
        for one in found
        if _known(one.reference) and _known(one.other)
    ]
    missing = [mark for one in found for mark in asdict(one).values() if not _known(mark)]
    return Graded(
        items=len(pairs),
        unscored=dict(Counter(map(str, missing))),
        before=fmean(before for before, _ in pairs),
        after=fmean(after for _, after in pairs),
        difference=float(gains.mean()),
        low=low,
        high=high,
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
        references=fmean(references) if references else None,
        ranks=fmean(told) if told else None,
    )


def _known(mark: float | str) -> TypeGuard[float]:
    return isinstance(mark, float)
