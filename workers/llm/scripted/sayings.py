"""Answers that arrive whole and are none: cut off, filtered, refused, empty, or a judge's JSON that is not JSON."""

from dataclasses import replace

from workers.llm.scripted.answers import CHARACTERS_PER_TOKEN, Made, tokens
from workers.llm.scripted.faults import Fault

_DECLINED = "I'm sorry, but I can't help with that."


def said(made: Made, fault: Fault, room: int, *, chat: bool) -> Made:
    """What the model says under this fault, where it may use `room` tokens."""
    if fault.malformed == "text":
        return _told(made, _spoilt(made.text))
    if fault.saying == "cut" and made.alternatives is None:  # a grade is one token and cannot be cut
        return _told(made, made.text[: min(len(made.text), room * CHARACTERS_PER_TOKEN) // 2], "length")
    if fault.saying == "filtered":
        return _told(made, "", "content_filter")
    if fault.saying == "refused" and chat:
        return replace(_told(made, ""), refusal=_DECLINED)
    if fault.saying in ("refused", "declined"):
        return _told(made, _DECLINED)
    return _told(made, "") if fault.saying == "empty" else made


def _told(made: Made, text: str, finish_reason: str | None = None) -> Made:
    """The same answer with another text: it costs what it costs, and there are no grades in it."""
    finish = finish_reason or made.finish_reason
    used = tokens(text) if finish_reason == "length" else made.tokens_out
    alternatives = made.alternatives if text == made.text else None
    return replace(made, text=text, finish_reason=finish, tokens_out=used, alternatives=alternatives)


def _spoilt(text: str) -> str:
    """JSON that no parser takes: the second half is gone and the quotes with it. Other text is left alone."""
    return text[: len(text) // 2].replace('"', "") if text.startswith("{") else text
