"""Each fault of evolution by a text as models write it, and good evolutions that no guard may refuse."""

import json
from importlib.resources import files

import pytest

from workers import guards, topic
from workers.config import Guards
from workers.contracts import Reason
from workers.guards import Setting, check, looks_like_instruction
from workers.prompting import demonstrations, operators

LIMITS = Guards()
Shown = tuple[tuple[str, str], ...]


def setting(parent: str, *, anchor: str | None = None, anew: bool = False, shown: Shown = ()) -> Setting:
    return Setting(
        parent=parent,
        anchor=anchor or parent,
        starts_anew=anew,
        shown=shown,
        topic=lambda a, b: topic.similarity("lexical", a, b),
    )


def fault(parent: str, text: str, *, anew: bool = False, shown: Shown = (), limits: Guards = LIMITS) -> Reason | None:
    return check(text, setting(parent, anew=anew, shown=shown), limits)


def demos(operator: str) -> Shown:
    return tuple((demo["before"], demo["after"]) for demo in demonstrations("evolve")[operator])


BREAD = "Explain how bread rises."
WATER = "Give me three ways to save water at home."
FAULTS = [
    (Reason.EMPTY, BREAD, ""),
    (Reason.EMPTY, BREAD, " \n… --- ***"),
    (Reason.TOO_SHORT, BREAD, "Explain bread."),
    (Reason.TOO_LONG, BREAD, f"{BREAD} Include {' '.join(f'topic{i}' for i in range(220))}."),
    (Reason.TOO_LONG, BREAD, f"{BREAD} Decode this: {'a' * 9000} and say why."),
    (
        Reason.REPETITIVE,
        BREAD,
        f"{BREAD} Use at most ten words and ten words and ten words and ten words and ten words.",
    ),
    (Reason.REPETITIVE, "请解释面包为什么会发酵。", "请解释面包为什么会发酵。" * 8),
    (Reason.REFUSAL, BREAD, "I'm sorry, but I can't help with rewriting that request about bread."),
    (Reason.REFUSAL, BREAD, "As an AI language model, I cannot rewrite this prompt about how bread rises."),
    (Reason.SCAFFOLDING, BREAD, "#The Rewritten Prompt#: Explain how bread rises at high altitude, with two tests."),
    (Reason.SCAFFOLDING, BREAD, "Explain how bread rises, as in the given prompt, but for a baker in the mountains."),
    (Reason.SCAFFOLDING, BREAD, "Sure! Here is the rewritten prompt: Explain how bread rises in a cold kitchen."),
    (Reason.SCAFFOLDING, BREAD, "Task: Explain how bread rises at high altitude and name two remedies."),
    (Reason.SCAFFOLDING, BREAD, "Explain how bread rises in the mountains.<|im_end|>"),
    (Reason.ANSWER, BREAD, "Sure! Explain how bread rises when the kitchen is cold and the yeast is old."),
    (Reason.ANSWER, BREAD, "Of course, bread rises because yeast makes gas in the dough."),
    (
        Reason.ANSWER,
        BREAD,
        "Bread rises because yeast eats the sugar in the dough and gives off gas that the gluten holds.",
    ),
    (Reason.ANSWER, BREAD, "The answer is that yeast makes gas, which lifts the dough as long as the gluten holds it."),
    (
        Reason.ANSWER,
        WATER,
        "Here are three ways to save water at home:\n1. Take shorter showers.\n2. Fix leaking taps.",
    ),
    (Reason.ANSWER, WATER, "Here's a list of ways to save water at home: shorter showers, full machines, no leaks."),
    (Reason.ANSWER, "Is it better to rent or to buy a flat?", "Yes, it is better to buy a flat than to rent one."),
    (Reason.ANSWER, "Is it better to rent or to buy a flat?", "It depends on the prices and on how long you stay."),
    (
        Reason.ANSWER,
        "Write a Python function that reverses a string.",
        "def reverse(string):\n    result = string[::-1]\n    return result",
    ),
    (Reason.ANSWER, BREAD, "I'd be happy to help! Bread rises because yeast makes gas in the dough."),
    (Reason.WRONG_LANGUAGE, BREAD, "Erkläre, wie das Brot aufgeht und wie die Hefe mit der Wärme im Ofen arbeitet."),
    (Reason.WRONG_LANGUAGE, BREAD, "请解释面包为什么会发酵，并说明温度和盐的影响。"),
    (
        Reason.WRONG_LANGUAGE,
        "请解释面包为什么会发酵。",
        "Explain why bread (面包) rises and what temperature does to it.",
    ),
    (
        Reason.WRONG_LANGUAGE,
        "Erkläre, wie das Brot aufgeht und was die Hefe mit der Wärme zu tun hat.",
        "Explain how the bread rises and what the yeast has to do with the warmth of your kitchen.",
    ),
    (Reason.UNCHANGED, BREAD, "Explain how bread rises!"),
    (Reason.UNCHANGED, BREAD, "explain how bread rises"),
    (Reason.UNCHANGED, "Describe the life of a medieval farmer.", "Describe the lives of a medieval farmer."),
    (Reason.OFF_TOPIC, BREAD, "List the moons of Jupiter with the year of their discovery and the discoverer."),
    (Reason.THIN, "Write a story about a lost key.", "Write a heartbreaking story about a lost key."),
    (Reason.THIN, BREAD, f"{BREAD} Include photographs."),
]


@pytest.mark.parametrize(("reason", "parent", "text"), FAULTS)
def test_each_fault_is_called_by_its_name(reason: Reason, parent: str, text: str):
    assert fault(parent, text) is reason


# What a good evolver makes: (parent, evolved). In the style of a chat model and with the parent as prefix.
GOOD = [
    # the parent, and more
    (BREAD, "Explain how bread rises. Use the concepts of yeast metabolism and gluten, and show what salt changes."),
    (WATER, "Give me three ways to save water at home. It must be possible to do each of them in a rented flat."),
    ("Is there anything science can't explain?", "Is there anything science can't explain? Return JSON with two keys."),
    (
        "How do I save water at home?",
        "How do I save water at home? Suppose that the meter runs at night: find the leak.",
    ),
    ("Find the cheapest product.", "Find the cheapest product. Use this table: item, price; lamp A, 30; lamp B, 34."),
    ("money help pls", "money help pls. The goal is that I can pay my rent this month and still buy winter shoes."),
    # put into a situation first
    (
        BREAD,
        "A baker who has just moved to 2,000 metres finds that her bread rises too fast. Explain why, step by step.",
    ),
    (BREAD, "You are a food chemist. In front of a class of ten-year-olds, explain how bread rises without formulas."),
    (BREAD, "In the style of a detective story, tell how bread rises and let the yeast be the main suspect."),
    (
        BREAD,
        "I am a night-shift baker and my bread hardly rises in winter. What should I change, and why does it help?",
    ),
    (BREAD, "I'm writing a column about bread. I need an explanation of how it rises that doesn't mention chemistry."),
    (BREAD, "Given a dough of 500 g flour and 10 g yeast, estimate how high the bread rises in two hours."),
    (
        WATER,
        "My family of five used 40 percent more water at home this month. Detect the likeliest leak in three ways.",
    ),
    (WATER, "As the caretaker of a house with twelve flats, you must save water at home; rank three ways by cost."),
    (
        "Write an email to refuse an invitation.",
        "Your oldest friend has sent an invitation to her wedding. Reply to the email and refuse it warmly.",
    ),
    ("Write a SQL query.", "Parse the question below into a SQL query: which customers ordered twice in May 2024?"),
    # rewritten from the first word
    ("Tell me about sharks.", "Reconcile what is known of how sharks hunt with their poor eyesight; cite two senses."),
    ("Why do leaves change colour?", "Trace, link by link, why the leaves of two maples change colour weeks apart."),
    (
        "Is it better to rent or to buy a flat?",
        "Weigh renting a flat against buying one if prices fall by two percent.",
    ),
    ("Name a good pet for a child.", "Which pet is good for a child with asthma, and what speaks most against it?"),
    (
        "Describe a good website.",
        "Could you describe a good website for blind readers, with three checks anybody can run",
    ),
    # material to work on
    (
        "Find the cheapest product.",
        "Here is a table of prices:\n\nitem | price | shipping\nlamp A | 30 | 9\n\nFind the cheapest product.",
    ),
    (
        "Explain an error message.",
        "Here's the log of last night:\n    print: key 'price' missing in line 41\nExplain the error message.",
    ),
    (
        "Write a Python function that reverses a string.",
        "Write a Python function that reverses a string. Start here:\n```python\ndef rev(s):\n    return s\n```",
    ),
    (
        "Translate a sentence into English.",
        "Translate this sentence into English: Der Hund und die Katze, sie sind auf dem Weg nach Haus.",
    ),
    # other languages
    (
        "Erkläre, wie Brot aufgeht.",
        "Erkläre, wie Brot aufgeht, und nenne drei Fehler, die Anfänger mit der Hefe machen.",
    ),
    ("Wie backt man Brot?", "Beschreibe Schritt für Schritt, wie man Brot im Topf backt, ohne einen Ofen zu benutzen."),
    ("Wie backt man Brot?", "Backe mit einer Schulklasse Brot: Verfasse einen Ablauf für drei Stunden und zwei Öfen."),
    (
        "Compare le train et la voiture.",
        "Dresse un tableau qui oppose le train et la voiture pour une famille avec un budget.",
    ),
    ("Jak upiec chleb w domu?", "Opisz krok po kroku, jak upiec chleb w domu, i podaj trzy typowe błędy, to ważne."),
    ("请解释面包为什么会发酵。", "请解释面包为什么会发酵，并用一个家庭厨房的例子说明温度的影响。"),
    ("如何在家节约用水？", "请列出三种在家节约用水的方法，并比较每种方法的成本和效果。"),
    ("用Python写一个函数。", '用Python写一个函数，输入JSON如下：{"name": "Mia", "grades": [40, 70, 55]}，返回平均分。'),
    (
        "日本の祭りを説明してください。",
        "日本の祭りをひとつえらび、はじめてみるこどもにわかるようにやさしく説明してください。",
    ),
    ("Объясни, почему поднимается хлеб.", "Объясни, почему поднимается хлеб, и назови три ошибки начинающих пекарей."),
]


@pytest.mark.parametrize(("parent", "text"), GOOD)
def test_good_evolutions_pass(parent: str, text: str):
    assert fault(parent, text) is None


@pytest.mark.parametrize("operator", sorted(operators()))
def test_our_own_demonstrations_are_good_evolutions_where_they_are_not_shown(operator: str):
    limits = Guards(topic=0.1, brand_new_topic=-1.0)
    anew = operator == guards.BRAND_NEW
    for before, after in demos(operator):
        assert fault(before, after, anew=anew, limits=limits) is None, after


def calibration_texts() -> list[str]:
    lines = files("workers.judges").joinpath("calibration.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["instruction"] for line in lines]


def test_all_but_a_few_instructions_of_the_calibration_set_look_like_instructions():
    """The rest are its deliberately bad ones ("dog stuff")."""
    unlike = [text for text in calibration_texts() if not looks_like_instruction(text)]
    assert len(unlike) <= 5, unlike


@pytest.mark.parametrize(
    "text",
    [
        "Bread rises because yeast makes gas.",
        "The Danube, the Rhine and the Elbe.",
        "x = 3, y = 2",
        "def larger(a, b):\n    return a if a >= b else b",
        "The clock in the hall had stopped on the day her brother left, and nobody dared to wind it.",
        "",
        "!",
    ],
)
def test_statements_do_not_look_like_instructions(text: str):
    assert not looks_like_instruction(text)


# -- demonstrations


def test_a_demonstration_given_back_is_a_copy():
    shown = demos("add-constraint")
    _, after = shown[1]
    assert fault("Suggest a dinner for my parents.", after, shown=shown) is Reason.COPIED_DEMONSTRATION


@pytest.mark.parametrize(
    ("parent", "text"),
    [
        (
            "Brainstorm a list of possible New Year's resolutions.",
            "Brainstorm a list of possible New Year's resolutions. Use at most 150 words and no dialogue, and let the "
            "list stay lost although its owner ends up happier than she was before.",
        ),
        (
            "Suggest a quick pre-run warmup routine.",
            "Suggest a quick pre-run warmup routine. It must cost less than 20 euros in total, need only one pot, "
            "contain neither nuts nor milk, and be ready within an hour.",
        ),
    ],
)
def test_what_a_demonstration_added_is_a_copy_however_different_its_parent(parent: str, text: str):
    assert fault(parent, text, shown=demos("add-constraint")) is Reason.COPIED_DEMONSTRATION
    assert fault(parent, text) is None


def test_a_seed_that_resembles_a_demonstration_can_still_be_evolved():
    shown = demos("add-goal")
    own = "Explain what deflation is. Make sure the reader can name one decade in which it ruined farmers."
    assert fault("Explain what deflation is.", own, shown=shown) is None
    assert fault("Explain what inflation is.", own.replace("deflation", "inflation"), shown=shown) is None


def test_a_seed_that_is_a_demonstration_must_not_be_evolved_into_its_result():
    before, after = demos("add-goal")[2]
    assert fault(before, after, shown=((before, after),)) is Reason.COPIED_DEMONSTRATION


def test_a_brand_new_instruction_is_compared_whole():
    shown = demos("brand-new")
    copied = shown[0][1].replace("canteen cook", "hotel cook")
    assert fault("Give me a soup recipe.", copied, anew=True, shown=shown) is Reason.COPIED_DEMONSTRATION
    fresh = "Work out how a soup kitchen can feed ninety people on forty euros without serving the same soup twice."
    assert fault("Give me a soup recipe.", fresh, anew=True, shown=shown) is None


def test_a_brand_new_instruction_may_leave_the_text_but_not_be_it():
    limits = Guards(brand_new_topic=0.05)
    assert fault(BREAD, BREAD, anew=True) is Reason.UNCHANGED
    assert fault(BREAD, "List the moons of Mars by size.", anew=True, limits=limits) is Reason.OFF_TOPIC
    assert fault(BREAD, "Plan a tasting that tells rye bread from spelt bread.", anew=True, limits=limits) is None


# -- topic, and faults the parent has itself


def test_topic_is_held_against_the_anchor_not_the_parent():
    drifted = "Describe the knives of a bakery."
    text = "Describe the knives of a bakery. Compare two kinds of steel and what each costs in a year."
    assert check(text, setting(drifted, anchor=drifted), LIMITS) is None
    assert check(text, setting(drifted, anchor="Name three rivers in Asia."), LIMITS) is Reason.OFF_TOPIC


def test_a_seed_without_any_longer_word_has_no_topic_to_leave():
    assert fault("Who am I?", "Who am I? Give three philosophers' answers and say which one convinces you.") is None


@pytest.mark.parametrize(
    ("parent", "text"),
    [
        (
            "Identify the bias in the given prompt.",
            "Identify the bias in the given prompt. Also rate how strong it is and rewrite one sentence without it.",
        ),
        ("Input: 3 5 8. Sort them.", "Input: 3 5 8. Sort them. Explain step by step why your method never loops."),
        ("Sure, why not?", "Sure, why not? Write it as an answer to a friend who asks you to move to Peru."),
        ("Here are my notes. Sum them up.", "Here are my notes. Sum them up. Use at most two sentences of ten words."),
    ],
)
def test_what_the_parent_says_itself_is_no_fault_of_its_child(parent: str, text: str):
    assert fault(parent, text) is None


def test_the_first_fault_names_the_rejection():
    assert fault(BREAD, "Sure!") is Reason.TOO_SHORT
