"""Task `generate`: one prompt for new instructions, and what the heuristics leave of the list that comes back."""

from dataclasses import dataclass

from workers.asking import Answer, Ask, reason_of
from workers.config import Role, Style, WorkSettings
from workers.contracts import Generated, GeneratePayload, GenerateResult, Instance, Reason
from workers.generation import listing
from workers.generation.cleaning import cleaned, good
from workers.generation.heuristics import fault
from workers.generation.settings import GenerationSettings
from workers.llm.errors import CallRefused
from workers.prompting import Prompt, chat, quoted, render
from workers.text import clean

_SLOTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A demonstration. Self-Instruct shows its instruction, Alpaca the whole task."""

    instruction: str
    input: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateTexts:
    """The demonstrations, in the order in which they are shown."""

    shown: tuple[Shown, ...]


async def generate(payload: GeneratePayload, texts: GenerateTexts, settings: WorkSettings, ask: Ask) -> GenerateResult:
    """What one completion lists. Instructions that a heuristic refuses are kept for the record, with its reason."""
    prompt = generate_prompt(texts, settings)
    try:
        # Few seeds make the same prompt more than once, and each time other instructions are wanted.
        answer = await ask(Role.GENERATOR, prompt, sample=payload.round * _SLOTS + payload.slot)
    except CallRefused as error:
        return GenerateResult(failed=reason_of(error))
    found, rejected = _found(answer, prompt, len(texts.shown), settings.generation)
    return GenerateResult(found=found, rejected=rejected, calls=answer.calls, replayed=answer.replayed)


def _found(
    answer: Answer, prompt: Prompt, shown: int, settings: GenerationSettings
) -> tuple[tuple[Generated, ...], Reason | None]:
    """The items, or why the completion is no good as a whole.

    Of one that was cut off nothing is taken, as published; Alpaca takes all but its last task.
    """
    alpaca, cut = settings.variant == "alpaca", answer.fault is Reason.CUT_OFF
    if answer.fault and not (alpaca and cut):
        return (), answer.fault
    text = clean(f"{prompt.prefix} {answer.text}")
    room = settings.last(shown) - shown
    if alpaca:
        tasks = listing.tasks(text)[: -1 if cut else None]
        found = tuple(_whole(task, settings) for task in tasks[:room])
    else:
        found = tuple(_generated(item, settings) for item in listing.listed(text)[:room])
    return found, None if found else (answer.fault or Reason.EMPTY)


def _generated(text: str, settings: GenerationSettings) -> Generated:
    said = text.capitalize() if settings.lower_case else text
    return Generated(text=said, rejected=fault(said, settings))


def _whole(task: listing.Task, settings: GenerationSettings) -> Generated:
    """A task with its one instance, without which it is worth nothing."""
    found = _generated(task.instruction, settings)
    instances = cleaned([Instance(input=task.input, output=task.output)], most=1)
    rejected = found.rejected or (None if good(instances) else Reason.NO_INSTANCE)
    return found.model_copy(update={"instances": instances, "rejected": rejected})


def generate_prompt(texts: GenerateTexts, settings: WorkSettings) -> Prompt:
    """The prompt that asks for the rest of a list, in the style of the generator's endpoint.

    It is asked once: a list that was cut off is thrown away or shortened, never asked for again.
    """
    style = settings.endpoint(Role.GENERATOR).style
    alpaca = settings.generation.variant == "alpaca"
    last = settings.generation.last(len(texts.shown))
    template = "generate_tasks" if alpaca else "generate"
    if style is Style.CHAT:
        shown = [_quoted(one) for one in texts.shown]
        made = chat(template, tasks=shown if alpaca else [one.instruction for one in shown], last=last)
        return Prompt(text=made.text, style=style, system=made.system, once=True)
    tasks = [_squeezed(one) for one in texts.shown]
    text = render(f"completion/{template}.j2", tasks=tasks if alpaca else [one.instruction for one in tasks], last=last)
    number = f"\n{last + 1}"
    return Prompt(
        text=text,
        style=style,
        stop=(f"{number}.", f"{number} .") if alpaca else ("\n\n", number),
        prefix=text.rpartition("\n")[2],
        once=True,
    )


def _squeezed(one: Shown) -> Shown:
    return Shown(instruction=listing.squeezed(one.instruction), input=one.input.strip(), output=one.output.strip())


def _quoted(one: Shown) -> Shown:
    squeezed = _squeezed(one)
    return Shown(instruction=quoted(squeezed.instruction), input=quoted(squeezed.input), output=quoted(squeezed.output))
