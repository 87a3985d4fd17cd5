"""Reading the JSON that a judge meant to write.

Models wrap it in prose and fences, end lists with a comma, use single or curly quotes, forget quotes, or are cut off in
the middle. What is whole is kept; a value that was cut off is dropped, never guessed. Numbers written as strings stay
strings: only who knows the field can tell. Nothing is ever evaluated.
"""

import json
import re
from typing import Any

from workers.llm.scrub import scrub

LONGEST = 64 * 1024
_DEEPEST = 40
# How many places of a text are tried as the beginning of the object.
_TRIES = 16
_CLOSING = {'"': '"”“', "'": "'’", "“": '”"', "„": '“”"', "‘": "’'", "«": "»", "`": "`"}
_SPACE = re.compile(r"[\s\u200b\ufeff]*")
_BARE = re.compile(r"[^\s,:{}\[\]\"“”]+(?:[ \t]+[^\s,:{}\[\]\"“”]+)*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None, "nan": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_AFTER_STRING = ",:}]"


class Malformed(ValueError):
    """There is no JSON object in this text."""


class _Cut(Exception):
    """The text ended inside a value."""


def read_json(text: str) -> dict[str, Any]:
    """The first JSON object in the text.

    Raises:
        Malformed: there is none, or the text is longer than `LONGEST` characters.
    """
    if len(text) > LONGEST:
        raise Malformed(f"{len(text)} characters, at most {LONGEST} are read")
    found = _strict(text)
    if found is None:
        found = _tolerant(text)
    if found is None:
        raise Malformed("no JSON object")
    return found


def _strict(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
        return _scrubbed(data) if isinstance(data, dict) else None
    except (ValueError, RecursionError):
        return None


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {scrub(key): _scrubbed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    return scrub(value) if isinstance(value, str) else value


def _tolerant(text: str) -> dict[str, Any] | None:
    """The first object that holds anything; an empty one only if there is no other."""
    empty: dict[str, Any] | None = None
    place = -1
    for _ in range(_TRIES):
        place = text.find("{", place + 1)
        if place < 0:
            break
        try:
            data = _Reader(text, place).object()
        except Malformed:
            continue
        if data:
            return data
        empty = data
    return empty


class _Reader:
    """Recursive descent over a text from one place on."""

    def __init__(self, text: str, place: int) -> None:
        self._text = text
        self._place = place
        self._depth = 0

    def object(self) -> dict[str, Any]:
        """The object that begins here, or what is whole of it. Raises Malformed when nothing is."""
        found: dict[str, Any] = {}
        try:
            self._members(found)
        except _Cut:
            if not found:
                raise Malformed("cut off before the first value") from None
        return found

    def _members(self, found: dict[str, Any]) -> None:
        self._enter()
        while (sign := self._sign()) != "}":
            if sign == ",":
                self._place += 1
                continue
            key = self._key()
            if self._sign() != ":":
                raise Malformed("no colon after a key")
            self._place += 1
            self._value_into(found, key)
            self._separator("}")
        self._leave()

    def _items(self, found: list[Any]) -> None:
        self._enter()
        while (sign := self._sign()) != "]":
            if sign == ",":
                self._place += 1
                continue
            self._value_into(found, None)
            self._separator("]")
        self._leave()

    def _enter(self) -> None:
        self._place += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Malformed("nested too deeply")

    def _leave(self) -> None:
        self._place += 1
        self._depth -= 1

    def _sign(self) -> str:
        """The next character that is no space. Raises _Cut at the end."""
        space = _SPACE.match(self._text, self._place)
        self._place = space.end() if space else self._place
        if self._place >= len(self._text):
            raise _Cut
        return self._text[self._place]

    def _separator(self, closing: str) -> None:
        if self._sign() not in ("," + closing):
            raise Malformed("no comma between values")

    def _key(self) -> str:
        if self._sign() in _CLOSING:
            return self._string()
        bare = self._bare()
        if not bare:
            raise Malformed("no key")
        return bare

    def _value_into(self, found: dict[str, Any] | list[Any], key: str | None) -> None:
        """Reads one value. A container is put in place before it is filled: what is whole in it survives a cut."""
        sign = self._sign()
        value: Any
        if sign == "{":
            value = {}
            _put(found, key, value)
            self._members(value)
        elif sign == "[":
            value = []
            _put(found, key, value)
            self._items(value)
        else:
            _put(found, key, self._string() if sign in _CLOSING else self._scalar())

    def _string(self) -> str:
        """A quoted text. Its quote closes only where a comma, colon or bracket follows, so apostrophes do no harm."""
        closing = _CLOSING[self._text[self._place]]
        self._place += 1
        parts: list[str] = []
        while self._place < len(self._text):
            sign = self._text[self._place]
            self._place += 1
            if sign == "\\":
                parts.append(self._escape())
            elif sign in closing and self._closes():
                return scrub("".join(parts))
            else:
                parts.append(sign)
        raise _Cut

    def _closes(self) -> bool:
        space = _SPACE.match(self._text, self._place)
        end = space.end() if space else self._place
        return end >= len(self._text) or self._text[end] in _AFTER_STRING

    def _escape(self) -> str:
        sign = self._text[self._place : self._place + 1]
        self._place += 1
        if sign != "u":
            return _ESCAPES.get(sign, sign)
        first = self._hex()
        if 0xD800 <= first < 0xDC00 and self._text.startswith("\\u", self._place):
            self._place += 2
            second = self._hex()
            if 0xDC00 <= second < 0xE000:
                return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
            return ""
        return chr(first)

    def _hex(self) -> int:
        digits = self._text[self._place : self._place + 4]
        if self._place + len(digits) == len(self._text):
            raise _Cut  # an escape is inside a text: even a whole one is not followed by its quote
        if not re.fullmatch(r"[0-9a-fA-F]{4}", digits):
            raise Malformed("a broken escape")
        self._place += 4
        return int(digits, 16)

    def _bare(self) -> str:
        found = _BARE.match(self._text, self._place)
        if found is None:
            return ""
        self._place = found.end()
        return scrub(found[0])

    def _scalar(self) -> Any:
        """A number, a known word, or a text without quotes."""
        bare = self._bare()
        if not bare:
            raise Malformed("no value")
        if self._place >= len(self._text):
            raise _Cut  # "1" may have been the beginning of "15"
        if bare.lower() in _WORDS:
            return _WORDS[bare.lower()]
        return _number(bare) if _NUMBER.fullmatch(bare) else bare


def _put(found: dict[str, Any] | list[Any], key: str | None, value: Any) -> None:
    if isinstance(found, dict):
        found[key or ""] = value
    else:
        found.append(value)


def _number(text: str) -> int | float | str:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:  # longer than Python is willing to convert
        return text
