"""Reading what a judge meant to write."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm.jsonish import LONGEST, Malformed, _tolerant, read_json

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_OBJECT = st.dictionaries(_TEXT, _VALUE, max_size=5)
_PIECES = st.lists(st.sampled_from([*"{}[]\",':\\ \n“”‘’u", '{"a":', "1", "true", "\\u", "\\ud800", "```json", "e9"]))
SCORES = {"scores": [{"id": "A", "quality": 4}, {"id": "B", "quality": 2}]}


@given(_OBJECT)
def test_real_json_is_read_as_it_is(value: dict[str, Any]):
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value, ensure_ascii=False, indent=2)) == value


@given(_OBJECT.filter(bool))
def test_the_tolerant_reader_agrees_with_the_strict_one(value: dict[str, Any]):
    assert _tolerant(json.dumps(value)) == value
    assert read_json(f"Here you are:\n```json\n{json.dumps(value, indent=1)}\n```\nAnything else?") == value


@given(st.text(max_size=300) | _PIECES.map("".join) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_nothing_else_is_ever_raised(text: str):
    with suppress(Malformed):
        assert isinstance(read_json(text), dict)


@given(_OBJECT.filter(bool), st.data())
def test_a_cut_text_gives_a_part_of_the_whole_or_nothing(value: dict[str, Any], data: st.DataObject):
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text)))]
    try:
        part = read_json(cut)
    except Malformed:
        return
    assert set(part) <= set(value)
    assert all(_within(part[key], value[key]) for key in part)


def _within(part: Any, whole: Any) -> bool:
    if isinstance(whole, dict):
        return isinstance(part, dict) and all(key in whole and _within(part[key], whole[key]) for key in part)
    if isinstance(whole, list):
        return isinstance(part, list) and all(_within(a, b) for a, b in zip(part, whole, strict=False))
    return bool(part == whole)


@pytest.mark.parametrize(
    "text",
    [
        '{"scores": [{"id": "A", "quality": 4,}, {"id": "B", "quality": 2},],}',
        "{'scores': [{'id': 'A', 'quality': 4}, {'id': 'B', 'quality': 2}]}",
        "{“scores”: [{“id”: “A”, “quality”: 4}, {“id”: “B”, “quality”: 2}]}",
        "{scores: [{id: A, quality: 4}, {id: B, quality: 2}]}",
        'Sure!\n```\n{"scores":\n [{"id": "A", "quality": 4}, {"id": "B", "quality": 2}]}\n```',
        'I think {} is best. {"scores": [{"id": "A", "quality": 4}, {"id": "B", "quality": 2}]} Done {x}.',
        '{"scores": [{"id": "A", "quality": 4}, {"id": "B", "quality": 2}',
        '{"scores": [{"id": "A", "quality": 4}, {"id": "B", "quality": 2}, {"id": "C',
    ],
)
def test_what_models_do_to_json(text: str):
    found = read_json(text)
    found["scores"] = [item for item in found["scores"] if item]
    assert found == SCORES


def test_apostrophes_and_quotes_inside_a_text_do_no_harm():
    assert read_json("{'tags': ['children's book', 'a \"good\" one']}") == {"tags": ["children's book", 'a "good" one']}
    assert read_json('{"why": "it is "hard" to say", "n": 1}') == {"why": 'it is "hard" to say', "n": 1}


def test_numbers_written_as_texts_stay_texts_and_a_cut_number_is_dropped():
    assert read_json('{"a": "4", "b": 4/6, "c": 5.5, "d": +3,}') == {"a": "4", "b": "4/6", "c": 5.5, "d": 3}
    assert read_json('{"a": 4, "b": 1') == {"a": 4}


def test_words_of_other_languages():
    assert read_json("{'a': True, 'b': None, 'c': False}") == {"a": True, "b": None, "c": False}


def test_what_postgres_cannot_store_is_left_out():
    assert read_json('{"a\\u0000": "x\\u0000y\\ud800z"}') == {"a": "xyz"}
    assert read_json("{'a': 'x\\ud83d\\ude00y\\ud83d', }") == {"a": "x😀y"}


@pytest.mark.parametrize("text", ["", "no", "[1, 2]", "3", '"{"', "{" * 5000, '{"a":' * 5000, "x" * (LONGEST + 1)])
def test_no_object_is_said_to_be_none(text: str):
    with pytest.raises(Malformed):
        read_json(text)


@pytest.mark.parametrize("piece", ['" ', "{'", '{"a":"', "[", "a ", "\\u", "{" + '"' + " " * 50])
def test_hostile_texts_take_no_time(piece: str):
    text = ("{" + piece * (LONGEST // len(piece)))[:LONGEST]
    begun = time.process_time()
    with suppress(Malformed):
        read_json(text)
    assert time.process_time() - begun < 2
