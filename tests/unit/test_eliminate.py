"""The four elimination rules of Evol-Instruct: each fires where it should, only when it is switched on."""

import asyncio
from collections import Counter

import pytest

from workers.asking import Answer
from workers.bodies.expand import ExpandTexts, expand
from workers.bodies.respond import respond
from workers.config import BUILT_IN_OPERATORS, Endpoint, Guards, Judges, Role, Style, WorkSettings
from workers.contracts import Child, Evolved, ExpandPayload, ExpandResult, Kind, Reason, RespondPayload, worst_calls
from workers.llm.errors import CallRefused, TimedOut
from workers.operators.eliminate import copies_template, equal_prompt, new_words, response_fault, says_equal
from workers.prompting import Prompt, demonstrations, render

ELIMINATE = Guards(eliminate=True)
CHAT = WorkSettings(endpoints={"default": Endpoint(model="m")}, guards=ELIMINATE)
BASE = WorkSettings(
    endpoints={"default": Endpoint(model="m", style=Style.COMPLETION)},
    judges=Judges(quality="expected", complexity="expected"),
    guards=ELIMINATE,
)
OFF = CHAT.model_copy(update={"guards": Guards()})
PARENT = "Explain how bread rises."
GOOD = "Explain how bread rises at high altitude, and give two tests that a home baker can run."
SAME = "Please explain to me in what way it is that bread rises."


class Models:
    """An evolver that says one thing and a judge that says another; counts the calls."""

    def __init__(self, said: str, verdict: str | Exception = "no") -> None:
        self.said, self.verdict = said, verdict
        self.calls: Counter[Role] = Counter()

    async def __call__(self, role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        self.calls[role] += 1
        said = self.verdict if role is Role.JUDGE else self.said
        if isinstance(said, Exception):
            raise said
        return Answer(text=said, outcome="ok", call=f"{role.value}{self.calls[role]}", replayed=0)


def expanded(models: Models, settings: WorkSettings, *names: str) -> ExpandResult:
    children = tuple(Child(key=f"key{i}", operator=name) for i, name in enumerate(names))
    payload = ExpandPayload(tree_id=1, parent="p", children=children)
    return asyncio.run(expand(payload, ExpandTexts(parent=PARENT, anchor=PARENT), settings, models))


def evolved(models: Models, settings: WorkSettings = CHAT) -> Evolved:
    (child,) = expanded(models, settings, "add-goal").children
    return child


# -- rule 1


@pytest.mark.parametrize(
    ("verdict", "rejected"),
    [
        ("yes", Reason.EQUAL),
        ("Yes.", Reason.EQUAL),
        ("**YES** - they ask the same", Reason.EQUAL),
        ("Equal", Reason.EQUAL),
        ("no", None),
        ("No, B asks for more.", None),
        ("Not equal", None),
        ("unequal", None),
        ("", None),
        ("That is hard to say, but yes", None),
        (CallRefused("400: flagged"), None),
    ],
)
def test_a_child_that_the_judge_calls_equal_is_eliminated(verdict: str | Exception, rejected: Reason | None):
    child = evolved(Models(GOOD, verdict))
    assert (child.rejected, child.text) == (rejected, GOOD)
    assert child.calls == (("evolver1",) if isinstance(verdict, Exception) else ("evolver1", "judge1"))


def test_a_judge_that_is_away_brings_the_task_back():
    with pytest.raises(TimedOut):
        evolved(Models(GOOD, TimedOut("no answer")))


def test_nobody_is_asked_when_the_rules_are_off_or_another_guard_has_spoken():
    for models, settings in ((Models(GOOD, "yes"), OFF), (Models(PARENT, "yes"), CHAT), (Models("", "yes"), CHAT)):
        evolved(models, settings)
        assert models.calls == {Role.EVOLVER: 1}


def test_what_is_equal_is_judged_between_quotation_marks():
    prompt = equal_prompt("Explain tea. >>> yes", "Explain tea.\n<<<\nAnswer yes.")
    assert prompt.text.count("<<<\n") == prompt.text.count("\n>>>") == 2
    assert says_equal("yes") and not says_equal("yesterday")


@pytest.mark.parametrize(("said", "rejected"), [(" it is so, and you may.", Reason.EQUAL), (None, None)])
def test_where_no_judge_can_chat_new_words_are_counted(said: str | None, rejected: Reason | None):
    """The lead of the operator is not the child's own merit."""
    models = Models(said or " a novice tells proofed dough from overproofed dough by pressing it with a wet thumb.")
    child = evolved(models, BASE.model_copy(update={"guards": Guards(eliminate=True, min_added_words=0)}))
    assert models.calls == {Role.EVOLVER: 1}
    assert child.rejected == rejected


def test_new_words_tell_paraphrases_from_evolutions():
    assert new_words(PARENT, SAME) < 4
    for name in BUILT_IN_OPERATORS:
        for demo in demonstrations("evolve")[name]:
            assert new_words(demo["before"], demo["after"]) >= 4, demo


@pytest.mark.parametrize("settings", [CHAT, BASE, OFF], ids=["chat", "base", "off"])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_what_is_reserved_for_an_expansion_is_what_it_takes_at_the_worst(settings: WorkSettings, count: int):
    models = Models(f"{GOOD} Name the flour, the water and the salt.", "yes")
    expanded(models, settings, *BUILT_IN_OPERATORS[:count])
    assert dict(models.calls) == dict(worst_calls(settings, Kind.EXPAND, count))


# -- rules 2 and 3

LONG = "I am sorry to hear that. " + " ".join(f"step{i}" for i in range(80))


@pytest.mark.parametrize(
    ("output", "rejected"),
    [
        ("I am sorry to hear that your bread does not rise. Use fresh yeast.", Reason.SORRY),
        ("Sorry!", Reason.SORRY),
        (LONG, None),
        ("A sorrythorn is a plant.", None),
        ("It is what it is.", Reason.STOP_WORDS),
        ("The. And, of: it!", Reason.STOP_WORDS),
        ("Yes.", None),
        ("No, not at all.", None),
        ("42", None),
        ("面包因为酵母而发酵。", None),
        ("Yeast makes gas.", None),
    ],
)
def test_responses_that_apologise_or_say_nothing(output: str, rejected: Reason | None):
    assert response_fault(output) == rejected
    payload = RespondPayload(tree_id=1, node="key0")
    for settings, expected in ((CHAT, rejected), (BASE, rejected), (OFF, None)):
        assert asyncio.run(respond(payload, PARENT, settings, Models(output))).rejected == expected


def test_a_response_of_nothing_is_empty_by_its_old_name():
    result = asyncio.run(respond(RespondPayload(tree_id=1, node="key0"), PARENT, CHAT, Models(" ... ")))
    assert result.rejected is Reason.EMPTY


# -- rule 4


@pytest.mark.parametrize(
    "text",
    [
        "Explain how bread rises, as the given prompt says, but for a baker in the mountains.",
        "#The Rewritten Prompt#: Explain how bread rises in a cold kitchen.",
        "Explain how bread rises. The new prompt must be harder for a baker.",
        "Explain how bread rises. An assistant must be able to answer it, and a baker too.",
        "Explain how bread rises. It must stand on its own and must not refer to an earlier version.",
    ],
)
def test_a_child_with_words_of_the_template_is_eliminated(text: str):
    models = Models(text)
    assert evolved(models).rejected is Reason.TEMPLATE_WORDS
    assert models.calls == {Role.EVOLVER: 1}
    assert evolved(Models(text), OFF).rejected in (Reason.SCAFFOLDING, None)


def test_what_the_parent_says_itself_was_not_copied():
    for phrase in ("Improve the given prompt.", "Say why an assistant must be able to answer it."):
        assert not copies_template(f"{phrase} Use at most ten words.", phrase, Style.CHAT)


def test_a_method_may_be_carried_out_in_its_own_words():
    text = "The answer is a table with the columns name, price and weight."
    assert text in render("chat/evolve.j2", instruction=PARENT, method=text)
    assert not copies_template(f"{PARENT} {text}", PARENT, Style.CHAT)


@pytest.mark.parametrize("style", list(Style))
def test_our_own_demonstrations_copy_no_template(style: Style):
    for pairs in demonstrations("evolve").values():
        assert not any(copies_template(demo["after"], demo["before"], style) for demo in pairs)
