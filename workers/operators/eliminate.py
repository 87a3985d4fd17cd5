"""The four elimination rules of Evol-Instruct (papers.md, 3.3), which a recipe switches on with `guards.eliminate`.

The first asks a judge that can chat. A small base model cannot say whether two instructions are equal (AUC 0.91 with
sixteen demonstrations, but it found 9 of 20 paraphrases), so there a count of new words stands in, which told the same
44 pairs apart without a fault.
"""

import re
from functools import cache
from importlib.resources import files

from workers import text as measure
from workers.asking import Answer, Ask
from workers.config import Role, Style, WorkSettings
from workers.contracts import Reason, asks_whether_equal
from workers.llm.errors import CallRefused
from workers.prompting import Prompt, chat, quoted, render

# A response that says sorry is an answer all the same from this many words on.
_SORRY_WORDS = 80
# Paraphrases brought at most 3 new words of substance, evolutions at least 11 (docs/operators.md).
_NEW_WORDS = 4
_STEM = 5
# So many words in a row that the prompt has too were copied from it.
_COPIED_RUN = 6
_SORRY = re.compile(r"\bsorry\b", re.IGNORECASE)
_PHRASES = re.compile(
    r"#\s*the (?:given|rewritten|created) prompt\s*#?|\b(?:given|rewritten|created|new) prompts?\b|\bprompt rewriter\b",
    re.IGNORECASE,
)
_YES = re.compile(r"\W*(yes|no|not|equal|unequal)\b", re.IGNORECASE)


@cache
def stop_words() -> frozenset[str]:
    return frozenset(files("workers.prompts").joinpath("stopwords.txt").read_text(encoding="utf-8").split())


# -- rules 2 and 3: the response


def response_fault(output: str) -> Reason | None:
    """Says sorry in fewer than 80 words, or nothing but punctuation and stop words ("no" and "yes" are answers)."""
    found = measure.words(output)
    if _SORRY.search(output) and len(found) < _SORRY_WORDS:
        return Reason.SORRY
    return Reason.STOP_WORDS if set(found) <= stop_words() else None


# -- rule 4: words of the template


def copies_template(text: str, parent: str, style: Style) -> bool:
    """Whether the text speaks of prompts as the template does, or says six words in a row with it; the parent's own
    words are no copy.
    """
    if _PHRASES.search(text) and not _PHRASES.search(parent):
        return True
    return style is Style.CHAT and bool((_runs(text) & _template_runs()) - _runs(parent))


@cache
def _template_runs() -> frozenset[tuple[str, ...]]:
    """Of the frame alone: a method may well be put into practice in its own words."""
    return frozenset(_runs(render("chat/evolve.j2", instruction="", method="")))


def _runs(text: str) -> set[tuple[str, ...]]:
    found = measure.words(text)
    return {tuple(found[i : i + _COPIED_RUN]) for i in range(len(found) - _COPIED_RUN + 1)}


# -- rule 1: equal in constraints, depth and breadth


async def equal(parent: str, child: str, settings: WorkSettings, ask: Ask) -> tuple[bool, Answer | None]:
    """Whether the child asks for no more than its parent, and the judge's answer if one was asked.

    Who is not sure eliminates nothing: no answer, or one that is neither yes nor no, counts as not equal.
    """
    if not asks_whether_equal(settings):
        return new_words(parent, child) < _NEW_WORDS, None
    try:
        answer = await ask(Role.JUDGE, equal_prompt(parent, child))
    except CallRefused:
        return False, None
    return says_equal(answer.text), answer


def equal_prompt(parent: str, child: str) -> Prompt:
    return chat("equal", parent=quoted(parent), child=quoted(child))


def says_equal(answer: str) -> bool:
    """Whether the judge's answer begins with a yes."""
    found = _YES.match(answer)
    return found is not None and found.group(1).lower() in ("yes", "equal")


def new_words(parent: str, child: str) -> int:
    """How many words of substance, by their first letters, the child has and its parent has not."""
    return len(_substance(child) - _substance(parent))


def _substance(text: str) -> set[str]:
    return {word[:_STEM] for word in measure.words(text) if word not in stop_words()}
