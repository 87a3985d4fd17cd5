"""The tag vocabulary: one tag for one intent, however it is spelt, and two for two."""

import pytest

from orchestrator.tags import Vocabulary, key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Recipes", "recipe"),
        ("short stories", "short story"),
        ("data analysis", "analysis of data"),
        ("step-by-step", "step by step"),
        ("summarisation", "summarization"),
        ("colour", "color"),
        ("text classes", "text class"),
        ("mathematics", "mathmatics"),
        ("creative writing", "creative writting"),
        ("JSON format", "json  format."),
    ],
)
def test_spellings_of_one_intent_are_one_tag(one: str, other: str):
    vocabulary = Vocabulary([one])
    assert vocabulary.canonical(other) == one.lower()
    assert len(vocabulary) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("microeconomics", "macroeconomics"),
        ("inductive reasoning", "deductive reasoning"),
        ("formal tone", "informal tone"),
        ("sql", "nosql"),
        ("c++", "c#"),
        ("python 2", "python 3"),
        ("python2programming", "python3programming"),
        ("absorption", "adsorption"),
        ("poetry", "pottery"),
        ("reasoning", "logic"),
        ("physics", "physic"),
        ("analysis", "analyst"),
        ("travel", "travel planning"),
        ("面包", "发酵"),
    ],
)
def test_two_intents_stay_two(one: str, other: str):
    assert Vocabulary([one]).canonical(other) == other


def test_a_tag_with_no_word_in_it_is_none():
    vocabulary = Vocabulary()
    assert vocabulary.distinct(["...", "", "-", "tea", "Teas", "the"]) == ("tea", "teas", "the")
    assert key("...") == ""


def test_the_number_of_intents_of_a_text_does_not_depend_on_spelling():
    vocabulary = Vocabulary(["data analysis", "recipe"])
    assert vocabulary.distinct(["Recipes", "analysis of data", "recipe", "essay"]) == (
        "recipe",
        "data analysis",
        "essay",
    )


def test_a_vocabulary_can_be_made_again_of_its_tags():
    given = ["Recipes", "recipe", "mathematics", "mathmatics", "essay"]
    first = Vocabulary(given)
    assert first.tags == ("recipes", "mathematics", "essay")
    again = Vocabulary(first.tags)
    assert [again.canonical(tag) for tag in given] == [first.canonical(tag) for tag in given]
