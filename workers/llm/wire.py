"""Requests and responses on the wire. Whatever an endpoint answers, reading it raises ValueError at most."""

import json
import math
from collections.abc import Mapping
from typing import Any

from workers.config import Style
from workers.llm.request import Request, Response
from workers.llm.scrub import scrub

# More tokens than any one call can have; a larger number is a fault of the endpoint.
_MOST_TOKENS = 10_000_000
_CHARACTERS_PER_TOKEN = 4
_LEAST_LOGPROB, _ROUNDING = -1e5, 1e-3
# Options that would change the number or the form of the answers, which `read_response` relies on.
_NEVER = frozenset({"stream", "stream_options", "n", "best_of", "echo", "suffix"})
_THOUGHT_OPEN, _THOUGHT_CLOSE = "<think>", "</think>"


def path(style: Style) -> str:
    return "/chat/completions" if style is Style.CHAT else "/completions"


def body(request: Request) -> dict[str, Any]:
    """The JSON body. Options at their neutral value are left out: some endpoints refuse what they do not know."""
    made: dict[str, Any] = {
        **{name: value for name, value in request.extra.items() if name not in _NEVER},
        "model": request.model,
        **_question(request),
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
    }
    optional: dict[str, tuple[Any, Any]] = {
        "top_p": (request.top_p, 1.0),
        "presence_penalty": (request.presence_penalty, 0.0),
        "frequency_penalty": (request.frequency_penalty, 0.0),
        "stop": ([scrub(text) for text in request.stop], []),
        "seed": (request.seed, None),
        "response_format": (_response_format(request), None),
    }
    made.update({name: value for name, (value, neutral) in optional.items() if value != neutral})
    if request.logprobs:
        chat = {"logprobs": True, "top_logprobs": request.logprobs}
        made.update(chat if request.style is Style.CHAT else {"logprobs": request.logprobs})
    return made


def _question(request: Request) -> dict[str, Any]:
    if request.style is Style.COMPLETION:
        return {"prompt": scrub(request.prompt)}
    return {"messages": [{"role": item.role, "content": scrub(item.content)} for item in request.messages]}


def _response_format(request: Request) -> dict[str, Any] | None:
    if request.schema is None or request.json_mode == "text" or request.style is Style.COMPLETION:
        return None
    if request.json_mode == "object":
        return {"type": "json_object"}
    schema = {"name": request.schema.name, "strict": True, "schema": dict(request.schema.schema)}
    return {"type": "json_schema", "json_schema": schema}


def read_response(content: bytes, request: Request, *, latency_s: float) -> Response:
    """The response in these bytes.

    Raises:
        ValueError: they hold no answer.
    """
    data = _load(content)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"no choices{_complaint(data)}")
    choice: dict[str, Any] = choices[0]
    text, refused = _text(choice, request.style)
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    model = data.get("model")
    finish = choice.get("finish_reason")
    return Response(
        text=text,
        finish_reason=scrub(finish)[:40] if isinstance(finish, str) else "",
        tokens_in=_tokens(usage.get("prompt_tokens"), _question_length(request)),
        tokens_out=_tokens(usage.get("completion_tokens"), len(text)),
        top_logprobs=first_alternatives(choice.get("logprobs")) if request.logprobs else None,
        latency_s=latency_s,
        model=scrub(model)[:200] if isinstance(model, str) and model else request.model,
        refusal=refused,
    )


def _complaint(data: Mapping[str, Any]) -> str:
    """What a server says that sends its error as if all were well."""
    error = data.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return f", but an error: {said}" if isinstance(said, str) else ""


def _load(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("not an object")
    return data


def _text(choice: Mapping[str, Any], style: Style) -> tuple[str, bool]:
    """The text, and whether the endpoint marked it as a refusal."""
    if style is Style.COMPLETION:
        text = choice.get("text")
        if not isinstance(text, str):
            raise ValueError("no text")
        return scrub(text), False
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("no message")
    content, refusal = _joined(message.get("content")), message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return scrub(content if isinstance(content, str) and content else refusal), True
    if content is not None and not isinstance(content, str):
        raise ValueError("content is not text")
    return _without_thoughts(scrub(content or "")), False


def _joined(content: object) -> object:
    """One text, where a server sends it in parts: [{"type": "text", "text": "..."}]."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    whole = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
    return "".join(map(str, texts)) if whole else content


def _without_thoughts(text: str) -> str:
    """What follows the thoughts that a reasoning model puts in front; nothing when it never came to an answer."""
    if not text.lstrip().startswith(_THOUGHT_OPEN):
        return text
    _, _, answer = text.partition(_THOUGHT_CLOSE)
    return answer.lstrip()


def first_alternatives(logprobs: object) -> dict[str, float] | None:
    """Token -> log-probability at the first place, from either shape that servers use for completions.

    Classic: {"top_logprobs": [{"4": -0.3, ...}, ...]}. As in chat, which llama.cpp uses for both: {"content":
    [{"top_logprobs": [{"token": "4", "logprob": -0.3}, ...]}, ...]}. Tokens that read the same are added up.
    """
    pairs = _pairs(logprobs)
    found: dict[str, float] = {}
    for token, logprob in pairs:
        if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
            continue
        if not _LEAST_LOGPROB <= logprob <= _ROUNDING:  # false for NaN and infinities too
            continue
        name, value = scrub(token), min(float(logprob), 0.0)
        found[name] = _added(found[name], value) if name in found else value
    return found or None


def _pairs(logprobs: object) -> list[tuple[object, object]]:
    if not isinstance(logprobs, dict):
        return []
    classic, content = logprobs.get("top_logprobs"), logprobs.get("content")
    if isinstance(classic, list) and classic and isinstance(classic[0], dict):
        return list(classic[0].items())
    if isinstance(content, list) and content and isinstance(content[0], dict):
        listed = content[0].get("top_logprobs")
        items = listed if isinstance(listed, list) and listed else [content[0]]
        return [(item.get("token"), item.get("logprob")) for item in items if isinstance(item, dict)]
    return []


def _added(a: float, b: float) -> float:
    return min(max(a, b) + math.log1p(math.exp(-abs(a - b))), 0.0)


def _question_length(request: Request) -> int:
    return len(request.prompt) + sum(len(item.content) for item in request.messages)


def _tokens(reported: object, characters: int) -> int:
    """The reported number where it can be true, otherwise an estimate: a budget must not run on nothing."""
    if isinstance(reported, int) and not isinstance(reported, bool) and (characters > 0) <= reported <= _MOST_TOKENS:
        return reported
    return -(-characters // _CHARACTERS_PER_TOKEN)
