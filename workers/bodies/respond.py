"""Task `respond`: write the output for one harvested instruction."""

from workers.asking import Ask, reason_of
from workers.config import Role, Style, WorkSettings
from workers.contracts import Reason, RespondPayload, RespondResult
from workers.llm.errors import CallRefused
from workers.operators.eliminate import response_fault
from workers.prompting import Prompt, demonstrations, draw, render
from workers.text import clean, likeness, repetitiveness, words

_ECHO = 0.8
# As Self-Instruct cleans its instances (papers.md, 3.1): what ends so was going to go on.
_UNFINISHED = (":", ",")


async def respond(payload: RespondPayload, instruction: str, settings: WorkSettings, ask: Ask) -> RespondResult:
    """The output, or the reason why what came back is none."""
    prompt = respond_prompt(instruction, settings, payload.node)
    try:
        answer = await ask(Role.RESPONDER, prompt)
    except CallRefused as error:
        return RespondResult(failed=reason_of(error))
    output = clean(answer.text)
    fault = answer.fault or output_fault(output, instruction, prompt.shown, settings)
    return RespondResult(output=output or None, rejected=fault, calls=answer.calls, replayed=answer.replayed)


def respond_prompt(instruction: str, settings: WorkSettings, key: str) -> Prompt:
    """The prompt for the answer, in the style of the responder's endpoint."""
    if settings.endpoint(Role.RESPONDER).style is Style.CHAT:
        return Prompt(text=render("chat/respond.j2", instruction=instruction), style=Style.CHAT)
    shown = draw(demonstrations("respond"), settings.role(Role.RESPONDER).demonstrations, key)
    text = render("completion/respond.j2", demos=shown, instruction=" ".join(instruction.split()))
    pairs = tuple((demo["instruction"], demo["output"]) for demo in shown)
    return Prompt(text=text, style=Style.COMPLETION, stop=("\n\n", "\nTask:", "\nAnswer:"), shown=pairs)


def output_fault(
    output: str, instruction: str, shown: tuple[tuple[str, str], ...], settings: WorkSettings
) -> Reason | None:
    """Faults that only the text itself shows: nothing said, the question said back, a demonstration, a loop."""
    if not words(output):
        return Reason.EMPTY
    if settings.guards.eliminate and (fault := response_fault(output)):
        return fault
    if output.endswith(_UNFINISHED):
        return Reason.CUT_OFF
    if likeness(output, instruction) >= _ECHO:
        return Reason.ECHO
    if any(likeness(output, made) >= settings.guards.copied_whole for _, made in shown):
        return Reason.COPIED_DEMONSTRATION
    return Reason.REPETITIVE if repetitiveness(output, 4) > settings.guards.repetitive else None
