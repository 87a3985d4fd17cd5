"""The rubric judge: one chat call scores all siblings together, with their parent as anchor.

The answer is JSON, by schema where the endpoint offers it; otherwise it is read with tolerance and asked for once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.asking import Ask
from workers.judges.score import Candidate, Scores
from workers.judges.together import ask_together, items, lettered, list_schema
from workers.prompting import Prompt, chat, quoted

LOWEST, HIGHEST = 1.0, 6.0
_MEANINGS = {
    "quality": ("how clear, complete and useful the task is", "confused or pointless", "excellent"),
    "complexity": ("how much knowledge, reasoning and care a good answer needs", "trivial", "very demanding"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    dimensions: tuple[str, ...]
    reasks: int

    async def score(self, candidates: Sequence[Candidate], parent: str | None, ask: Ask) -> Mapping[str, Scores]:
        return await ask_together(self._prompt(candidates, parent), candidates, self._read, reasks=self.reasks, ask=ask)

    def _prompt(self, candidates: Sequence[Candidate], parent: str | None) -> Prompt:
        dimensions = [
            {"name": name, "meaning": meaning, "low": low, "high": high}
            for name, (meaning, low, high) in _MEANINGS.items()
            if name in self.dimensions
        ]
        anchor = quoted(parent) if parent else None
        prompt = chat("rubric", dimensions=dimensions, candidates=lettered(candidates), parent=anchor)
        return replace(prompt, schema_name="scores", schema=self._schema(candidates))

    def _schema(self, candidates: Sequence[Candidate]) -> dict[str, Any]:
        grade = {"type": "integer", "minimum": int(LOWEST), "maximum": int(HIGHEST)}
        return list_schema("scores", candidates, dict.fromkeys(self.dimensions, grade))

    def _read(self, text: str, candidates: Sequence[Candidate]) -> dict[str, Scores]:
        """Scores by candidate key; one with a dimension missing or off the scale is left out."""
        found: dict[str, Scores] = {}
        for key, item in items(text, "scores", candidates).items():
            grades = {name: grade for name in self.dimensions if (grade := _grade(item.get(name))) is not None}
            if len(grades) == len(self.dimensions):
                found[key] = Scores(values=grades)
        return found


def _grade(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        grade = float(value)
    except (ValueError, OverflowError):
        return None
    return grade if LOWEST <= grade <= HIGHEST else None
