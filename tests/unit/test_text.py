"""Measures of a text, on texts of several languages."""

import pytest

from workers.text import addition, clean, language, likeness, pieces, repetitiveness, scripts, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't panic: it's 42!", ["don't", "panic", "it's", "42"]),
        ("  \n--- ***", []),
        ("Ärger über Öl", ["ärger", "über", "öl"]),
        ("a_b", ["a", "b"]),
        # Chinese and Japanese write no spaces: two characters count as one word.
        ("请解释光合作用", ["请解", "释光", "合作", "用"]),
        ("用Python写代码", ["用", "python", "写代", "码"]),
    ],
)
def test_words(text: str, found: list[str]):
    assert words(text) == found


def test_pieces_keep_unspaced_runs_whole():
    assert pieces("用Python写代码, please") == ["用", "python", "写代码", "please"]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("  a\x00b\x1b[31mc \n", "ab[31mc"),
        ("a\tb\nc", "a\tb\nc"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("👩‍🍳 und Ärger", "👩‍🍳 und Ärger"),
        ("\r\n", ""),
    ],
)
def test_clean_keeps_only_what_a_database_and_a_terminal_can_take(raw: str, kept: str):
    assert clean(raw) == kept


@pytest.mark.parametrize(
    ("made", "given", "added"),
    [
        ("Make tea. Use a pot.", "Make tea.", "Use a pot."),
        ("make tea: use a pot", "Make tea.", "use a pot"),
        ("Make tea.", "Make tea.", ""),
        ("Make some strong tea.", "Make tea.", "some strong"),
        ("In the style of a pirate, make tea.", "Make tea.", "In the style of a pirate"),
        ("Make tea. Make tea.", "Make tea.", "Make tea."),
        ("Brew coffee.", "Make tea.", "Brew coffee."),
        ('Check it. Here is JSON: {"Mia": [40]}.', "Check it.", 'Here is JSON: {"Mia": [40]}.'),
        ("解释面包。举一个例子。", "解释面包。", "举一个例子。"),
        ("", "Make tea.", ""),
        ("Make tea.", "", "Make tea."),
    ],
)
def test_an_addition_is_what_stands_between_the_shared_beginning_and_end(made: str, given: str, added: str):
    assert addition(made, given) == added


def test_likeness_leaves_case_and_punctuation_aside():
    assert likeness("Make tea!", "(make tea)") == 1.0
    assert likeness("abcd", "wxyz") == 0.0
    # 2 * (letters in common order) / (letters of both): 2 * 3 / 8.
    assert likeness("abcd", "abcx") == pytest.approx(0.75)


def test_scripts_are_shares_of_the_letters():
    assert scripts("abc де 12 ?!") == {"LATIN": pytest.approx(0.6), "CYRILLIC": pytest.approx(0.4)}
    assert list(scripts("日本のまつりをえらぶ")) == ["CJK"]
    assert scripts("12 + 30 = ?") == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Explain what the yeast does to the dough and how long it takes.", "en"),
        ("Erkläre, wie die Hefe mit dem Teig und der Wärme arbeitet.", "de"),
        ("Explique le rôle du levain dans la pâte et pour qui il est utile.", "fr"),
        ("Explica cómo se hace el pan con una receta para los niños.", "es"),
        ("Spiega il ruolo della farina nel pane e per chi sono i consigli.", "it"),
        ("Explique como são os fornos e por que não se usa uma receita com mais sal.", "pt"),
        ("Name three rivers.", None),
        # A German sentence quoted in an English one leaves the question open.
        ("Translate the words: die Katze und der Hund, and explain what is odd.", None),
        ("", None),
    ],
)
def test_language_is_named_only_when_its_function_words_prevail(text: str, name: str | None):
    assert language(text) == name


def test_a_word_said_thrice_is_no_language():
    assert language("Co to jest? To jest to.") is None


def test_repetitiveness_is_the_share_of_runs_that_came_before():
    assert repetitiveness("one two three four five six") == 0.0
    # Runs of three in "a b c a b c": abc bca cab abc, one of four is a repeat.
    assert repetitiveness("a b c a b c") == pytest.approx(0.25)
    assert repetitiveness("go go go go go go go go") == pytest.approx(5 / 6)
    assert repetitiveness("go go go") == 0.0
