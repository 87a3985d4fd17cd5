"""Untrusted text made fit to be looked at: nothing invisible, nothing that turns its surroundings round, no end."""

import re
import unicodedata
from dataclasses import dataclass

HEAD_CHARACTERS = 600
MOST_CHARACTERS = 16_000

# Format characters that real writing needs: joiners (Persian, Hindi, emoji) and the Arabic and Kaithi number signs.
_KEPT = frozenset("\n\t\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2\U000110bd\U000110cd")
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_PLAIN = re.compile(r"[\n -~]*\Z")


def visible(text: str) -> str:
    """The text with every control, direction and other invisible character replaced by a placeholder like ⟨U+202E⟩.

    Line feeds and tabs stay; a carriage return before a line feed goes. The result can always be encoded as UTF-8.
    """
    if _PLAIN.match(text):
        return text
    return "".join(_shown(character) for character in text.replace("\r\n", "\n"))


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN:
        return character
    return f"⟨U+{ord(character):04X}⟩"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text to show: whole, or its beginning (`head`) first. `omitted` characters are not in the page at all."""

    head: str | None
    body: str
    characters: int
    omitted: int


def passage(text: str, most: int = HEAD_CHARACTERS) -> Passage:
    """Clips what is longer than about `most` characters; cuts what is endless."""
    body, omitted = text[:MOST_CHARACTERS], max(0, len(text) - MOST_CHARACTERS)
    head = body[:most].rstrip() if len(body) > most * 1.2 else None
    return Passage(head=head, body=body, characters=len(text), omitted=omitted)


def shorten(text: str, most: int) -> str:
    """One line of at most `most` characters, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
