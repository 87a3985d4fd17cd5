"""Likeness in topic, without an embedding model and with the local one."""

import sys

import numpy as np
import pytest

from db.errors import ServiceError
from workers import topic
from workers.topic import lexical, similarity

BREAD = "Explain how bread dough rises in a warm kitchen."


def test_a_text_is_like_itself_and_unlike_an_unrelated_one():
    assert similarity("lexical", BREAD, BREAD) == pytest.approx(1.0)
    assert similarity("lexical", BREAD, "List the moons of Jupiter.") == pytest.approx(0.0, abs=0.05)
    assert similarity("lexical", BREAD, "Why does my bread dough not rise?") > 0.3


def test_forms_of_a_word_are_alike():
    assert similarity("lexical", "baker", "bakery") > 0.8


def test_chinese_and_japanese_have_topics_too():
    assert similarity("lexical", "请解释面包为什么会发酵。", "用家庭厨房的例子说明面包发酵。") > 0.15
    assert similarity("lexical", "请解释面包为什么会发酵。", "列出木星的卫星。") == pytest.approx(0.0, abs=0.05)


def test_where_there_is_nothing_to_compare_no_topic_is_left():
    assert similarity("lexical", "Who am I?", "Explain bread.") == 1.0
    assert similarity("lexical", "", BREAD) == 1.0


def test_vectors_have_length_one_or_none():
    assert float(np.linalg.norm(lexical(BREAD))) == pytest.approx(1.0)
    assert not lexical("a be 12 ?!").any()


def test_an_embedder_that_is_not_installed_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wordllama", None)
    topic._wordllama.cache_clear()
    with pytest.raises(ServiceError, match=r"instructree\[local\]"):
        similarity("wordllama", "a", "b")


def test_the_local_embedder_knows_synonyms():
    pytest.importorskip("wordllama", reason="the embedder comes with the extra `local`")
    topic._wordllama.cache_clear()
    near = similarity("wordllama", "Repair a flat bicycle tyre.", "Fix the punctured wheel of a bike.")
    far = similarity("wordllama", "Repair a flat bicycle tyre.", "Write a sonnet about tulips.")
    assert near > 0.3 > far
