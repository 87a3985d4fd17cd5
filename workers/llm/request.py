"""What is asked of a model, and what it answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workers.config import Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The JSON schema an answer must follow, with the name that the endpoint is told."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call. `messages` are for chat, `prompt` is for completion.

    `endpoint` and `timeout_s` (whole call, in seconds) say how to ask, all other fields what is asked. `sample` tells
    apart several answers wanted for one and the same question; it is not sent. `extra` are options that only this kind
    of server knows. `logprobs` asks for that many
    alternatives of each token.
    """

    endpoint: str
    model: str
    style: Style
    prompt: str = ""
    messages: tuple[Message, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    schema: Schema | None = None
    json_mode: Literal["schema", "object", "text"] = "text"
    logprobs: int = 0
    seed: int | None = None
    extra: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    sample: int = 0
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer. Token counts are the endpoint's, or an estimate where it gives none that can be true.

    `top_logprobs` are the alternatives for the first token by their text, None when not asked for or not given.
    `refusal` is set when the endpoint itself marked the answer as one.
    """

    text: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    top_logprobs: Mapping[str, float] | None
    latency_s: float
    model: str
    refusal: bool = False
