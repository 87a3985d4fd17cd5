"""Self-Instruct's rules: what is refused of instructions and of instances, each by its own name."""

import pytest

from workers.contracts import Instance, Reason
from workers.generation.cleaning import cleaned, good
from workers.generation.heuristics import fault, length
from workers.generation.settings import UNDOABLE, UNDOABLE_ALPACA, GenerationSettings

PLAIN = GenerationSettings()
ANY_START = GenerationSettings(ascii_start=False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Name three trees that lose their leaves.", None),
        ("What is 2 + 2?", None),
        ("", Reason.EMPTY),
        ("   ", Reason.EMPTY),
        ("Name three trees.", Reason.TOO_SHORT),
        ("Name four tall trees.", None),
        (" ".join(["tree"] * 150), None),
        (" ".join(["tree"] * 151), Reason.TOO_LONG),
        ("Name " + "a" * 9000 + " and two more", Reason.TOO_LONG),
        ("Draw a house with two windows.", Reason.UNDOABLE),
        ("Say what you see in the IMAGES below.", Reason.UNDOABLE),
        ("Go to the shop and buy bread.", Reason.UNDOABLE),
        ("Make up a plot for a novel.", Reason.UNDOABLE),
        ("Imagine a drawing room in Paris.", None),
        ("Explain how profiles are mapped.", None),
        ("Write a program that sorts numbers.", Reason.PROGRAM),
        ("write a Program that sorts numbers.", Reason.PROGRAM),
        ("Write a programme for a village fair.", Reason.PROGRAM),
        ("Write a function that sorts numbers.", None),
        ("- Name four tall trees.", Reason.ODD_START),
        ('"Hello" in four languages, please.', Reason.ODD_START),
        ("Élodie wants to learn to swim.", Reason.ODD_START),
        ("给出五种节约用水的方法并说明理由。", Reason.ODD_START),
    ],
)
def test_each_rule_has_its_own_name(text: str, reason: Reason | None):
    assert fault(text, PLAIN) is reason


@pytest.mark.parametrize(
    "text",
    [
        "Élodie wants to learn to swim.",
        "给出五种节约用水的方法并说明理由。",
        "¿Cómo se prepara un buen gazpacho?",
        "「桜」について短い詩を書いてください。",
        "Объясни, как растёт хлеб на поле.",
    ],
)
def test_instructions_in_other_languages_pass_where_they_are_wanted(text: str):
    assert fault(text, ANY_START) is None


@pytest.mark.parametrize("text", ["…and then name four trees.", "• Name four tall trees.", "→ name four tall trees"])
def test_marks_are_no_beginning_in_any_language(text: str):
    assert fault(text, ANY_START) is Reason.ODD_START


def test_words_are_what_stands_between_spaces_or_two_characters_without_any():
    assert length("state-of-the-art don't, 3 x") == 4
    assert length("节约用水") == 2
    assert fault("节约用水", ANY_START) is Reason.TOO_SHORT


def test_the_lists_of_both_variants_and_ones_own():
    assert set(UNDOABLE) < set(UNDOABLE_ALPACA)
    music = "Explain why this music sounds sad."
    assert fault(music, PLAIN) is None
    assert fault(music, GenerationSettings(variant="alpaca")) is Reason.UNDOABLE
    own = GenerationSettings(undoable=("poem", "图片"), ascii_start=False)
    assert fault("Write a poem about the sea.", own) is Reason.UNDOABLE
    assert fault("Draw a house with two windows.", own) is None
    assert fault("请描述这张图片里的人物和风景。", own) is Reason.UNDOABLE


def test_a_list_ends_where_the_published_ones_do():
    assert PLAIN.last(8) == 15
    assert GenerationSettings(variant="alpaca").last(3) == 19
    assert GenerationSettings(ends_before=31).last(8) == 30
    assert PLAIN.last(40) == 41


# -- instances


def reasons(*pairs: tuple[str, str], most: int = 5, cut: bool = False) -> list[Reason | None]:
    found = cleaned([Instance(input=given, output=made) for given, made in pairs], most=most, cut=cut)
    assert [(one.input, one.output) for one in found] == list(pairs)
    return [one.rejected for one in found]


@pytest.mark.parametrize(
    ("given", "made", "reason"),
    [
        ("5", "five", None),
        ("", "five", None),
        ("five", "five", Reason.SAME_AS_INPUT),
        ("five", " ", Reason.EMPTY),
        ("", "", Reason.EMPTY),
        ("5", "(none)", Reason.EMPTY),
        ("5", "None", None),
        ("5", "The words are:", Reason.UNFINISHED),
        ("Sentence:", "five", Reason.UNFINISHED),
    ],
)
def test_one_instance_by_itself(given: str, made: str, reason: Reason | None):
    assert reasons((given, made)) == [reason]


def test_exact_repeats_are_taken_once():
    assert reasons(("a", "1"), ("a", "1"), ("b", "1")) == [None, Reason.REPEATED_INSTANCE, None]


def test_one_input_with_two_outputs_spoils_all_of_the_task():
    assert reasons(("a", "1"), ("b", "2"), ("", ""), ("a", "3")) == [
        Reason.CONTRADICTORY,
        Reason.CONTRADICTORY,
        Reason.EMPTY,
        Reason.CONTRADICTORY,
    ]


def test_without_an_input_several_outputs_are_no_contradiction():
    assert reasons(("", "1"), ("", "2")) == [None, None]


def test_what_was_dropped_anyway_contradicts_nothing():
    assert reasons(("a", "1"), ("a", "a"), ("a", "2"), cut=True) == [None, Reason.SAME_AS_INPUT, Reason.CUT_OFF]


def test_at_most_so_many_are_kept_and_the_others_stay_on_record():
    assert reasons(("a", "1"), ("b", ""), ("c", "3"), ("d", "4"), most=2) == [
        None,
        Reason.EMPTY,
        None,
        Reason.NOT_SAMPLED,
    ]


def test_good_means_at_least_one():
    assert not good(())
    assert not good((Instance(output="x", rejected=Reason.CUT_OFF),))
    assert good((Instance(output="x", rejected=Reason.CUT_OFF), Instance(output="y")))
