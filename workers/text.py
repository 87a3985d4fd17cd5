"""Small pure measures of a text: words, script, similarity of letters."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.utils import default_process

# Chinese and Japanese write no spaces. Two of their characters, about the length of a word, count as one.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"[^\W_{_UNSPACED}]"
_SPACED = rf"{_LETTER}+(?:['’]{_LETTER}+)*"
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|{_SPACED}")
_PIECE = re.compile(rf"[{_UNSPACED}]+|{_SPACED}")


# The guards look at one text, and at the parent of a whole litter, many times within a moment.
_LATELY, _SHORT = 64, 8000


def words(text: str) -> list[str]:
    return list(_words(text))


def _words(text: str) -> tuple[str, ...]:
    return _looked_up(text) if len(text) <= _SHORT else _found(text)


def _found(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(text))


_looked_up = lru_cache(_LATELY)(_found)


def first_word(text: str) -> str | None:
    """The same as `words(text)[0]` where it has any."""
    found = _WORD.search(text)
    return found[0].lower() if found else None


def pieces(text: str) -> list[str]:
    """Words, and runs of characters that are written without spaces, unbroken."""
    return [piece.lower() for piece in _PIECE.findall(text)]


def unspaced(piece: str) -> bool:
    """Whether this piece of `pieces` is Chinese or Japanese."""
    return re.match(f"[{_UNSPACED}]", piece) is not None


def clean(text: str) -> str:
    """Without NUL, lone surrogates and other control characters, which Postgres or a terminal would choke on."""
    if not text.replace("\n", "").isprintable():  # which says no of some that stay, too
        text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return text.strip()


def addition(made: str, given: str) -> str:
    """What `made` says beyond the words with which both begin and those with which both end."""
    found = list(_WORD.finditer(made))
    new, old = [match.group().lower() for match in found], words(given)
    head = _shared(new, old)
    tail = _shared(new[head:][::-1], old[head:][::-1])
    inner = found[head : len(found) - tail]
    return made[inner[0].start() : None if tail == 0 else inner[-1].end()] if inner else ""


def _shared(a: list[str], b: list[str]) -> int:
    """How many words both begin with."""
    return next((i for i, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))


def likeness(a: str, b: str) -> float:
    """How alike two texts are letter by letter, 0..1, case and punctuation aside."""
    return fuzz.ratio(default_process(a), default_process(b)) / 100


# Japanese mixes three scripts in one sentence; Chinese shares one of them.
_SAME_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}


def scripts(text: str) -> dict[str, float]:
    """The scripts of its letters (LATIN, CYRILLIC, CJK ...) with their shares, the most used first."""
    if text.isascii():
        return {"LATIN": 1.0} if any(map(str.isalpha, text)) else {}
    names = (unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha())
    counts = Counter(_SAME_SCRIPT.get(name, name) for name in names)
    return {name: count / counts.total() for name, count in counts.most_common()}


# The commonest function words of the languages that share the Latin script, each listed for one language only.
_FUNCTION_WORDS = {
    "en": {"the", "and", "of", "is", "with", "for", "that", "your", "what", "how", "this", "are", "you", "it", "to"},
    "de": {"der", "die", "und", "ist", "mit", "für", "das", "wie", "ein", "eine", "nicht", "sie", "auf", "zu", "den"},
    "fr": {"le", "les", "et", "est", "avec", "pour", "une", "vous", "des", "dans", "qui", "sur", "du", "au", "aux"},
    "es": {"el", "los", "y", "es", "con", "para", "las", "cómo", "del", "una", "su", "por", "lo", "más", "está"},
    "it": {"il", "gli", "è", "per", "della", "di", "che", "sono", "nel", "come", "dei", "alla", "questo", "più"},
    "pt": {"os", "é", "com", "uma", "não", "você", "em", "ao", "dos", "das", "são", "mais", "seu", "sua", "como"},
}


def speech(*texts: str) -> dict[str, int]:
    """How many function words of each language occur in them."""
    found = {word for text in texts for word in _words(text)}
    return {name: len(found & listed) for name, listed in _FUNCTION_WORDS.items()}


def language(text: str) -> str | None:
    """The Latin-script language whose function words clearly prevail; None when that cannot be said."""
    counts = speech(text)
    first, second = sorted(counts.values(), reverse=True)[:2]
    if first < 3 or first < 2 * second:
        return None
    return max(counts, key=lambda name: counts[name])


def repetitiveness(text: str, size: int = 3) -> float:
    """Share of runs of `size` words that occurred before; 0 for short texts."""
    found = words(text)
    runs = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if len(runs) >= 4 else 0.0
