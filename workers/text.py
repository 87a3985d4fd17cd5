"""Small pure measures of a text: words, script, similarity of letters."""

import re
import unicodedata
from collections import Counter

from rapidfuzz import fuzz
from rapidfuzz.utils import default_process

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def clean(text: str) -> str:
    """Without NUL, lone surrogates and other control characters, which Postgres or a terminal would choke on."""
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(kept).strip()


def addition(made: str, given: str) -> str:
    """What `made` says beyond the words with which both begin."""
    new, old = made.split(), [word.strip(".,:;!?").lower() for word in given.split()]
    shared = 0
    for word, before in zip(new, old, strict=False):
        if word.strip(".,:;!?").lower() != before:
            break
        shared += 1
    return " ".join(new[shared:])


def likeness(a: str, b: str) -> float:
    """How alike two texts are letter by letter, 0..1, case and punctuation aside."""
    return fuzz.ratio(default_process(a), default_process(b)) / 100


def containment(short: str, text: str) -> float:
    """How much of `short` stands in `text` as one piece, 0..1."""
    return fuzz.partial_ratio(default_process(short), default_process(text)) / 100


def script(text: str) -> str | None:
    """The script most letters are written in (LATIN, CYRILLIC, CJK ...); None without letters."""
    names = (unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha())
    common = Counter(names).most_common(1)
    return common[0][0] if common else None


# The commonest function words of the languages that share the Latin script, each listed for one language only.
_FUNCTION_WORDS = {
    "en": {"the", "and", "of", "is", "with", "for", "that", "your", "what", "how", "this", "are", "you", "it", "to"},
    "de": {"der", "die", "und", "ist", "mit", "für", "das", "wie", "ein", "eine", "nicht", "sie", "auf", "zu", "den"},
    "fr": {"le", "les", "et", "est", "avec", "pour", "une", "vous", "des", "dans", "qui", "sur", "du", "au", "aux"},
    "es": {"el", "los", "y", "es", "con", "para", "las", "cómo", "del", "una", "su", "por", "lo", "más", "está"},
    "it": {"il", "gli", "è", "per", "della", "di", "che", "sono", "nel", "come", "dei", "alla", "questo", "più"},
    "pt": {"os", "é", "com", "uma", "não", "você", "em", "ao", "dos", "das", "são", "mais", "seu", "sua", "como"},
}


def language(text: str) -> str | None:
    """The Latin-script language whose function words clearly prevail; None when that cannot be said."""
    found = words(text)
    counts = {name: sum(word in listed for word in found) for name, listed in _FUNCTION_WORDS.items()}
    first, second = sorted(counts.values(), reverse=True)[:2]
    if first < 3 or first < 2 * second:
        return None
    return max(counts, key=lambda name: counts[name])


def repetitiveness(text: str, size: int = 3) -> float:
    """Share of runs of `size` words that occurred before; 0 for short texts."""
    found = words(text)
    runs = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if len(runs) >= 4 else 0.0
