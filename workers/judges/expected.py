"""The expected-score judge, for base and scorer models: the mean of the score tokens under their probabilities.

As DEITA's scorers do (papers.md, 3.5): the next token after the prompt is a grade from 1 to 6, and the score is the
expectation over the six. One call a candidate and dimension, one token long.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.asking import Ask, all_of
from workers.config import Role, Style
from workers.judges.score import Candidate, Scores, one_by_one
from workers.prompting import Prompt, demonstrations, render

GRADES = range(1, 7)
# Below this share of the probability the model was not about to grade at all, so nothing is known.
_LEAST_MASS = 0.2
_LOGPROBS = 20


# Heading and label of the few-shot prompt. Wordings were measured: `docs/local-model.md`.
_ASKED = {
    "quality": ("How clear, specific and useful is each task? 1 = useless, 6 = excellent.", "Quality"),
    "complexity": ("How complex is each task? 1 = trivial, 6 = very demanding.", "Complexity"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """`scale` gives intercept and slope per dimension, if any.

    A small model's expectations lie close together; a line fitted on the calibration set spreads them over the grades
    without changing their order.
    """

    dimensions: tuple[str, ...]
    scale: Mapping[str, tuple[float, float]]

    async def score(self, candidates: Sequence[Candidate], parent: str | None, ask: Ask) -> Mapping[str, Scores]:
        return await one_by_one(candidates, lambda candidate: self._one(candidate, ask))

    async def _one(self, candidate: Candidate, ask: Ask) -> Scores:
        prompts = [score_prompt(name, candidate.text) for name in self.dimensions]
        answers = await all_of(ask(Role.JUDGE, prompt) for prompt in prompts)
        means = {
            name: spread(expectation(answer.first_token or {}), self.scale.get(name))
            for name, answer in zip(self.dimensions, answers, strict=True)
        }
        return Scores(
            values={name: mean for name, mean in means.items() if mean is not None},
            calls=tuple(call for answer in answers for call in answer.calls),
            replayed=sum(answer.replayed for answer in answers),
        )


def score_prompt(dimension: str, instruction: str) -> Prompt:
    """Few-shot prompt whose next token is the grade. The demonstrations are the same, in the same order, every time."""
    heading, label = _ASKED[dimension]
    text = render(
        "completion/score.j2",
        heading=heading,
        label=label,
        demos=demonstrations("score")[dimension],
        instruction=" ".join(instruction.split()),
    )
    return Prompt(text=text, style=Style.COMPLETION, logprobs=_LOGPROBS, max_tokens=1)


def expectation(logprobs: Mapping[str, float]) -> float | None:
    """The mean grade under these token log-probabilities; None when grades were not what the model expected."""
    mass = dict.fromkeys(GRADES, 0.0)
    for token, logprob in logprobs.items():
        grade = token.strip()
        if grade.isdecimal() and int(grade) in mass:
            mass[int(grade)] += math.exp(logprob)
    total = sum(mass.values())
    return sum(grade * share for grade, share in mass.items()) / total if total >= _LEAST_MASS else None


def spread(mean: float | None, line: tuple[float, float] | None) -> float | None:
    """The expectation on the scale of the grades: along a fitted line, kept within 1 to 6."""
    if mean is None or line is None:
        return mean
    intercept, slope = line
    return min(max(intercept + slope * mean, float(GRADES[0])), float(GRADES[-1]))
