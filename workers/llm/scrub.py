"""Text that others wrote, made fit for a row of Postgres and for a line of a log."""

import re

# Postgres refuses NUL in text and in JSON; a lone surrogate cannot be written as UTF-8 at all.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_SECRETS = re.compile(r"(?i)\b(bearer)\s+[^\s,;\"']+|\bsk-[\w-]{4,}|(?<=://)[^/\s@]+@")


def scrub(text: str) -> str:
    """The text without NUL and lone surrogates; everything else is left as it is."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("", text)


def one_line(text: str, *, secret: str | None = None, limit: int = 200) -> str:
    """The text on one line of at most `limit` characters, with anything that looks like a credential masked."""
    masked = text[: 20 * limit].replace(secret, "***") if secret else text[: 20 * limit]
    masked = _SECRETS.sub(lambda found: f"{found[1]} ***" if found[1] else "***", masked)
    line = " ".join(_CONTROL.sub(" ", masked).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
