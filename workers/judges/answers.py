"""How good an answer is, by a judge that sees a request and one answer to it and nothing of who wrote it.

The held-out judge is asked: a rubric where its endpoint can chat, an expected score elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workers.config import Role, Style, WorkSettings
from workers.judges.expected import Expected
from workers.judges.rubric import Rubric
from workers.judges.score import Candidate, Judge
from workers.prompting import Prompt, chat, demonstrations, quoted, render

ANSWER = "answer"


def answer_judge(settings: WorkSettings, request: str) -> Judge:
    """The judge of answers to this request; its candidates are answers, one at a time."""
    if settings.endpoint(Role.EXAMINER).style is Style.CHAT:
        reasks = settings.judges.reasks
        return RubricOfAnswers(dimensions=(ANSWER,), reasks=reasks, role=Role.EXAMINER, request=request)
    return ExpectedOfAnswers(dimensions=(ANSWER,), scale={}, role=Role.EXAMINER, request=request)


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricOfAnswers(Rubric):
    request: str

    def _prompt(self, candidates: Sequence[Candidate], parent: str | None) -> Prompt:
        (one,) = candidates
        prompt = chat("grade_answer", request=quoted(self.request), answer=quoted(one.text))
        return replace(prompt, schema_name="scores", schema=self._schema(candidates))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOfAnswers(Expected):
    request: str

    def prompt(self, dimension: str, instruction: str, sample: int = 0) -> Prompt:
        request, answer = (" ".join(text.split()) for text in (self.request, instruction))
        text = render(
            "completion/score_answer.j2", demos=demonstrations("score_answer"), request=request, answer=answer
        )
        return Prompt(text=text, style=Style.COMPLETION, logprobs=self.scorer.logprobs, max_tokens=1)
