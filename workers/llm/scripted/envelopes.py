"""OpenAI's envelopes round what the scripted model says, and the bytes that are made of them under a fault."""

from collections.abc import Mapping, Sequence
from typing import Any

from workers.llm.scripted.answers import Made, body_hash
from workers.llm.scripted.faults import Fault
from workers.llm.scripted.hostile import ENVELOPES, dumped, with_usage
from workers.llm.scripted.sending import Wire

# What a server says with a status when it has nothing of its own to say.
MESSAGES: Mapping[int, str] = {
    400: "Invalid request",
    401: "Incorrect API key provided",
    402: "Insufficient balance",
    403: "Country, region, or territory not supported",
    404: "The model does not exist or you do not have access to it",
    408: "Request timed out",
    409: "The resource is locked",
    413: "Request too large",
    422: "Unprocessable: value out of range",
    429: "Rate limit reached",
    500: "The server had an error",
    502: "Bad gateway",
    503: "The engine is currently overloaded",
    504: "Gateway timed out",
    529: "Overloaded",
}
CODES: Mapping[int, str] = {
    401: "invalid_api_key",
    402: "insufficient_balance",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}


def chat(body: Mapping[str, Any], made: Made) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": made.text}
    if made.refusal is not None:
        message.update(content=None, refusal=made.refusal)
    choice = {"index": 0, "message": message, "finish_reason": made.finish_reason, "logprobs": None}
    return _envelope("chat.completion", body, made, choice)


def completion(body: Mapping[str, Any], made: Made) -> dict[str, Any]:
    logprobs = None
    if made.alternatives is not None:
        chosen = made.alternatives.get(made.text)
        logprobs = {"tokens": [made.text], "token_logprobs": [chosen], "top_logprobs": [dict(made.alternatives)]}
    choice = {"index": 0, "text": made.text, "finish_reason": made.finish_reason, "logprobs": logprobs}
    return _envelope("text_completion", body, made, choice)


def embeddings(body: Mapping[str, Any], made: Made, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": made.tokens_in, "total_tokens": made.tokens_in}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def _envelope(kind: str, body: Mapping[str, Any], made: Made, choice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"scripted-{body_hash(body)}",
        "object": kind,
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": made.tokens_in,
            "completion_tokens": made.tokens_out,
            "total_tokens": made.tokens_in + made.tokens_out,
        },
    }


def wire(data: Mapping[str, Any], fault: Fault, made: Made) -> Wire:
    """The bytes of this answer under a fault. A judge whose JSON is not whole is asked again in the same words."""
    told = dict(data) if fault.usage is None else with_usage(dict(data), fault.usage)
    halved = fault.saying or fault.malformed == "text" or made.finish_reason == "length"
    spoiled = _lost(fault) or ("text" if made.judged and halved else None)
    if fault.hostile is not None:
        return _hostile(told, fault.hostile, judged=made.judged, spoiled=spoiled)
    content = dumped(told)
    if fault.malformed == "envelope":
        return Wire(content=content[: len(content) // 2], spoiled=spoiled or "unreadable")
    return Wire(content=content, spoiled=spoiled)


def _lost(fault: Fault) -> str | None:
    return fault.delivery if fault.delivery in ("dropped_paid", "half") else None


def _hostile(data: dict[str, Any], name: str, *, judged: bool, spoiled: str | None) -> Wire:
    made = ENVELOPES[name]
    unreadable = made.reads == "nothing" or (made.reads == "null" and data.get("object") != "chat.completion")
    why = "unreadable" if unreadable else "text" if made.reads != "whole" and judged else None
    return Wire(content=made.make(data), content_type=made.content_type, spoiled=spoiled or why)
