"""The expected-score judge, for base and scorer models: the mean of the score tokens under their probabilities.

As DEITA's scorers do (papers.md, 3.5): the next token after the prompt is a grade, and the score is the expectation
over the grades. One call a candidate and dimension, one token long.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.asking import Answer, Ask, all_of
from workers.config import GRADES, INSTRUCTION, Role, Scorer, Style
from workers.contracts import Reason
from workers.judges.score import Candidate, Scores, one_by_one
from workers.prompting import Prompt, chat, demonstrations, draw, quoted, render

# Below this share of the probability the model was not about to grade at all, so nothing is known.
LEAST_MASS = 0.2
_UNASKED = Scorer()
_VALUES = _UNASKED.values
Demo = Mapping[str, Any]


# Heading and label of the few-shot prompt. Wordings were measured: `docs/local-model.md`.
_ASKED = {
    "quality": ("How clear, specific and useful is each task? 1 = useless, 6 = excellent.", "Quality"),
    "complexity": ("How complex is each task? 1 = trivial, 6 = very demanding.", "Complexity"),
}
_EXAMINED = {
    "quality": ("Mark how well posed each request is. 1 = nobody could use it, 6 = could not be better.", "Mark"),
    "complexity": ("How hard is it to do each of these well? 1 = anybody can, 6 = only an expert.", "Difficulty"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """`scale` gives intercept and slope per dimension, if any; `scorer` another prompt and other tokens.

    A small model's expectations lie close together; a line fitted on the calibration set spreads them over the grades
    without changing their order. `later` are the lines of later judgements, whose prompts show their demonstrations in
    another order and so lie on another level.
    """

    dimensions: tuple[str, ...]
    scale: Mapping[str, tuple[float, float]]
    later: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    scorer: Scorer = _UNASKED
    role: Role = Role.JUDGE
    style: Style = Style.COMPLETION
    repeats: int = 0
    values: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", self.scorer.values)

    async def score(
        self, candidates: Sequence[Candidate], parent: str | None, ask: Ask, *, sample: int = 0
    ) -> Mapping[str, Scores]:
        return await one_by_one(candidates, lambda candidate: self._one(candidate, ask, sample))

    async def _one(self, candidate: Candidate, ask: Ask, sample: int) -> Scores:
        prompts = [self.prompt(name, candidate.text, sample) for name in self.dimensions]
        answers = await all_of(ask(self.role, prompt, sample=sample) for prompt in prompts)
        read = {name: self.read(answer) for name, answer in zip(self.dimensions, answers, strict=True)}
        return Scores(
            values={
                name: spread(found, self._line(name, sample))
                for name, found in read.items()
                if not isinstance(found, Reason)
            },
            calls=tuple(call for answer in answers for call in answer.calls),
            replayed=sum(answer.replayed for answer in answers),
            reason=next((found for found in read.values() if isinstance(found, Reason)), None),
        )

    def _line(self, dimension: str, sample: int) -> tuple[float, float] | None:
        lines = self.later.get(dimension) if sample else None
        return lines[min(sample, len(lines)) - 1] if lines else self.scale.get(dimension)

    def prompt(self, dimension: str, instruction: str, sample: int = 0) -> Prompt:
        """The question whose next token is the grade. An instruction is one line, whatever it holds."""
        line = " ".join(instruction.split())
        if self.scorer.prompt is not None:
            text, system = self.scorer.prompt.replace(INSTRUCTION, line), None
        elif self.style is Style.CHAT:
            asked = _ASKED[dimension][0]
            made = chat("grade", heading=asked, instruction=quoted(instruction))
            text, system = made.text, made.system
        else:
            text, system = score_prompt(dimension, line, sample, held_out=self.role is Role.EXAMINER), None
        return Prompt(text=text, system=system, style=self.style, logprobs=self.scorer.logprobs, max_tokens=1)

    def read(self, answer: Answer) -> float | Reason:
        """The mean grade, or why there is none."""
        if answer.fault in (Reason.REFUSAL, Reason.CONTENT_FILTER):
            return Reason.JUDGE_UNREADABLE
        return expectation(answer.first_token or {}, self.values)


def score_prompt(dimension: str, line: str, sample: int = 0, *, held_out: bool = False) -> str:
    """Few-shot prompt. Its demonstrations are the same, in the same order, in every prompt of one sample.

    From sample to sample those of one grade change places. The order of the grades stays: another one moves all scores
    of a small model by half a grade and more.
    """
    heading, label = (_EXAMINED if held_out else _ASKED)[dimension]
    demos = demonstrations("examine" if held_out else "score")[dimension]
    if sample:
        demos = _in_turn(demos, dimension, sample)
    return render("completion/score.j2", heading=heading, label=label, demos=demos, instruction=line)


def _in_turn(demos: Sequence[Demo], dimension: str, sample: int) -> list[Demo]:
    """The same demonstrations with those of each grade in another order."""
    by_grade: dict[int, list[Demo]] = defaultdict(list)
    for demo in demos:
        by_grade[demo["score"]].append(demo)
    lots = {
        grade: iter(draw(same, len(same), "judgement", dimension, grade, sample)) for grade, same in by_grade.items()
    }
    return [next(lots[demo["score"]]) for demo in demos]


def expectation(logprobs: Mapping[str, float], values: Mapping[str, float] = _VALUES) -> float | Reason:
    """The mean grade under these token log-probabilities, or why there is none.

    No log-probabilities; grades were not what the model expected; or it expected numbers that are no grades of ours.
    """
    if not logprobs:
        return Reason.NO_LOGPROBS
    mass, off_scale = masses(logprobs, values)
    total = sum(mass.values())
    if off_scale > total and off_scale >= LEAST_MASS:
        return Reason.OFF_SCALE
    if total < LEAST_MASS:
        return Reason.NO_SCORE_TOKEN
    return sum(values[token] * share for token, share in mass.items()) / total


def masses(logprobs: Mapping[str, float], values: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """The probability of each score token, however it is spaced, and that of whole numbers that are none."""
    mass = dict.fromkeys(values, 0.0)
    off_scale = 0.0
    numbers = all(token.isdecimal() for token in values)
    for name, logprob in logprobs.items():
        token = name.strip()
        if token in mass:
            mass[token] += math.exp(logprob)
        elif numbers and token.isascii() and token.isdecimal():
            off_scale += math.exp(logprob)
    return mass, off_scale


def spread(mean: float, line: tuple[float, float] | None) -> float:
    """The expectation on the scale of the grades: along a fitted line, kept within 1 to 6."""
    if line is None:
        return mean
    intercept, slope = line
    return min(max(intercept + slope * mean, float(GRADES[0])), float(GRADES[-1]))
