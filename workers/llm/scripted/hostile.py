"""Envelopes that no endpoint should send and some do: each takes a good answer's JSON and makes bytes of it."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Data = dict[str, Any]
_JSON = "application/json"
_HUGE = 20 * 1024 * 1024
_DEEP = 100_000
_PAGE = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><h1>502 Bad Gateway</h1>"
    "<script>location.reload()</script></body></html>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`reads` says what an honest client can make of it: nothing, an empty text, or the very text that was meant.

    `null` is an empty text in a chat and nothing in a completion.
    """

    make: Callable[[Data], bytes]
    reads: Literal["nothing", "null", "empty", "whole"]
    content_type: str = _JSON


def dumped(data: object) -> bytes:
    return json.dumps(data).encode()


def _edited(edit: Callable[[Data, Data], None]) -> Callable[[Data], bytes]:
    """Applies an edit to a copy of the answer and of its first choice."""

    def make(data: Data) -> bytes:
        changed = copy.deepcopy(data)
        choices = changed.get("choices")
        edit(changed, choices[0] if choices else {})
        return dumped(changed)

    return make


def _set_text(choice: Data, text: object) -> None:
    if "message" in choice:
        choice["message"]["content"] = text
    else:
        choice["text"] = text


def _text(choice: Data) -> str:
    return str(choice["message"]["content"] if "message" in choice else choice.get("text", ""))


def _wrong_types(data: Data, choice: Data) -> None:
    data.update(id=7, object=["x"], created="yesterday", model={"name": 1}, choices={"0": choice}, usage="much")


def _parts(data: Data, choice: Data) -> None:
    """As some servers answer; a completion has no parts."""
    if "message" in choice:
        choice["message"]["content"] = [{"type": "text", "text": choice["message"]["content"]}]


def _message_is_text(data: Data, choice: Data) -> None:
    choice.update(message=_text(choice), text=7)


def _odd_fields(data: Data, choice: Data) -> None:
    """Wrong types wherever the text is not."""
    data.update(id=None, created=-1, model=17, system_fingerprint=[], service_tier={"a": 1})
    choice.update(index="first", finish_reason={"reason": "stop"})
    if "message" in choice:
        choice["message"].update(role=3, refusal={"no": 1}, tool_calls="none", annotations=7)


def _dirt(data: Data, choice: Data) -> None:
    """JSON may spell these out in escapes; Postgres and UTF-8 take neither."""
    _set_text(choice, f"\x00{_text(choice)}\x00\ud800")
    data["model"] = "\ud83d\x00scripted"


def _controls(data: Data, choice: Data) -> None:
    _set_text(choice, f"{_text(choice)}\x07\x1b[31m\x7f\u2028\u202e")


def _not_numbers(data: Data, choice: Data) -> None:
    """NaN and infinities, which Python's parser takes and JSON does not know."""
    data.update(created=float("nan"), usage={"prompt_tokens": float("inf"), "completion_tokens": float("nan")})
    listed = (choice.get("logprobs") or {}).get("top_logprobs")
    if listed:
        listed[0].update({"1e": float("nan"), "x": float("-inf"), "y": float("inf")})


def _duplicates(data: Data) -> bytes:
    """Each key twice: first something else, then what was meant."""
    return b'{"choices": [], "usage": {"prompt_tokens": 1}, "model": "other", ' + dumped(data)[1:]


def _raw_controls(data: Data) -> bytes:
    """A line feed as it is inside of a string."""
    return dumped(data).replace(b'"choices"', b'"note": "a\nb\x00", "choices"')


def _huge(data: Data) -> bytes:
    return dumped(data)[:-1] + b', "padding": "' + b"x" * _HUGE + b'"}'


def _nested(data: Data) -> bytes:
    return dumped(data)[:-1] + b', "extra": ' + b"[" * _DEEP + b"]" * _DEEP + b"}"


def _long_number(data: Data) -> bytes:
    return dumped(data)[:-1] + b', "nonce": ' + b"7" * 5000 + b"}"


def _no_choices(data: Data, choice: Data) -> None:
    data.pop("choices", None)


def _whole(make: Callable[[Data], bytes], content_type: str = _JSON) -> Envelope:
    return Envelope(make=make, reads="whole", content_type=content_type)


def _broken(make: Callable[[Data], bytes], content_type: str = _JSON) -> Envelope:
    return Envelope(make=make, reads="nothing", content_type=content_type)


def _blank(make: Callable[[Data], bytes]) -> Envelope:
    return Envelope(make=make, reads="empty")


ENVELOPES: dict[str, Envelope] = {
    "wrong_types": _broken(_edited(_wrong_types)),
    "no_choices": _broken(_edited(_no_choices)),
    "empty_choices": _broken(_edited(lambda data, _: data.update(choices=[]))),
    "null_choice": _broken(_edited(lambda data, _: data.update(choices=[None]))),
    "message_is_text": _broken(_edited(_message_is_text)),
    "error_inside": _broken(lambda data: dumped({"error": {"message": "overloaded", "code": 503}, "choices": None})),
    "scalar": _broken(lambda data: b"42"),
    "empty_body": _broken(lambda data: b""),
    "nested": _broken(_nested),
    "long_number": _broken(_long_number),
    "huge": _broken(_huge),
    "not_utf8": _broken(lambda data: b'{"model": "caf\xe9\xff", ' + dumped(data)[1:]),
    "raw_controls": _broken(_raw_controls),
    "twice": _broken(lambda data: dumped(data) + dumped(data)),
    "stream": _broken(lambda data: b"data: " + dumped(data) + b"\n\ndata: [DONE]\n\n", "text/event-stream"),
    "page": _broken(lambda data: _PAGE.encode(), "text/html"),
    "null_text": Envelope(make=_edited(lambda _, choice: _set_text(choice, None)), reads="null"),
    "empty_text": _blank(_edited(lambda _, choice: _set_text(choice, ""))),
    "blank_text": _blank(_edited(lambda _, choice: _set_text(choice, " \n\u00a0\t"))),
    "odd_fields": _whole(_edited(_odd_fields)),
    "duplicate_keys": _whole(_duplicates),
    "content_is_parts": _whole(_edited(_parts)),
    "not_numbers": _whole(_edited(_not_numbers)),
    "nul_and_surrogates": _whole(_edited(_dirt)),
    "control_characters": _whole(_edited(_controls)),
    "byte_order_mark": _whole(lambda data: b"\xef\xbb\xbf" + dumped(data)),
    "wrong_content_type": _whole(dumped, "text/html"),
}

# What `usage` becomes; a text model's real numbers are never among them.
USAGES: dict[str, object] = {
    "missing": ...,
    "null": None,
    "text": "12 tokens",
    "list": [12, 34],
    "negative": {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12},
    "zero": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "absurd": {"prompt_tokens": 10**18, "completion_tokens": 10**18, "total_tokens": 2 * 10**18},
    "far_too_many": {"prompt_tokens": 9_000_000, "completion_tokens": 9_000_000, "total_tokens": 18_000_000},
    "strings": {"prompt_tokens": "12", "completion_tokens": "34", "total_tokens": "46"},
    "floats": {"prompt_tokens": 12.5, "completion_tokens": 1e300, "total_tokens": 0.1},
    "truths": {"prompt_tokens": True, "completion_tokens": False, "total_tokens": None},
    "nan": {"prompt_tokens": float("nan"), "completion_tokens": float("inf"), "total_tokens": float("nan")},
    "half": {"prompt_tokens": 12},
}


def with_usage(data: Data, name: str) -> Data:
    """The answer with one of `USAGES` for its own numbers."""
    wrong = USAGES[name]
    kept = {key: value for key, value in data.items() if key != "usage"}
    return kept if wrong is ... else {**kept, "usage": wrong}
