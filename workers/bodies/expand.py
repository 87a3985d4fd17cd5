"""Task `expand`: evolve one parent by several operators, all at once, and refuse what a guard finds wrong."""

import asyncio
from dataclasses import dataclass

from workers import topic
from workers.asking import Ask
from workers.config import Role, Style, WorkSettings
from workers.contracts import Child, Evolved, ExpandPayload, ExpandResult, Reason
from workers.guards import BRAND_NEW, Setting, check
from workers.llm.errors import CallRefused
from workers.prompting import Operator, Prompt, demonstrations, draw, operators, render
from workers.text import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandTexts:
    """The parent's text, and the text whose topic its descendants must keep."""

    parent: str
    anchor: str


async def expand(payload: ExpandPayload, texts: ExpandTexts, settings: WorkSettings, ask: Ask) -> ExpandResult:
    """One evolution per child. A child whose call is refused for good fails; the others go on."""
    children = await asyncio.gather(*(_evolve(child, texts, settings, ask) for child in payload.children))
    return ExpandResult(
        children=tuple(child for child, _ in children), replayed=sum(replayed for _, replayed in children)
    )


async def _evolve(child: Child, texts: ExpandTexts, settings: WorkSettings, ask: Ask) -> tuple[Evolved, bool]:
    operator = operators()[child.operator]
    prompt = evolve_prompt(operator, texts.parent, settings, child.key)
    try:
        answer = await ask(Role.EVOLVER, prompt)
    except CallRefused:
        return Evolved(key=child.key, failed=Reason.CALL_FAILED), False
    text = tidy(answer.text)
    rejected = answer.fault or check(text, _setting(operator, texts, prompt, settings), settings.guards)
    evolved = Evolved(key=child.key, text=text or None, rejected=rejected, calls=(answer.call,))
    return evolved, answer.replayed


def _setting(operator: Operator, texts: ExpandTexts, prompt: Prompt, settings: WorkSettings) -> Setting:
    return Setting(
        parent=texts.parent,
        anchor=None if operator.name == BRAND_NEW else texts.anchor,
        shown=prompt.shown,
        topic=lambda a, b: topic.similarity(settings.embedder, a, b),
    )


def evolve_prompt(operator: Operator, instruction: str, settings: WorkSettings, key: str) -> Prompt:
    """The prompt that evolves one instruction, in the style of the evolver's endpoint."""
    role = settings.role(Role.EVOLVER)
    if settings.endpoint(Role.EVOLVER).style is Style.CHAT:
        text = render("chat/evolve.j2", instruction=instruction, method=operator.method)
        return Prompt(text=text, style=Style.CHAT)
    shown = draw(demonstrations("evolve")[operator.name], role.demonstrations, key)
    text = render(
        "completion/evolve.j2",
        demos=shown,
        method=operator.heading,
        instruction=" ".join(instruction.split()),
    )
    return Prompt(
        text=text,
        style=Style.COMPLETION,
        stop=("\n",),
        shown=tuple(demo[side] for demo in shown for side in ("before", "after")),
    )


def tidy(answer: str) -> str:
    """The answer without the quotation marks that models like to put round a rewritten instruction."""
    text = clean(answer)
    for opening, closing in (('"', '"'), ("“", "”"), ("'", "'"), ("«", "»")):
        if len(text) > 2 and text.startswith(opening) and text.endswith(closing) and opening not in text[1:-1]:
            return text[1:-1].strip()
    return text
