"""What is sent, and what is made of answers of every shape."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.config import Style
from workers.llm.outcome import outcome_of
from workers.llm.request import Message, Request, Response, Schema
from workers.llm.wire import body, first_alternatives, read_response

CHAT = Request(endpoint="default", model="m", style=Style.CHAT, messages=(Message(role="user", content="hello there"),))
COMPLETION = Request(endpoint="default", model="m", style=Style.COMPLETION, prompt="Score: ", max_tokens=1, logprobs=3)
# Taken from llama.cpp's server (xllamacpp 2026.10, Gemma 3 270M), shortened by two alternatives.
LLAMA = {
    "choices": [
        {
            "text": "1",
            "index": 0,
            "logprobs": {
                "content": [
                    {
                        "id": 236770,
                        "token": "1",
                        "bytes": [49],
                        "logprob": -1.0452076196670532,
                        "top_logprobs": [
                            {"id": 236770, "token": "1", "bytes": [49], "logprob": -1.0452076196670532},
                            {"id": 236771, "token": "0", "bytes": [48], "logprob": -1.904819130897522},
                            {"id": 236778, "token": "2", "bytes": [50], "logprob": -2.125261068344116},
                        ],
                    }
                ]
            },
            "finish_reason": "length",
        }
    ],
    "created": 1795235609,
    "model": "/models/gemma.gguf",
    "object": "text_completion",
    "usage": {"completion_tokens": 1, "prompt_tokens": 4, "total_tokens": 5},
}


def read(data: Any, request: Request = CHAT) -> Response:
    return read_response(json.dumps(data).encode(), request, latency_s=0.5)


def answer(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def test_neutral_options_are_not_sent():
    assert body(CHAT) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello there"}],
        "temperature": 0.0,
        "max_tokens": 512,
    }
    assert body(COMPLETION)["logprobs"] == 3


def test_options_of_one_kind_of_server_are_sent_but_cannot_change_the_question():
    extra: dict[str, float | int | str | bool] = {
        "dry_multiplier": 0.8,
        "model": "other",
        "temperature": 2,
        "stream": True,
        "n": 3,
    }
    assert body(replace(CHAT, extra=extra)) == {**body(CHAT), "dry_multiplier": 0.8}


def test_a_schema_is_sent_as_the_endpoint_understands_it():
    schema = Schema(name="scores", schema={"type": "object"})
    sent = {mode: body(replace(CHAT, schema=schema, json_mode=mode)) for mode in ("schema", "object", "text")}
    assert sent["schema"]["response_format"]["json_schema"]["name"] == "scores"
    assert sent["object"]["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent["text"]


def test_llama_cpps_completion_is_read():
    found = read(LLAMA, COMPLETION)
    assert (found.text, found.finish_reason, found.model) == ("1", "length", "/models/gemma.gguf")
    assert (found.tokens_in, found.tokens_out) == (4, 1)
    assert found.top_logprobs == {"1": -1.0452076196670532, "0": -1.904819130897522, "2": -2.125261068344116}


def test_the_classic_shape_is_read():
    logprobs = {"tokens": [" 4"], "token_logprobs": [-0.3], "top_logprobs": [{" 4": -0.3, " 5": -1.5}, {"x": -0.1}]}
    assert first_alternatives(logprobs) == {" 4": -0.3, " 5": -1.5}


def test_tokens_that_read_the_same_are_added_up_and_nonsense_is_dropped():
    items: list[Any] = [
        {"token": "4", "logprob": math.log(0.25)},
        {"token": "4", "logprob": math.log(0.5)},
        {"token": "5", "logprob": float("-inf")},
        {"token": "6", "logprob": 10**400},
        {"token": 7, "logprob": -1.0},
        {"token": "8", "logprob": "-1"},
        {"token": "9", "logprob": 5.0},
        "nonsense",
    ]
    found = first_alternatives({"content": [{"top_logprobs": items}]})
    assert found is not None and list(found) == ["4"]
    assert found["4"] == pytest.approx(math.log(0.75))


@pytest.mark.parametrize("logprobs", [None, [], 3, {}, {"top_logprobs": [None]}, {"content": []}, {"content": [{}]}])
def test_no_alternatives_are_none(logprobs: Any):
    assert first_alternatives(logprobs) is None


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        {"prompt_tokens": -5, "completion_tokens": True},
        {"prompt_tokens": 1e3, "completion_tokens": 10**30},
    ],
)
def test_usage_that_cannot_be_true_is_estimated(usage: Any):
    found = read({**answer(content="12345678"), "usage": usage})
    assert (found.tokens_in, found.tokens_out) == (3, 2)


def test_zero_is_a_number_of_tokens():
    found = read({**answer(content=""), "usage": {"prompt_tokens": 0, "completion_tokens": 0}})
    assert found.tokens_out == 0
    assert found.tokens_in > 0  # a question of none is not


def test_what_postgres_cannot_store_is_taken_out():
    assert read(answer(content="a\x00b\ud800c")).text == "abc"


def test_thoughts_are_no_answer():
    assert read(answer(content="<think>Hm.</think>\n\nYes.")).text == "Yes."
    assert read(answer(content="<think>Hm, I wonder")).text == ""
    assert read(answer(content="The tag <think> opens </think>.")).text.startswith("The tag")


def test_a_marked_refusal_is_one():
    found = read(answer(content=None, refusal="I will not."))
    assert (found.text, found.refusal) == ("I will not.", True)
    assert outcome_of(CHAT, found) == "refused"


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("A poem.", "stop", "ok"),
        ("A poem", "length", "cut"),
        ("", "length", "cut"),
        (" \n", "stop", "empty"),
        ("A poem.", "content_filter", "filtered"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ("A poem.", "", "ok"),
    ],
)
def test_outcomes(text: str, finish: str, outcome: str):
    found = read({"choices": [{"message": {"content": text}, "finish_reason": finish}]})
    assert outcome_of(CHAT, found) == outcome


def test_one_scored_token_is_never_cut_off():
    assert outcome_of(COMPLETION, read(LLAMA, COMPLETION)) == "ok"
    assert outcome_of(replace(COMPLETION, logprobs=0), read(LLAMA, COMPLETION)) == "cut"


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"choices": []},
        {"choices": [3]},
        {"choices": [{}]},
        {"choices": [{"message": {"content": 3}}]},
        "x",
        None,
    ],
)
def test_what_holds_no_answer_is_said_to_hold_none(data: Any):
    with pytest.raises(ValueError, match=r".+"):
        read(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "text", "logprobs", "top_logprobs", "usage", "prompt_tokens"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    _JSON | st.fixed_dictionaries({"choices": st.lists(_JSON, min_size=1, max_size=2), "usage": _JSON, "model": _JSON})
)
def test_reading_raises_value_errors_at_most(data: Any):
    for request in (replace(CHAT, logprobs=2), COMPLETION):
        try:
            found = read(data, request)
        except ValueError:
            continue
        assert found.tokens_in >= 0 and found.tokens_out >= 0
        json.dumps([found.text, found.finish_reason, found.top_logprobs], allow_nan=False).encode()


def test_bytes_that_are_no_json():
    for content in (b"", b"\xff\xfe", b"{", b"[" * 100_000, b"9" * 5000):
        with pytest.raises(ValueError, match=r".*"):
            read_response(content, CHAT, latency_s=0)
