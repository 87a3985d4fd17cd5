"""Guards against the known faults of evolution. Each fault has a name and is counted by it (`contracts.Reason`)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
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
    r"^\s*(?:(?:sure|certainly|of course|absolutely|okay|great question|thank you)(?![\w-])|(?:ok|yes|no),\s|answer:|"
    r"the answer is\b|i(?:['’]m| am|['’]d be| would be) (?:happy|glad|pleased) to\b)",
    re.IGNORECASE,
)
# What comes after "Here is" is an answer, unless it is material to work on ("Here is a table of prices: ...").
_HANDED = re.compile(r"^\s*here(?:['’]s| is| are)\b", re.IGNORECASE)
_MATERIAL = re.compile(
    r"^\s*here(?:['’]s| is| are) (?:[\w-]+ ){0,4}?(?:input|table|data|csv|json|xml|log|email|letter|text|passage|"
    r"paragraph|dialogue|conversation|transcript|excerpt|code|snippet|function|query|notes?|records?|sentences?|"
    r"situation|case|scenario|puzzle|riddle|problem|question)\b",
    re.IGNORECASE,
)
_ASKS = re.compile("[?？؟]")
_WISH = re.compile(
    r"\b(?:i|we)(?:['’]d| would) like\b|\b(?:i|we) (?:need|want) (?:you|an?|the|some|help|advice|ideas)\b|"
    r"\byour (?:task|job|goal|challenge) is\b",
    re.IGNORECASE,
)
# Shares of the parent's script and numbers of its language's function words from which they still count as there.
_SOME_LETTERS = 0.1
_SOME_WORDS = 2
_QUESTION = frozenset({"what", "why", "how", "when", "where", "who", "whom", "whose", "which", "can", "could", "would"})
_IMPERATIVE = frozenset(files("workers.prompts").joinpath("imperatives.txt").read_text(encoding="utf-8").split())
# Where an order may begin: after a mark, a numbering such as "2." or "(b)", a dash, or a word that leads up to one.
_CLAUSE = re.compile(
    r"[.!?:;,\n]+[\s\"'“”‘’(]*(?:\(?\w\)\s+|\d+\s+)?|\s[-–—]\s|"
    r"\b(?:so|then|please|must|should|also|(?:need|want|have|you|is|are|like) to)\s+",
    re.IGNORECASE,
)
# Indented or fenced lines are code: `return` and `print` give no orders there.
_CODE = re.compile(r"^(?: {2,}|\t)[^\n]*|^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What an evolved text is held against.

    `anchor` is the text whose topic it must keep, `shown` are its prompt's demonstrations as pairs of before and after,
    `topic` gives the similarity of two texts in topic. `starts_anew`: the operator makes a brand-new text. `begun` is
    how the prompt itself began the text, if it did: a lead that nothing follows adds nothing.
    """

    parent: str
    anchor: str
    starts_anew: bool
    shown: tuple[tuple[str, str], ...]
    topic: Callable[[str, str], float]
    begun: str = ""


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
    if _other_language(text, setting.parent):
        return Reason.WRONG_LANGUAGE
    return Reason.ANSWER if _answers(text, setting.parent) else None


def _hint_of_english(text: str) -> str | None:
    """Short parents hold too few function words to be sure of; but no other language shares the English ones."""
    counts = measure.speech(text)
    return "en" if 0 < counts["en"] == sum(counts.values()) else None


def _answers(text: str, parent: str) -> bool:
    """Whether the text carries the parent out instead of asking for more. Orders are known in English only."""
    if _ANSWERED.match(text) and not _ANSWERED.match(parent):
        return True
    if _HANDED.match(text) and not _HANDED.match(parent) and not _MATERIAL.match(text):
        return True
    counts = measure.speech(parent, text)
    english = counts.pop("en") - max(counts.values())
    # Orders are words of English already; a question mark is not, so its language must show elsewhere.
    asked = _gives_orders(parent) or (_ASKS.search(parent) is not None and english >= _SOME_WORDS)
    return asked and english >= 0 and not looks_like_instruction(text)


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
    return len(measure.words(measure.addition(text, setting.begun or setting.parent))) >= limits.min_added_words


def _copies(text: str, before: str, after: str, setting: Setting, limits: Guards) -> bool:
    """Whether the text is a demonstration's, or what it adds to its parent is what the demonstration added.

    Compared whole, a copied addition hides behind the parent's own words (measured: `docs/local-model.md`).
    """
    whole, own = (max(measure.likeness(x, before), measure.likeness(x, after)) for x in (text, setting.parent))
    if whole >= limits.copied_whole > own:
        return True
    added, shown = measure.addition(text, setting.parent), measure.addition(after, before)
    return not setting.starts_anew and bool(added and shown) and measure.likeness(added, shown) >= limits.copied


def _other_language(text: str, parent: str) -> bool:
    """Whether the text has left the parent's language. Material in another one (a passage to translate, JSON) is
    no fault as long as the task itself is still put in the parent's.
    """
    ours, theirs = measure.scripts(text), measure.scripts(parent)
    if ours and theirs:
        mine, parents = next(iter(ours)), next(iter(theirs))
        if max(ours.get(parents, 0.0), theirs.get(mine, 0.0)) < _SOME_LETTERS:
            return True
    language, before = measure.language(text), measure.language(parent) or _hint_of_english(parent)
    if language is None or before is None or language == before:
        return False
    return measure.speech(text)[before] < _SOME_WORDS


def looks_like_instruction(text: str) -> bool:
    """A question in any language, or an English wish or order."""
    return _ASKS.search(text) is not None or _gives_orders(text)


@lru_cache(64)  # the parent of a litter is asked about with each of its children
def _gives_orders(text: str) -> bool:
    """A wish, a word that questions begin with, or a clause that begins with a verb one gives orders with."""
    said = _CODE.sub("", text)
    if _WISH.search(said) or measure.first_word(said) in _QUESTION:
        return True
    return any(measure.first_word(clause) in _IMPERATIVE for clause in _CLAUSE.split(said) if clause)
