"""The rubric judge: one chat call scores all siblings together, with their parent as anchor.

The answer is JSON, by schema where the endpoint offers it; otherwise it is read with tolerance and asked for once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from workers.asking import Ask
from workers.config import Role
from workers.judges.score import Candidate, Scores, said
from workers.llm.jsonish import Malformed, read_json
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
        prompt = self._prompt(candidates, parent)
        found: dict[str, dict[str, float]] = {}
        calls: list[str] = []
        replayed = 0
        for sample in range(1 + self.reasks):
            answer = await ask(Role.JUDGE, prompt, sample=sample)
            calls.append(answer.call)
            replayed += answer.replayed
            found = {**self._read(said(answer), candidates), **found}
            if len(found) == len(candidates):
                break
        return shared(candidates, found, {}, tuple(calls), replayed)

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

    def _read(self, text: str, candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
        """Scores by candidate key; one with a dimension missing or off the scale is left out."""
        found = {}
        for key, item in items(text, "scores", candidates).items():
            values = {name: _grade(item.get(name)) for name in self.dimensions}
            if all(value is not None for value in values.values()):
                found[key] = {name: value for name, value in values.items() if value is not None}
        return found


def _grade(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        grade = float(value)
    except (ValueError, OverflowError):
        return None
    return grade if LOWEST <= grade <= HIGHEST else None


def lettered(candidates: Sequence[Candidate]) -> list[dict[str, str]]:
    """Candidates as the templates show them: letters, because keys mean nothing to a model."""
    return [{"id": letter(i), "text": quoted(candidate.text)} for i, candidate in enumerate(candidates)]


def letter(index: int) -> str:
    return ascii_uppercase[index % 26] + (str(index // 26) if index >= 26 else "")


def list_schema(name: str, candidates: Sequence[Candidate], fields: Mapping[str, Any]) -> dict[str, Any]:
    """{name: [{"id": ..., **fields}, ...]} with one item a candidate and no other key."""
    item = {
        "type": "object",
        "properties": {"id": {"type": "string", "enum": [letter(i) for i in range(len(candidates))]}, **fields},
        "required": ["id", *fields],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": item}},
        "required": [name],
        "additionalProperties": False,
    }


def items(text: str, name: str, candidates: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """The items of an answer by candidate key, the first for each; empty when it cannot be read."""
    try:
        data = read_json(text)
    except Malformed:
        return {}
    by_letter = {letter(i): candidate.key for i, candidate in enumerate(candidates)}
    found: dict[str, dict[str, Any]] = {}
    listed = data.get(name)
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and (key := by_letter.get(str(item.get("id", "")).strip().upper())):
            found.setdefault(key, item)
    return found


def shared(
    candidates: Sequence[Candidate],
    values: Mapping[str, Mapping[str, float]],
    tags: Mapping[str, tuple[str, ...]],
    calls: tuple[str, ...],
    replayed: int,
) -> dict[str, Scores]:
    """Scores of siblings that one set of calls judged; replays are counted once, on the first."""
    return {
        candidate.key: Scores(
            values=values.get(candidate.key, {}),
            tags=tags.get(candidate.key, ()),
            calls=calls,
            replayed=replayed if i == 0 else 0,
        )
        for i, candidate in enumerate(candidates)
    }
