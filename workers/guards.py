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
    """What an evolved text is held against.

    `anchor` is the text whose topic it must keep, `shown` are its prompt's demonstrations as pairs of before and after,
    `topic` gives the similarity of two texts in topic. `starts_anew`: the operator makes a brand-new text.
    """

    parent: str
    anchor: str
    starts_anew: bool
    shown: tuple[tuple[str, str], ...]
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
    if measure.likeness(text, setting.parent) >= limits.unchanged and not _said_more(text, setting, limits):
        return Reason.UNCHANGED
    if any(_copies(text, before, after, setting, limits) for before, after in setting.shown):
        return Reason.COPIED_DEMONSTRATION
    if setting.topic(text, setting.anchor) < (limits.brand_new_topic if setting.starts_anew else limits.topic):
        return Reason.OFF_TOPIC
    return None if setting.starts_anew or _said_more(text, setting, limits) else Reason.THIN


def _said_more(text: str, setting: Setting, limits: Guards) -> bool:
    return len(measure.words(measure.addition(text, setting.parent))) >= limits.min_added_words


def _copies(text: str, before: str, after: str, setting: Setting, limits: Guards) -> bool:
    """Whether the text is a demonstration's, or what it adds to its parent is what the demonstration added.

    Compared whole, a copied addition hides behind the parent's own words (measured: `docs/local-model.md`).
    """
    if max(measure.likeness(text, before), measure.likeness(text, after)) >= limits.copied_whole:
        return measure.likeness(setting.parent, after) < limits.copied_whole
    added, shown = measure.addition(text, setting.parent), measure.addition(after, before)
    return not setting.starts_anew and bool(added and shown) and measure.likeness(added, shown) >= limits.copied


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
