"""Guards against the known faults of evolution. Each fault has a name and is counted by it (`contracts.Reason`)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from workers import text as measure
from workers.config import Guards
from workers.contracts import Reason
from workers.llm.refusal import is_refusal

BRAND_NEW = "brand-new"

_SCAFFOLDING = re.compile(
    r"#\s*the (given|rewritten|created) prompt|#(given|rewritten|created) prompt|\b(given|rewritten|created|original) "
    r"(prompt|instruction)\b|^\s*(rewritten|evolved|new|instruction|prompt|task|before|after|output|input)\s*:|"
    r"\bprompt rewriter\b|<\|[a-z_]+\|>|\[/?inst\]",
    re.IGNORECASE,
)
_ANSWERED = re.compile(
    r"^\s*(sure|certainly|of course|absolutely|here (is|are)|here's|okay|ok,|the answer is|answer:|yes,|no,|i am |i'm |"
    r"great question|thank you)\b",
    re.IGNORECASE,
)
_QUESTION = frozenset({"what", "why", "how", "when", "where", "who", "whom", "whose", "which", "can", "could"})
_IMPERATIVE = frozenset(files("workers.prompts").joinpath("imperatives.txt").read_text(encoding="utf-8").split())
_CLAUSE = re.compile(r"[.!?:;,\n]+\s*|\b(?:and|then|please|to|must|should|you)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What an evolved text is held against: its parent, the text whose topic it must keep, and what the prompt showed.

    `topic` gives the similarity of two texts in topic; `anchor` is None for an operator that may leave the topic.
    """

    parent: str
    anchor: str | None
    shown: tuple[str, ...]
    topic: Callable[[str, str], float]


def check(text: str, setting: Setting, limits: Guards) -> Reason | None:
    """The first fault found in an evolved text, or None."""
    return _form(text, limits) or _speech(text, setting) or _origin(text, setting, limits)


def _form(text: str, limits: Guards) -> Reason | None:
    count = len(measure.words(text))
    if not count:
        return Reason.EMPTY
    if count > limits.max_words or len(text) > limits.max_characters:
        return Reason.TOO_LONG
    if count < limits.min_words:
        return Reason.TOO_SHORT
    return Reason.REPETITIVE if measure.repetitiveness(text) > limits.repetitive else None


def _speech(text: str, setting: Setting) -> Reason | None:
    """Is it an instruction at all, in the parent's language, and nothing but the instruction?"""
    if is_refusal(text):
        return Reason.REFUSAL
    if _SCAFFOLDING.search(text) and not _SCAFFOLDING.search(setting.parent):
        return Reason.SCAFFOLDING
    if _ANSWERED.match(text) or (looks_like_instruction(setting.parent) and not looks_like_instruction(text)):
        return Reason.ANSWER
    return Reason.WRONG_LANGUAGE if _other_language(text, setting.parent) else None


def _origin(text: str, setting: Setting, limits: Guards) -> Reason | None:
    """Did it come from the parent, and get away from it?"""
    if measure.likeness(text, setting.parent) >= limits.unchanged:
        return Reason.UNCHANGED
    if any(_copies(text, shown, setting.parent, limits.copied) for shown in setting.shown):
        return Reason.COPIED_DEMONSTRATION
    if setting.anchor is not None and setting.topic(text, setting.anchor) < limits.topic:
        return Reason.OFF_TOPIC
    return None


def _copies(text: str, shown: str, parent: str, limit: float) -> bool:
    """Nearer to the demonstration than the limit, and nearer than its parent already was."""
    return measure.likeness(text, shown) >= max(limit, measure.likeness(parent, shown) + 0.05)


def _other_language(text: str, parent: str) -> bool:
    if measure.script(text) != measure.script(parent):
        return True
    ours, theirs = measure.language(text), measure.language(parent)
    return ours is not None and theirs is not None and ours != theirs


def looks_like_instruction(text: str) -> bool:
    """A question, or a clause that begins with a verb one gives orders with (English; silent about the rest)."""
    if "?" in text:
        return True
    starts = (clause.split(maxsplit=1)[0].lower() for clause in _CLAUSE.split(text) if clause and clause.split())
    first = measure.words(text)[:1]
    return any(word in _IMPERATIVE for word in starts) or bool(first and first[0] in _QUESTION)
