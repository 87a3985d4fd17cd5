"""Self-Instruct's rules for an instruction by itself (papers.md, 3.1). Whether it is a copy is the gate's question."""

import re
import string
import unicodedata
from functools import cache

from workers.contracts import Reason
from workers.generation.settings import GenerationSettings
from workers.text import pieces, unspaced, words

_PROGRAM = "write a program"
# How a quotation or a question may well begin where texts are not English.
_OPENING = frozenset({"Ps", "Pi"})
_INVERTED = "¿¡"


def fault(text: str, settings: GenerationSettings) -> Reason | None:
    """The first rule that the instruction breaks, in the published order; None when it breaks none."""
    count = length(text)
    if not count:
        return Reason.EMPTY
    if count < settings.min_words:
        return Reason.TOO_SHORT
    if count > settings.max_words or len(text) > settings.max_characters:
        return Reason.TOO_LONG
    if any(_word(word).search(text) for word in settings.words_refused):
        return Reason.UNDOABLE
    if text.casefold().startswith(_PROGRAM):
        return Reason.PROGRAM
    return Reason.ODD_START if _odd_start(text[0], settings) else None


def length(text: str) -> int:
    """Words as the published code counts them, between spaces; where a script has none, two characters are a word."""
    return sum(len(words(token)) if any(map(unspaced, pieces(token))) else 1 for token in text.split())


@cache
def _word(word: str) -> re.Pattern[str]:
    """Whole words in any case, but parts of a run that is written without spaces."""
    whole = re.escape(word) if any(map(unspaced, pieces(word))) else rf"\b{re.escape(word)}\b"
    return re.compile(whole, re.IGNORECASE)


def _odd_start(character: str, settings: GenerationSettings) -> bool:
    if character.isascii():
        return character in string.punctuation
    category = unicodedata.category(character)
    known = category in _OPENING or character in _INVERTED or category[0] in "LN"
    return settings.ascii_start or not known
