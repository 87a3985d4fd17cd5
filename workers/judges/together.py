"""Asking about siblings in one chat call: letters for their keys, a JSON schema, a tolerant reading, a re-ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from workers.asking import Ask
from workers.config import Role
from workers.judges.score import Candidate, Scores, said
from workers.llm.errors import CallRefused
from workers.llm.jsonish import Malformed, read_json
from workers.prompting import Prompt, quoted

# Of one judgement: the first time and the re-asks. Ledger keys of old runs hang on it for sample 0 only.
_MOST_ASKED = 4
# Reads an answer: scores by candidate key. Those that cannot be read are left out, or have no value and a reason.
Read = Callable[[str, Sequence[Candidate]], Mapping[str, Scores]]


async def ask_together(
    prompt: Prompt, candidates: Sequence[Candidate], read: Read, *, role: Role, reasks: int, ask: Ask, sample: int
) -> Mapping[str, Scores]:
    """Scores of siblings; asked again, at most `reasks` times, while some are missing. What was read first stands.

    All siblings name all calls, for each of them was scored by the one and only conversation.

    Raises:
        CallRefused: the very first call was.
    """
    found: Mapping[str, Scores] = {}
    calls: list[str] = []
    replayed = 0
    for asked in range(1 + reasks):
        try:
            answer = await ask(role, prompt, sample=_MOST_ASKED * sample + asked)
        except CallRefused:
            if not calls:
                raise
            break
        calls.extend(answer.calls)
        replayed += answer.replayed
        found = {**read(said(answer), candidates), **{key: scores for key, scores in found.items() if scores.values}}
        if sum(bool(scores.values) for scores in found.values()) == len(candidates):
            break
    return {
        candidate.key: replace(
            # Replays are counted once, on the first.
            found.get(candidate.key, Scores()),
            calls=tuple(calls),
            replayed=0 if i else replayed,
        )
        for i, candidate in enumerate(candidates)
    }


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
