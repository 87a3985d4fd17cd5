"""The rubric judge: one chat call scores all siblings together, with their parent as anchor.

The answer is JSON, by schema where the endpoint offers it; otherwise it is read with tolerance and asked for once more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.asking import Ask
from workers.config import GRADES, Role
from workers.contracts import Reason
from workers.judges.score import Candidate, Scores
from workers.judges.together import ask_together, items, lettered, list_schema
from workers.prompting import Prompt, chat, quoted

_LOWEST, _HIGHEST = float(GRADES[0]), float(GRADES[-1])
_MEANINGS = {
    "quality": ("how clear, complete and useful the task is", "confused or pointless", "excellent"),
    "complexity": ("how much knowledge, reasoning and care a good answer needs", "trivial", "very demanding"),
}
# The held-out judge's: another wording of the same, so that what pleased one phrase need not please the other.
_EXAMINED = {
    "quality": ("would an expert call this a well-posed, specific request worth answering", "not at all", "entirely"),
    "complexity": ("how far must an expert stretch to answer it well", "no effort", "the limits of the field"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """`role` is the judge or the examiner, who has a rubric of its own."""

    dimensions: tuple[str, ...]
    reasks: int
    role: Role = Role.JUDGE
    repeats: int = 0

    async def score(
        self, candidates: Sequence[Candidate], parent: str | None, ask: Ask, *, sample: int = 0
    ) -> Mapping[str, Scores]:
        prompt = self._prompt(candidates, parent)
        return await ask_together(
            prompt, candidates, self._read, role=self.role, reasks=self.reasks, ask=ask, sample=sample
        )

    def _prompt(self, candidates: Sequence[Candidate], parent: str | None) -> Prompt:
        template, meanings = ("examine", _EXAMINED) if self.role is Role.EXAMINER else ("rubric", _MEANINGS)
        dimensions = [
            {"name": name, "meaning": meaning, "low": low, "high": high}
            for name, (meaning, low, high) in meanings.items()
            if name in self.dimensions
        ]
        anchor = quoted(parent) if parent else None
        prompt = chat(template, dimensions=dimensions, candidates=lettered(candidates), parent=anchor)
        return replace(prompt, schema_name="scores", schema=self._schema(candidates))

    def _schema(self, candidates: Sequence[Candidate]) -> dict[str, Any]:
        grade = {"type": "integer", "minimum": GRADES[0], "maximum": GRADES[-1]}
        return list_schema("scores", candidates, dict.fromkeys(self.dimensions, grade))

    def _read(self, text: str, candidates: Sequence[Candidate]) -> dict[str, Scores]:
        """Scores by candidate key; one with a dimension missing is left out.

        A grade off the scale shows that the model grades on another one, on which its other grades mean something else.
        """
        read = {
            key: {name: number for name in self.dimensions if (number := _number(item.get(name))) is not None}
            for key, item in items(text, "scores", candidates).items()
        }
        if any(not _LOWEST <= number <= _HIGHEST for numbers in read.values() for number in numbers.values()):
            return {candidate.key: Scores(reason=Reason.OFF_SCALE) for candidate in candidates}
        return {key: Scores(values=grades) for key, grades in read.items() if len(grades) == len(self.dimensions)}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
