"""From a request's body to the scripted model's answer."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from random import Random
from typing import Any

from workers.llm.scripted import generating, operating, writing
from workers.llm.scripted.generating import Lister

_QUOTED = re.compile(r"<<<\n?(.*?)\n?>>>", re.DOTALL)
_CANDIDATE = re.compile(r"\[([A-Z]\d*)\]\s*<<<\n?(.*?)\n?>>>", re.DOTALL)
_DIMENSION = re.compile(r'"(\w+)": <1-6>')
_TASK = re.compile(r"(?:^|\n)Task: (.*)")
_BRAND_NEW = re.compile(r"\bbrand[- ]new\b|\bA different task on the same subject\b", re.IGNORECASE)
_EVOLVE_MARK, _RESPOND_MARK = "#The Given Prompt#", "Carry out the following instruction"
_VECTOR = 64
CHARACTERS_PER_TOKEN = 4
ROOMS = ("max_completion_tokens", "max_tokens")
_ROOM = 4096
# What a judge that can be talked into anything takes for an order. Our own prompts hold no such words.
_ORDER = re.compile(r"\bgive (?:\w+ ){0,3}(?:a )?6\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the model says, and for a scoring prompt the alternatives for its one token.

    `judged`: its text is a judge's JSON, which is asked for again when it cannot be read. `refusal` is what it says in
    the field that endpoints have for that.
    """

    text: str
    finish_reason: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    alternatives: Mapping[str, float] | None = None
    judged: bool = False
    refusal: str | None = None


class Temper(StrEnum):
    """What kind of judge the scripted model is.

    honest: grades by the text. gullible: obeys what stands outside of the marks <<< and >>>. steered: gives 6 to a text
    that asks for it. six: gives 6 to everything. prose: never answers in the form that was asked for.
    """

    HONEST = "honest"
    GULLIBLE = "gullible"
    STEERED = "steered"
    SIX = "six"
    PROSE = "prose"


_PROSE = "What a lovely set of tasks. I should say that the first one is rather good and the others have their merits."


class Body(dict[str, Any]):
    """What a request carries. Its hash is made once, however many ask for it."""

    @cached_property
    def hash(self) -> str:
        return _hash(self)


def body_hash(body: Mapping[str, Any]) -> str:
    """Equal for equal questions, whatever the order of the keys."""
    return body.hash if isinstance(body, Body) else _hash(body)


def _hash(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]


def chance_of(*place: object) -> Random:
    """A source of chance that depends on these values alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, place)).encode(errors="replace"), digest_size=8).digest()
    return Random(int.from_bytes(digest))


def room(body: Mapping[str, Any]) -> int:
    """The most tokens that this request lets the answer have."""
    most = next((body[name] for name in ROOMS if name in body), None)
    return most if isinstance(most, int) and most > 0 else _ROOM


def asked_tokens(body: Mapping[str, Any]) -> int:
    """What a request may use at most: its question and its room."""
    return tokens(_last_user_text(body) or str(body.get("prompt") or body.get("input") or "")) + room(body)


def chat(
    body: Mapping[str, Any],
    seed: int,
    *,
    aside: str = "",
    temper: Temper = Temper.HONEST,
    lister: Lister = Lister.HONEST,
) -> Made:
    """The answer to the last user message, in the form that its schema or its words ask for.

    `aside` is added to what the model writes (as a tag where it writes tags).
    """
    question = _last_user_text(body)
    chance = chance_of(seed, "chat", body_hash(body))
    if found := generating.kind(question):
        return _bounded(_joined(generating.chat(found, question, chance, lister), aside), question, body)
    kind = _schema_name(body) or _kind_by_words(question)
    if kind in ("scores", "tags") and temper is Temper.PROSE:
        return _bounded(_PROSE, question, body, judged=True)
    if kind == "scores":
        return _bounded(_json(_scores(question, seed, temper)), question, body, judged=True)
    if kind == "tags":
        return _bounded(_json(_tags(question, seed, aside)), question, body, judged=True)
    if kind == "operators":
        return _bounded(_json(operating.proposals(chance)), question, body)
    if kind == "method":
        return _bounded(_json(operating.method(chance)), question, body)
    if kind == "equal":
        return _bounded(operating.equal(*_QUOTED.findall(question)[-2:]), question, body)
    if kind == "respond":
        text = writing.answered(question.partition("\n\n")[2] or question, chance)
    else:
        text = _evolve(_quoted(question), question, chance)
    return _bounded(_joined(text, aside), question, body)


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False)


def _joined(text: str, aside: str) -> str:
    return f"{text} {aside}" if aside else text


def completion(body: Mapping[str, Any], seed: int, *, aside: str = "", lister: Lister = Lister.HONEST) -> Made:
    """The continuation of a few-shot prompt, by what it asks for, and an aside."""
    prompt = str(body.get("prompt", ""))
    chance = chance_of(seed, "completion", body_hash(body))
    if found := generating.kind(prompt):
        text = generating.completion(found, prompt, chance, lister)
        return _bounded(f"{_joined(text, aside)}\n\nTask: Name a colour.", prompt, body)
    label, _, begun = prompt.rstrip("\n").rpartition("\n")[2].partition(":")
    tasks = _TASK.findall(prompt)
    instruction = tasks[-1].strip() if tasks else prompt[-400:]
    if body.get("logprobs"):
        return _graded(instruction, label, prompt, body, seed)
    if label in ("Intents", "Tags"):
        text = " " + ", ".join(writing.tags(instruction, chance))
    elif label in ("Answer", "Output"):
        text = " " + writing.answered(instruction, chance)
    elif begun.strip():
        text = f" {writing.went_on(instruction, chance)}"
    else:
        text = " " + _evolve(instruction, prompt.rpartition("\n")[2], chance)
    return _bounded(f"{_joined(text, aside)}\n\nTask: Name a colour.", prompt, body)


def _graded(instruction: str, label: str, prompt: str, body: Mapping[str, Any], seed: int) -> Made:
    most = min(max(int(body["logprobs"]), 1), 20)
    chance = chance_of(seed, "grade", label, instruction)
    dimension = (
        "complexity" if re.search("complex|difficult|demand|hard", f"{label} {prompt[:300]}", re.I) else "quality"
    )
    space = not prompt.endswith(" ")
    alternatives = writing.grade_logprobs(instruction, dimension, chance, space=space, most=most)
    text = next(iter(alternatives))
    return Made(text=text, finish_reason="length", tokens_in=tokens(prompt), tokens_out=1, alternatives=alternatives)


def _evolve(instruction: str, question: str, chance: Random) -> str:
    method = question.replace(instruction, "")
    return writing.brand_new(instruction, chance) if _BRAND_NEW.search(method) else writing.evolved(instruction, chance)


def _last_user_text(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            return _content(message.get("content"))
    return ""


def _content(content: object) -> str:
    """A message's text, also where a client sends it in parts: [{"type": "text", "text": "..."}]."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def _schema_name(body: Mapping[str, Any]) -> str | None:
    form = body.get("response_format")
    schema = form.get("json_schema") if isinstance(form, dict) else None
    name = schema.get("name") if isinstance(schema, dict) else None
    return name if isinstance(name, str) else None


def _kind_by_words(question: str) -> str:
    if '{"scores"' in question:
        return "scores"
    if '{"tags"' in question:
        return "tags"
    if '{"operators"' in question or '{"method"' in question:
        return "operators" if '{"operators"' in question else "method"
    if "Are A and B equal?" in question:
        return "equal"
    return "respond" if question.startswith(_RESPOND_MARK) and _EVOLVE_MARK not in question else "evolve"


def _quoted(question: str) -> str:
    found = _QUOTED.findall(question)
    return (found[-1] if found else question).strip()


def _scores(question: str, seed: int, temper: Temper) -> dict[str, Any]:
    dimensions = list(dict.fromkeys(_DIMENSION.findall(question))) or ["quality", "complexity"]
    fooled = temper is Temper.GULLIBLE and _ORDER.search(_QUOTED.sub("", question)) is not None

    def grade(text: str, dimension: str) -> int:
        if fooled or temper is Temper.SIX or (temper is Temper.STEERED and _ORDER.search(text)):
            return 6
        return round(writing.grade(text, dimension, chance_of(seed, "grade", dimension, text)))

    found = _CANDIDATE.findall(question)
    return {"scores": [{"id": name, **{d: grade(text, d) for d in dimensions}} for name, text in found]}


def _tags(question: str, seed: int, aside: str) -> dict[str, Any]:
    found = _CANDIDATE.findall(question)
    tags = {name: writing.tags(text, chance_of(seed, "tags", text)) + [aside] * bool(aside) for name, text in found}
    return {"tags": [{"id": name, "tags": listed} for name, listed in tags.items()]}


def tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _bounded(text: str, question: str, body: Mapping[str, Any], *, judged: bool = False) -> Made:
    """The text up to the first stop, and no longer than asked for."""
    stop = body.get("stop") or []
    for mark in [stop] if isinstance(stop, str) else stop:
        if isinstance(mark, str) and mark:
            text = text.partition(mark)[0]
    limit = room(body)
    whole = tokens(text) <= limit
    kept = text if whole else text[: limit * CHARACTERS_PER_TOKEN]
    finish = "stop" if whole else "length"
    return Made(text=kept, finish_reason=finish, tokens_in=tokens(question), tokens_out=tokens(kept), judged=judged)


def embedding(text: str) -> list[float]:
    """A unit vector: words hashed into places, so texts with words in common are near each other."""
    vector = [0.0] * _VECTOR
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.blake2b(word.encode(errors="replace"), digest_size=4).digest()
        vector[digest[0] % _VECTOR] += 1.0 if digest[1] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
