"""Task `instantiate`: the inputs and outputs of one generated instruction, and which of them are good."""

from dataclasses import replace
from functools import partial

from workers.asking import Answer, Ask, reason_of
from workers.config import Role, Style, WorkSettings
from workers.contracts import Instance, InstantiatePayload, InstantiateResult, Reason
from workers.generation import listing
from workers.generation.cleaning import cleaned, good
from workers.llm.errors import CallRefused
from workers.llm.refusal import is_refusal
from workers.prompting import Prompt, chat, demonstrations, draw, quoted, render
from workers.text import clean, likeness, words

# So like a demonstration's, a text was copied from it.
_COPIED = 0.9
_A_SENTENCE = 4
# Yes or No, and what a model may put before it.
_VERDICT_TOKENS = 8


async def instantiate(
    payload: InstantiatePayload, instruction: str, settings: WorkSettings, ask: Ask
) -> InstantiateResult:
    """Asks whether the instruction is one of classification, and then for its instances.

    Of classification the output comes first: asked for the input first, a model keeps to one label (papers.md, 3.1).
    A verdict that cannot be read counts as no.
    """
    answers: list[Answer] = []
    verdict: bool | None = None
    try:
        if settings.generation.classification:
            answers.append(await ask(Role.RESPONDER, classify_prompt(instruction, settings)))
            verdict = listing.says_yes(answers[0].text)
        prompt = instances_prompt(instruction, settings, output_first=verdict is True)
        answers.append(await ask(Role.RESPONDER, prompt))
    except CallRefused as error:
        return _result(answers, verdict, failed=reason_of(error))
    fault = answers[-1].fault
    if fault and fault is not Reason.CUT_OFF:
        return _result(answers, verdict, rejected=fault)
    instances = _instances(answers[-1], prompt, settings, output_first=verdict is True)
    return _result(answers, verdict, instances, rejected=None if good(instances) else Reason.NO_INSTANCE)


def _result(
    answers: list[Answer],
    verdict: bool | None,
    instances: tuple[Instance, ...] = (),
    *,
    rejected: Reason | None = None,
    failed: str | None = None,
) -> InstantiateResult:
    return InstantiateResult(
        is_classification=verdict,
        instances=instances,
        rejected=rejected,
        failed=failed,
        calls=tuple(call for answer in answers for call in answer.calls),
        replayed=sum(answer.replayed for answer in answers),
    )


def _instances(answer: Answer, prompt: Prompt, settings: WorkSettings, *, output_first: bool) -> tuple[Instance, ...]:
    found = listing.instances(clean(f"{prompt.prefix} {answer.text}"), output_first=output_first)
    return cleaned(
        found,
        most=settings.generation.instances,
        cut=answer.fault is Reason.CUT_OFF,
        fault=partial(_fault, prompt.shown),
    )


def _fault(shown: tuple[tuple[str, str], ...], instance: Instance) -> Reason | None:
    """Beyond the paper: an instance copied from the prompt, which is an answer to another task, and a refusal."""
    if is_refusal(instance.output):
        return Reason.REFUSAL
    copied = any(_copies(instance, given, made) for given, made in shown)
    return Reason.COPIED_DEMONSTRATION if copied else None


def _copies(instance: Instance, given: str, made: str) -> bool:
    """Whether the input is a demonstration's; or the output where neither has one, unless it is a label."""
    if instance.input and given:
        return likeness(instance.input, given) >= _COPIED
    neither = not instance.input and not given
    return neither and len(words(instance.output)) >= _A_SENTENCE and likeness(instance.output, made) >= _COPIED


def classify_prompt(instruction: str, settings: WorkSettings) -> Prompt:
    """The question whether an instruction is one of classification; its demonstrations are always the same.

    The verdict is the likeliest one, as published: at the responder's temperature the local model was right of 35 in 50
    seeds, at 0 of 48.
    """
    shown = demonstrations("classify")[: settings.generation.classification_demonstrations]
    if settings.endpoint(Role.RESPONDER).style is Style.CHAT:
        made = chat("classify", demos=shown, instruction=quoted(instruction))
        prompt = Prompt(text=made.text, style=Style.CHAT, system=made.system)
    else:
        text = render("completion/classify.j2", demos=shown, instruction=" ".join(instruction.split()))
        prompt = Prompt(text=text, style=Style.COMPLETION, stop=("\n",))
    return replace(prompt, max_tokens=_VERDICT_TOKENS, temperature=0.0, once=True)


def instances_prompt(instruction: str, settings: WorkSettings, *, output_first: bool) -> Prompt:
    """The prompt for instances, with demonstrations drawn by the instruction, so that the same one asks the same."""
    name = "labelled" if output_first else "instances"
    shown = draw(demonstrations(name), settings.role(Role.RESPONDER).demonstrations, instruction, name)
    pairs = tuple((one["input"], one["output"]) for demo in shown for one in demo["instances"])
    most = settings.generation.instances
    if settings.endpoint(Role.RESPONDER).style is Style.CHAT:
        made = chat(name, demos=shown, instruction=quoted(instruction), most=most)
        return Prompt(text=made.text, style=Style.CHAT, system=made.system, shown=pairs, once=True)
    text = render(f"completion/{name}.j2", demos=shown, instruction=" ".join(instruction.split()))
    return Prompt(
        text=text,
        style=Style.COMPLETION,
        stop=("\n\n", "\nTask:", f"\nExample {most + 1}"),
        shown=pairs,
        prefix=text.rpartition("\n")[2],
        once=True,
    )
