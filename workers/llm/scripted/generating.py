"""What the scripted model makes of the prompts of generation from a pool: lists of tasks, verdicts, instances.

Of the instructions that it lists about half are new, a quarter are a shown one with some words changed (ROUGE-L 0.7 to
0.85), an eighth are copies, and the rest breaks a rule for instructions; so both thresholds of the gate have work.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from random import Random

from workers.llm.scripted import writing

_SHOWN = {
    "list": re.compile(r"^\d+\. (.+)$", re.MULTILINE),
    "tasks": re.compile(r"^\d+\. Instruction: (.+)$", re.MULTILINE),
}
_QUOTED = re.compile(r"<<<\n?(.*?)\n?>>>", re.DOTALL)
_TASK = re.compile(r"^Task: (.*)$", re.MULTILINE)
_SPAN = re.compile(r"\btasks (\d+) to (\d+)\b")
_NEXT = re.compile(r"^(\d+)\.(?: Instruction:)?$")
# A base model is stopped, it never stops by itself.
_ON_AND_ON = 40
_MOST_EXAMPLES = 3
_NEAR, _COPY, _FAULTY = 0.26, 0.13, 0.1
_CHANGED = 0.22
# Without a further demand there would be too few different tasks for a long run.
_DEMANDING = 0.9
_FAULTY_INSTANCES = 0.12
_LIST = "Come up with a series of tasks"
_CLASSIFIES = re.compile(
    r"\b(?:classif\w*|whether|categor\w*|true or false|yes or no|label|sentiment|(?:tell|detect|identify) if)\b",
    re.IGNORECASE,
)
_NEEDS_INPUT = re.compile(r"\b(?:given|following|below|this|these)\b", re.IGNORECASE)
_CHOICE = re.compile(r"\b([a-z-]+),? or ([a-z-]+)\b", re.IGNORECASE)


class Lister(StrEnum):
    """What kind of generator the model is. repeats: it lists the same few tasks for ever."""

    HONEST = "honest"
    REPEATS = "repeats"


_DEEDS = (
    *("repairing bicycles", "keeping bees", "baking bread", "learning to swim", "growing tomatoes", "tuning a piano"),
    *("saving water", "writing letters", "teaching chess", "mending clothes", "building a kayak", "brewing tea"),
    *(
        "choosing a dog",
        "reading the stars",
        "planting trees",
        "cooking for ten",
        "editing a newspaper",
        "making cheese",
    ),
    *(
        "running a choir",
        "sharing a car",
        "restoring a clock",
        "training for a marathon",
        "sorting waste",
        "lending books",
    ),
    *("translating poems", "designing a poster", "heating a house", "caring for goats", "planning a wedding"),
    *("negotiating rent", "measuring rainfall", "painting a fence", "packing a rucksack", "storing apples"),
    *("debating in public", "catching a thief", "organising a flea market", "insuring a bicycle", "sleeping well"),
    *("founding a club", "hiring a cook", "crossing a desert", "losing a job", "selling honey", "auditing a school"),
)
_WHERE = (
    *("in a cold climate", "on a small island", "with two children", "without electricity", "during an exam week"),
    *("in the nineteenth century", "on a tight schedule", "above the tree line", "after a flood", "in an office"),
    *("among strangers", "with a broken arm", "for charity", "at sea", "in winter", "before sunrise", "by the river"),
    *("with borrowed tools", "in a foreign language", "during a strike", "on the fortieth floor", "behind a stage"),
    *("with an old neighbour", "under a new law", "in the year 2090", "at a railway station", "for the first time"),
)
_PLAIN = (
    "Explain {deed} {where} to {audience}.",
    "What do most people get wrong about {deed} {where}?",
    "Write a short dialogue in which {audience} argues about {deed}.",
    "Give {number} reasons against {deed} {where}.",
    "Compare {deed} with {other} and say which demands more patience.",
    "How would you advise {audience} who is thinking of {deed} {where}?",
    "Compose a limerick on {deed}, ending with the word {thing}.",
    "Estimate what {deed} {where} costs over {number} years.",
    "Suppose {deed} were forbidden tomorrow. Who would lose most, and why?",
    "Draft the opening of a novel that begins with {deed} {where}.",
    "Which skills from {deed} are of use in {other}?",
    "Invent a proverb that someone fond of {deed} might say {where}.",
    "Plan a weekend around {deed} for {audience}.",
    "Prepare {number} interview questions on {deed} {where}.",
    "Is {deed} {where} a matter of {thing} or of luck? Argue one side.",
    "Tell the story of {deed} from the view of {audience}.",
    "Name {number} tools for {deed}, each with its purpose.",
    "Put together a warning sign about {deed} {where}.",
)
_WITH_INPUT = (
    "Shorten the following report on {deed} to one sentence.",
    "Correct the grammar of the given note about {deed} {where}.",
    "From the text below, pick out everything that concerns {thing}, as {audience} would need it for {deed}.",
    "Put the following steps of {deed} into their right order.",
    "Translate the given advice on {deed} {where} into French.",
)
_CHOICES = (
    "Decide whether the given remark on {deed} {where} is serious or ironic.",
    "Classify the following question about {deed} as practical or theoretical.",
    "Tell whether the comment on {deed} {where} is friendly or hostile.",
    "Say whether this claim about {deed} and {other} is true or false.",
)
_FAULTS = (
    "Draw a picture of {deed} {where}.",
    "Write a program that keeps a record of {deed}.",
    "Plot a graph of {thing} over {number} weeks of {deed}.",
    "Describe the images in the file about {deed}.",
    "Discuss {deed}.",
    "- {deed} {where}, as {audience} sees it",
    "Sing.",
)
_REPEATED = (
    "Write a short story about a lonely robot.",
    "Explain how a rainbow is formed.",
    "List three healthy breakfasts.",
    "Give advice on how to save money.",
    "Describe your favourite season.",
)
_BRING_IN = ("Bring in", "Work in", "It touches on", "Leave room for", "Have in mind", "Connect it with")
_NOUNS = (
    *("anchors", "almonds", "barns", "beetles", "bells", "bridges", "brooms", "buttons", "cables", "candles", "canoes"),
    *("carrots", "castles", "chalk", "chimneys", "clay", "clouds", "coins", "copper", "corks", "cranes", "curtains"),
    *("daisies", "deserts", "diaries", "dragons", "drums", "dust", "eels", "embers", "engines", "fables", "feathers"),
    *("ferries", "figs", "flutes", "foxes", "frost", "gates", "glaciers", "gloves", "goats", "gravel", "hammers"),
    *("harbours", "hedges", "herons", "honey", "hooks", "ink", "islands", "ivory", "jars", "kettles", "kites", "knots"),
    *("ladders", "lamps", "lemons", "lizards", "locks", "mirrors", "moss", "needles", "nests", "nettles", "oars"),
    *("olives", "onions", "orchards", "otters", "owls", "paddles", "pearls", "pebbles", "pepper", "pigeons", "pillows"),
    *("puppets", "quilts", "rafts", "ravens", "ribbons", "rivets", "ropes", "saddles", "salt", "sand", "shadows"),
    *("shells", "silk", "sleds", "snails", "soap", "spoons", "storms", "tunnels", "turnips", "violins", "wagons"),
)
_SWAPS = (
    *("quiet", "seven", "Monday", "village", "cheap", "winter", "twice", "private", "window", "careful", "northern"),
    *("brief", "unusual", "garden", "modern", "silver", "honest", "rural", "evening", "double", "foreign", "ordinary"),
)


def kind(question: str) -> str | None:
    """Which prompt of generation this is, by its first words in either style; None when it is another's."""
    beginnings = {
        _LIST: "list",
        "Come up with a collection of": "tasks",
        "Here is a collection of": "tasks",
        "Is the task below one of classification?": "verdict",
        "Is the answer to each task one of": "verdict",
        "Write examples for the last of the tasks": "instances",
        "Examples of tasks, each with": "instances",
        "The last of the tasks below is one of": "labelled",
        "Examples of tasks of classification": "labelled",
    }
    return next((found for beginning, found in beginnings.items() if question.startswith(beginning)), None)


def chat(found: str, question: str, chance: Random, lister: Lister) -> str:
    """The answer to a chat prompt of this kind."""
    quoted = _QUOTED.findall(question)
    if found in ("list", "tasks"):
        span = _SPAN.search(question)
        first, last = (int(span[1]), int(span[2])) if span else (1, 1)
        return _series(found, quoted[-1] if quoted else "", range(first, last + 1), chance, lister)
    return _about(found, quoted[-1].strip() if quoted else question, chance)


def completion(found: str, prompt: str, chance: Random, lister: Lister) -> str:
    """The continuation of a completion prompt of this kind, which has begun the first line of it."""
    line = prompt.rpartition("\n")[2]
    if found in ("list", "tasks"):
        begun = _NEXT.match(line)
        first = int(begun[1]) if begun else 1
        return _series(found, prompt, range(first, first + _ON_AND_ON), chance, lister).removeprefix(
            _ruled(found, line)
        )
    shown = _TASK.findall(prompt)
    text = _about(found, shown[-1].strip() if shown else prompt[-400:], chance)
    return " " + text if found == "verdict" else text.removeprefix(f"Example 1\n{line}")


def _ruled(found: str, line: str) -> str:
    return f"###\n{line}" if found == "tasks" else line


def _about(found: str, instruction: str, chance: Random) -> str:
    if found == "verdict":
        return "Yes" if _CLASSIFIES.search(instruction) else "No"
    return labelled(instruction, chance) if found == "labelled" else instances(instruction, chance)


def _series(found: str, shown: str, numbers: range, chance: Random, lister: Lister) -> str:
    known = [text.strip() for text in _SHOWN[found].findall(shown)]
    texts = [instruction(known, chance) for _ in numbers]
    if lister is Lister.REPEATS:
        texts = [_REPEATED[number % len(_REPEATED)] for number in numbers]
    if found == "list":
        return "\n".join(f"{number}. {text}" for number, text in zip(numbers, texts, strict=True))
    return "\n".join(_whole(number, text, chance) for number, text in zip(numbers, texts, strict=True))


def _whole(number: int, text: str, chance: Random) -> str:
    given, made = _instance(text, chance)
    fields = {"Instruction": text, "Input": given or "<noinput>", "Output": made}
    return "\n".join(["###", *(f"{number}. {label}: {said}" for label, said in fields.items())])


def instruction(shown: list[str], chance: Random) -> str:
    """One task: mostly a new one, otherwise near to a shown one, or one that breaks a rule."""
    lot = chance.random()
    if lot < _FAULTY:
        return _filled(chance.choice(_FAULTS), chance)
    if lot < _FAULTY + _COPY + _NEAR and shown:
        return altered(chance.choice(shown), chance, near=lot >= _FAULTY + _COPY)
    kind_of = chance.choices((_PLAIN, _WITH_INPUT, _CHOICES), weights=(70, 18, 12))[0]
    text = _filled(chance.choice(kind_of), chance)
    return f"{text} {_with_things(chance)}" if chance.random() < _DEMANDING else text


def _with_things(chance: Random) -> str:
    first, *others = chance.sample(_NOUNS, 4 + chance.randrange(3))
    return f"{chance.choice(_BRING_IN)} {first}, {', '.join(others[:-1])} and {others[-1]}."


def altered(text: str, chance: Random, *, near: bool) -> str:
    """The text with a fifth of its words changed (`near`: ROUGE-L of 0.71 to 0.84), or with one at most (above)."""
    words = text.split()
    count = max(1, round(_CHANGED * len(words))) if near else min(1, len(words) // 8)
    for place in chance.sample(range(1, len(words)), min(count, len(words) - 1)):
        last = words[place][-1:]
        words[place] = chance.choice(_SWAPS) + (last if last in ".,?!:;" else "")
    return " ".join(words)


def instances(text: str, chance: Random) -> str:
    """Examples, input first; some have one of the faults that cleaning looks for."""
    count = 1 + chance.randrange(_MOST_EXAMPLES) if _NEEDS_INPUT.search(text) else 1
    return _examples([_instance(text, chance) for _ in range(count)], ("Input", "Output"), chance)


def labelled(text: str, chance: Random) -> str:
    """Examples, label first: the two that the task names, or yes and no."""
    named = _CHOICE.findall(text)
    labels = named[-1] if named else ("yes", "no")
    return _examples([(_material(text, chance), label) for label in labels], ("Label", "Input"), chance)


def _examples(pairs: list[tuple[str, str]], order: tuple[str, str], chance: Random) -> str:
    if chance.random() < _FAULTY_INSTANCES:
        pairs = chance.choice(_SPOIL)(pairs)
    blocks = []
    for number, (given, made) in enumerate(pairs, 1):
        said = {"Input": given or "(none)", "Output": made, "Label": made}
        blocks.append("\n".join([f"Example {number}", *(f"{label}: {said[label]}" for label in order)]))
    return "\n".join(blocks)


_Pairs = list[tuple[str, str]]
_SPOIL: tuple[Callable[[_Pairs], _Pairs], ...] = (
    lambda pairs: [(pairs[0][0], ""), *pairs[1:]],
    lambda pairs: [(pairs[0][1], pairs[0][1]), *pairs[1:]],
    lambda pairs: [(pairs[0][0], f"{pairs[0][1].rstrip('.')}:"), *pairs[1:]],
    lambda pairs: [*pairs, pairs[-1]],
    lambda pairs: [*pairs, (pairs[-1][0] or "A rainy day.", "Nobody knows."), ("A rainy day.", "Everybody knows.")],
)


def _instance(text: str, chance: Random) -> tuple[str, str]:
    given = _material(text, chance) if _NEEDS_INPUT.search(text) or _CLASSIFIES.search(text) else ""
    return given, writing.answered(f"{text} {given}", chance).partition(". ")[0] + "."


def _material(text: str, chance: Random) -> str:
    subject = " and ".join(word.lower() for word in writing.topic_words(text, 2)) or "daily life"
    return _filled(
        "{subject}: {audience} took it up {where} and gave it up after {number} days.", chance, subject=subject
    )


def _filled(clause: str, chance: Random, **given: str) -> str:
    deed, other = chance.sample(_DEEDS, 2)
    values: Mapping[str, object] = {
        "deed": deed,
        "other": other,
        "where": chance.choice(_WHERE),
        "audience": chance.choice(writing.AUDIENCES),
        "thing": chance.choice(writing.THINGS),
        "number": 2 + chance.randrange(8),
        **given,
    }
    return clause.format(**values)
