"""The content key holds all that changes the answer and nothing else."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.config import Style
from workers.llm.keys import content_key
from workers.llm.request import Message, Request, Schema

CHAT = Request(
    endpoint="default",
    model="m",
    style=Style.CHAT,
    messages=(Message(role="system", content="Judge."), Message(role="user", content="Größe: 3 😀")),
    temperature=0.7,
    top_p=0.9,
    max_tokens=64,
    presence_penalty=0.5,
    frequency_penalty=0.25,
    stop=("\n",),
    schema=Schema(name="scores", schema={"type": "object", "required": ["a", "b"]}),
    json_mode="schema",
    logprobs=5,
    seed=7,
    sample=0,
)
COMPLETION = replace(CHAT, style=Style.COMPLETION, messages=(), prompt="Score: ", schema=None)


def test_keys_are_what_they_were():
    """They are in databases: a change here makes every answer that was paid for unknown."""
    assert content_key(CHAT) == "fbd1b04d34d51d22a4a0669fb74f8b25b33773465d9b1831bd743de40a578aca"
    assert content_key(COMPLETION) == "cacffab1a94bb2b23b385e98d0ef52262cfd77f7d5c9e8dba3a9198b3a2aa1fa"


def test_how_and_for_whom_is_asked_does_not_matter():
    assert content_key(replace(CHAT, endpoint="other", timeout_s=1.0)) == content_key(CHAT)


def test_neither_does_the_order_of_a_schemas_keys_nor_what_cannot_be_sent():
    turned = Schema(name="scores", schema={"required": ["a", "b"], "type": "object"})
    assert content_key(replace(CHAT, schema=turned)) == content_key(CHAT)
    assert content_key(replace(COMPLETION, prompt="Score: \x00\ud800")) == content_key(COMPLETION)
    unsent = replace(CHAT, json_mode="text")
    assert content_key(unsent) == content_key(replace(unsent, schema=None))


_WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
_SCHEMA = st.dictionaries(_WORDS, _WORDS | st.integers(), max_size=3)
_CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "model": _WORDS,
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0.01, 1),
    "max_tokens": st.integers(1, 4096),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "stop": st.lists(_WORDS, max_size=3).map(tuple),
    "logprobs": st.integers(0, 20),
    "seed": st.none() | st.integers(0, 2**31),
    "sample": st.integers(0, 100),
    "extra": st.dictionaries(st.sampled_from(["dry_multiplier", "min_p"]), st.floats(0, 2) | st.booleans()),
}
_CHAT_CHANGES = {
    **_CHANGES,
    "messages": st.lists(st.builds(Message, role=st.sampled_from(["system", "user"]), content=_WORDS), max_size=3).map(
        tuple
    ),
    "schema": st.none() | st.builds(Schema, name=_WORDS, schema=_SCHEMA),
    "json_mode": st.sampled_from(["schema", "object", "text"]),
}


@given(st.data())
def test_any_changed_field_changes_the_key(data: st.DataObject):
    base, changes = data.draw(
        st.sampled_from([(CHAT, _CHAT_CHANGES), (COMPLETION, {**_CHANGES, "prompt": _WORDS})]), label="style"
    )
    name = data.draw(st.sampled_from(sorted(changes)), label="field")
    changed = replace(base, **{name: data.draw(changes[name])})
    assert (content_key(changed) == content_key(base)) == (changed == base)


def test_fields_do_not_run_into_each_other():
    one = replace(CHAT, messages=(Message(role="user", content="a"), Message(role="user", content="b")))
    other = replace(CHAT, messages=(Message(role="user", content="ab"),))
    assert content_key(one) != content_key(other)
    assert content_key(CHAT) != content_key(replace(CHAT, style=Style.COMPLETION))
