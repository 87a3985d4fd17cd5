"""Guards and measures never raise, and never let the plainest faults through, whatever the text."""

from hypothesis import given
from hypothesis import strategies as st

from workers import text as measure
from workers.config import Guards
from workers.contracts import Reason
from workers.guards import Setting, check, looks_like_instruction
from workers.prompting import demonstrations, quoted
from workers.text import clean
from workers.topic import similarity

LIMITS = Guards()
# Lone surrogates too: a model's answer is checked as it came.
ANY = st.text(st.characters(), max_size=300)
WORDS = st.sampled_from(
    [
        "Explain",
        "bread",
        "the",
        "der",
        "和",
        "面包",
        "まつり",
        "Sure!",
        "Here is",
        "```",
        "<<<",
        "?",
        "Task:",
        "\n",
        "  x",
        "1.",
    ]
)
SPOKEN = st.lists(WORDS, max_size=40).map(" ".join)
TEXTS = ANY | SPOKEN
SHOWN = tuple((demo["before"], demo["after"]) for demo in demonstrations("evolve")["add-goal"])


def setting(parent: str, anew: bool) -> Setting:
    return Setting(
        parent=parent, anchor=parent, starts_anew=anew, shown=SHOWN, topic=lambda a, b: similarity("lexical", a, b)
    )


@given(TEXTS, TEXTS, st.booleans())
def test_checking_never_raises_and_names_a_reason_or_none(text: str, parent: str, anew: bool) -> None:
    found = check(text, setting(parent, anew), LIMITS)
    assert found is None or found in Reason
    assert looks_like_instruction(text) in (True, False)


@given(TEXTS, st.booleans())
def test_a_text_is_never_its_own_evolution(text: str, anew: bool) -> None:
    assert check(text, setting(text, anew), LIMITS) is not None


@given(TEXTS, TEXTS)
def test_what_passes_is_within_the_limits(text: str, parent: str) -> None:
    if check(text, setting(parent, False), LIMITS) is None:
        assert LIMITS.min_words <= len(measure.words(text)) <= LIMITS.max_words
        assert measure.repetitiveness(text) <= LIMITS.repetitive


@given(TEXTS, TEXTS)
def test_measures_stay_on_their_scales(a: str, b: str) -> None:
    assert 0 <= measure.likeness(a, b) <= 1
    assert measure.likeness(a, a) == 1 or not measure.words(a)
    assert 0 <= measure.repetitiveness(a) <= 1
    assert -0.001 <= similarity("lexical", a, b) <= 1.001
    assert sum(measure.scripts(a).values()) in (0, 1) or abs(sum(measure.scripts(a).values()) - 1) < 1e-9
    assert measure.addition(a, b) in a


@given(TEXTS)
def test_cleaning_is_complete_and_done_once(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert "\x00" not in cleaned
    cleaned.encode()


@given(SPOKEN | st.text("<> a", max_size=30))
def test_no_text_ends_its_quotation(text: str) -> None:
    assert "<<<" not in quoted(text)
    assert ">>>" not in quoted(text)
