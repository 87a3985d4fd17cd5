"""What the scripted model writes: pure functions of a text and a source of chance."""

import math
import re
from functools import lru_cache
from random import Random

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NUMBER = re.compile(r"\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|exactly|at least|at most)\b", re.I)
_DEMAND = re.compile(
    r"\b(?:must|without|only|exactly|compare|justify|explain|prove|estimate|assume|constraint|criteria|table|json|steps?"
    r"|trade-?offs?|sources?|evidence|audience|tone|budget|deadline|because|whether|unless|avoid|include)\b",
    re.IGNORECASE,
)
# Words that say nothing about the topic.
_COMMON = re.compile(
    r"a|about|after|again|all|also|an|and|any|are|as|at|be|been|but|by|can|could|do|does|each|every|for|from|"
    r"give|has|have|how|i|if|in|into|is|it|its|list|make|may|me|more|most|must|my|name|no|not|of|on|one|only|or|"
    r"other|our|out|over|own|please|same|should|so|some|such|tell|than|that|the|their|them|then|there|these|"
    r"they|this|to|two|use|using|was|we|were|what|when|where|which|who|why|will|with|without|would|write|you|"
    r"your|describe|explain|short"
)
AUDIENCES = (
    "a newcomer to the subject",
    "a sceptical expert",
    "a ten-year-old",
    "a busy manager",
    "a volunteer with no equipment",
    "an examiner",
    "a night-shift nurse",
    "a small-town council",
    "readers in another country",
    "a student preparing for a test",
)
_FORMS = (
    "a table with three columns",
    "numbered steps",
    "a JSON object with the keys reason and result",
    "two paragraphs",
    "a dialogue between two people",
    "a checklist",
    "a letter",
    "bullet points under headings",
)
_PLACES = ("a coastal town", "a crowded hospital", "a mountain village", "a start-up", "a public library", "a farm")
THINGS = ("cost", "time", "safety", "fairness", "energy", "noise", "trust", "accuracy", "waste", "privacy")
_CLAUSES = (
    "Address it to {audience} and avoid technical terms",
    "Give the answer as {form}",
    "Name {number} common mistakes and say how to avoid each of them",
    "Keep the answer under {hundred} words",
    "Compare at least {number} alternatives by {thing} and {other}, then recommend one",
    "Justify every claim with a concrete example from {place}",
    "Assume a budget of {hundred} euros and a deadline of {number} days",
    "Explain your reasoning step by step before you state the result",
    "Close with a question that {audience} would ask, and answer it",
    "State which assumption matters most, and what changes if it is wrong",
    "Set the whole case in {place}, where {thing} is the main concern",
    "Weigh {thing} against {other} and say which one you would give up first",
    "Use a calm tone that takes the worries of {audience} seriously",
    "Include one estimate with its range and show how you got to it",
    "Do not mention {thing} at all, and do not repeat a word in any heading",
    "Mark each statement as fact, estimate or opinion",
)
_TASK_TYPES = (
    (r"\b(?:write|compose|draft|story|poem|letter|email|speech)\b", "writing"),
    (r"\b(?:explain|describe|what|why|how)\b", "explanation"),
    (r"\b(?:compare|versus|alternatives|weigh|recommend)\b", "comparison"),
    (r"\b(?:list|name|checklist)\b", "listing"),
    (r"\b(?:code|python|function|program|sql|algorithm)\b", "programming"),
    (r"\b(?:plan|schedule|organi[sz]e|workshop)\b", "planning"),
    (r"\b(?:calculate|estimate|solve|how many|budget)\b", "calculation"),
    (r"\b(?:table|json|steps|columns|words|paragraphs)\b", "output format"),
    (r"\b(?:translate|rewrite|summari[sz]e|edit)\b", "text editing"),
    (r"\b(?:tone|worries|feeling|calm)\b", "tone"),
)
# A text this much longer is another text to any guard against unchanged ones.
_LEAST_GROWTH = 0.35
_LEAST_DEMANDS = 2
_LONGEST_WORDS = 120


def topic_words(text: str, most: int = 6) -> list[str]:
    """The words that say what a text is about, the first ones first."""
    found = dict.fromkeys(word for word in _WORD.findall(text) if len(word) > 2 and not _COMMON.fullmatch(word.lower()))
    return list(found)[:most]


@lru_cache(1024)  # each dimension of each text is graded by it
def demand(text: str) -> float:
    """How demanding an instruction is on 1..6: grows with its length and its constraints, ever more slowly."""
    words = len(_WORD.findall(text))
    marks = len(set(map(str.lower, _DEMAND.findall(text)))) + len(_NUMBER.findall(text))
    return 1 + 5 * (1 - math.exp(-(words / 90 + marks / 16)))


def grade(text: str, dimension: str, chance: Random) -> float:
    """A judge's opinion before rounding: demand, less steep for anything but complexity, and some noise."""
    true = demand(text)
    leaning = true if dimension == "complexity" else 2.2 + 0.6 * true
    return min(max(leaning + chance.gauss(0, 0.35), 1.0), 6.0)


def evolved(instruction: str, chance: Random) -> str:
    """The instruction with further demands, always a different and nearly always a longer one."""
    words = instruction.split()
    kept = " ".join(words[:_LONGEST_WORDS]) or "Describe the task"
    return f"{_ended(kept)} {' '.join(further_demands(kept, chance))}"


def further_demands(instruction: str, chance: Random) -> list[str]:
    """Sentences to add, enough of them to make another text of it."""
    fresh = [clause for clause in _CLAUSES if clause.split("{")[0].strip() not in instruction]
    order = chance.sample(fresh, len(fresh)) if len(fresh) > 2 else chance.sample(_CLAUSES, len(_CLAUSES))
    added: list[str] = []
    for clause in order:
        if len(added) >= _LEAST_DEMANDS and sum(map(len, added)) >= _LEAST_GROWTH * len(instruction):
            break
        added.append(f"{_filled(clause, chance)}.")
    return added


def went_on(instruction: str, chance: Random) -> str:
    """What follows the instruction and the beginning of a further sentence."""
    subject = _joined(topic_words(instruction, 3)) or "everyday life"
    rest = _filled("{subject} with {thing} in mind, as {audience} would see it", chance, subject=subject)
    return f"{rest}. {' '.join(further_demands(instruction, chance))}"


def brand_new(instruction: str, chance: Random) -> str:
    """Another instruction from the same field."""
    subject = _joined(topic_words(instruction, 3)) or "everyday life"
    opening = chance.choice(
        (
            "Plan a {number}-part workshop about {subject} for {audience}",
            "Draft a proposal to {place} on {subject}, with {thing} in mind",
            "Write an interview with {audience} about {subject} and {thing}",
            "Design a test with {number} questions on {subject}, each harder than the last",
        )
    )
    text = _filled(opening, chance, subject=subject)
    return f"{text}. {_filled(chance.choice(_CLAUSES), chance)}."


def answered(instruction: str, chance: Random) -> str:
    """An answer that speaks of the instruction's subject."""
    subjects = topic_words(instruction, 8) or ["the task"]
    points = (
        "Begin with {subject}: settle what is known, what is assumed and what has to be looked up.",
        "For {subject} a small trial tells more than a long debate, so set aside {number} hours for one.",
        "People tend to overlook {thing} here, although {subject} depends on it more than on {other}.",
        "In {place}, someone kept notes on {subject} for {number} weeks and found that habits matter most.",
        "A fair rule of thumb: spend a third of the effort on {subject} and the rest on checking it.",
        "If {thing} and {other} pull in different directions, let {audience} decide about {subject}.",
        "The result can be judged by one figure, which should be written down before {subject} is touched.",
        "Finally, go over {subject} once more the next day and remove whatever nobody would miss.",
    )
    count = 3 + chance.randrange(4)
    chosen = chance.sample(points, count)
    return " ".join(
        _filled(point, chance, subject=subjects[i % len(subjects)].lower()) for i, point in enumerate(chosen)
    )


def tags(text: str, chance: Random) -> list[str]:
    """One to six intents: kinds of task that the text shows, and its subjects."""
    kinds = [name for pattern, name in _TASK_TYPES if re.search(pattern, text, re.IGNORECASE)]
    subjects = [word.lower() for word in topic_words(text, 3)]
    count = min(6, max(1, round(demand(text) + chance.gauss(0, 0.4))))
    return list(dict.fromkeys([*kinds[:1], *subjects[:1], *kinds[1:], *subjects[1:]]))[:count] or ["general request"]


def grade_logprobs(text: str, dimension: str, chance: Random, *, space: bool, most: int) -> dict[str, float]:
    """The grades 1 to 6 around the judge's opinion, with a little left for other tokens, the likeliest first."""
    opinion = grade(text, dimension, chance)
    weights = {f"{' ' * space}{n}": math.exp(-((n - opinion) ** 2) / (2 * 0.8**2)) for n in range(1, 7)}
    others = {token: 0.01 + 0.02 * chance.random() for token in (" ", "\n", " a", " the", "7", " very", "A", " (")}
    total = sum(weights.values()) / 0.95
    shares = {**{k: v / total for k, v in weights.items()}, **{k: v * 0.25 for k, v in others.items()}}
    ranked = sorted(shares.items(), key=lambda item: -item[1])[:most]
    return {token: math.log(share) for token, share in ranked}


def _filled(clause: str, chance: Random, **given: str) -> str:
    thing, other = chance.sample(THINGS, 2)
    return clause.format(
        audience=chance.choice(AUDIENCES),
        form=chance.choice(_FORMS),
        place=chance.choice(_PLACES),
        number=2 + chance.randrange(8),
        hundred=50 * (2 + chance.randrange(9)),
        thing=thing,
        other=other,
        **given,
    )


def _ended(text: str) -> str:
    return text if text[-1] in ".!?…:;\"'”)" else f"{text}."


def _joined(words: list[str]) -> str:
    lowered = [word.lower() for word in words]
    return " and ".join(filter(None, (", ".join(lowered[:-1]), lowered[-1]))) if lowered else ""
