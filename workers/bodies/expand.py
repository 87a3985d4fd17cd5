"""Task `expand`: evolve one parent by several operators, all at once, and refuse what a guard finds wrong."""

from dataclasses import dataclass

from workers import topic
from workers.asking import Answer, Ask, all_of, reason_of
from workers.config import Role, Style, WorkSettings
from workers.contracts import Child, Evolved, ExpandPayload, ExpandResult, Reason
from workers.guards import BRAND_NEW, Setting, check
from workers.llm.errors import CallRefused
from workers.operators.eliminate import copies_template, equal
from workers.prompting import Operator, Prompt, chat, draw, operator_of, quoted, render
from workers.text import clean

_FINAL = (".", "!", "?", ":", ";", "…")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandTexts:
    """The parent's text, and the text whose topic its descendants must keep."""

    parent: str
    anchor: str


async def expand(payload: ExpandPayload, texts: ExpandTexts, settings: WorkSettings, ask: Ask) -> ExpandResult:
    """One evolution per child. A child whose call is refused for good fails; the others go on."""
    children = await all_of(_evolve(child, texts, settings, ask) for child in payload.children)
    return ExpandResult(
        children=tuple(child for child, _ in children), replayed=sum(replayed for _, replayed in children)
    )


async def _evolve(child: Child, texts: ExpandTexts, settings: WorkSettings, ask: Ask) -> tuple[Evolved, int]:
    operator = operator_of(child.operator, settings)
    prompt = evolve_prompt(operator, texts.parent, settings, child.key)
    try:
        answer = await ask(Role.EVOLVER, prompt)
    except CallRefused as error:
        return Evolved(key=child.key, failed=reason_of(error)), 0
    text = tidy(prompt.prefix + answer.text)
    rejected = answer.fault or _fault(text, operator, texts, prompt, settings)
    verdict: Answer | None = None
    if rejected is None and settings.guards.eliminate:
        same, verdict = await equal(texts.parent, text, settings, ask)
        rejected = Reason.EQUAL if same else None
    answers = (answer, verdict) if verdict else (answer,)
    calls = tuple(call for one in answers for call in one.calls)
    evolved = Evolved(key=child.key, text=text or None, rejected=rejected, calls=calls)
    return evolved, sum(one.replayed for one in answers)


def _fault(text: str, operator: Operator, texts: ExpandTexts, prompt: Prompt, settings: WorkSettings) -> Reason | None:
    """What can be seen without asking anybody."""
    if settings.guards.eliminate and copies_template(text, texts.parent, prompt.style):
        return Reason.TEMPLATE_WORDS
    return check(text, _setting(operator, texts, prompt, settings), settings.guards)


def _setting(operator: Operator, texts: ExpandTexts, prompt: Prompt, settings: WorkSettings) -> Setting:
    return Setting(
        parent=texts.parent,
        anchor=texts.anchor,
        starts_anew=operator.name == BRAND_NEW,
        shown=prompt.shown,
        topic=lambda a, b: topic.similarity(settings.embedder, a, b),
        begun=prompt.prefix,
    )


def evolve_prompt(operator: Operator, instruction: str, settings: WorkSettings, key: str) -> Prompt:
    """The prompt that evolves one instruction, in the style of the evolver's endpoint."""
    role = settings.role(Role.EVOLVER)
    if settings.endpoint(Role.EVOLVER).style is Style.CHAT:
        return chat("evolve", instruction=quoted(instruction), method=operator.method)
    shown = draw(list(operator.demonstrations), role.demonstrations, key)
    given = " ".join(instruction.split())
    prefix = opening(operator, given, key)
    text = render("completion/evolve.j2", demos=shown, method=operator.heading, instruction=given, prefix=prefix)
    return Prompt(
        text=text,
        style=Style.COMPLETION,
        stop=("\n",),
        shown=tuple((demo["before"], demo["after"]) for demo in shown),
        prefix=prefix,
    )


def opening(operator: Operator, instruction: str, key: str) -> str:
    """How the evolved text begins: with the instruction and a lead of the operator. Left alone, a small base model
    repeats the instruction or forgets it (`docs/local-model.md`); one that is to start anew gets no beginning.
    """
    if not operator.leads:
        return ""
    sentence = instruction if instruction[-1:] in _FINAL else f"{instruction}."
    (lead,) = draw(list(operator.leads), 1, key, "lead")
    return f"{sentence} {lead}"


def tidy(answer: str) -> str:
    """The answer without the quotation marks that models like to put round a rewritten instruction."""
    text = clean(answer)
    for opening, closing in (('"', '"'), ("“", "”"), ("„", "“"), ("'", "'"), ("«", "»"), ("「", "」")):
        if len(text) > 2 and text.startswith(opening) and text.endswith(closing) and opening not in text[1:-1]:
            return text[1:-1].strip()
    return text
