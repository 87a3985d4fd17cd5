"""Improving an operator's method from the failures that are seen of it (papers.md, 3.4)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from db.errors import ServiceError
from workers.asking import Ask, all_of
from workers.bodies.expand import ExpandTexts, expand
from workers.bodies.respond import respond
from workers.config import CustomOperator, Origin, Role, WorkSettings
from workers.contracts import Child, Evolved, ExpandPayload, Reason, RespondPayload, RespondResult
from workers.llm.errors import BudgetSpent, CallRefused, ModelError
from workers.llm.jsonish import Malformed, read_json
from workers.operators.custom import MINED_PREFIX
from workers.operators.decide import ASKS_BACK, Plan, Score, Trial, choose, response_failed, split
from workers.operators.spending import Spent, open_purse
from workers.prompting import Operator, Prompt, chat, draw, operator_of, quoted

_LONGEST_SHOWN = 600
_MOST_SHOWN = 10
_LONGEST_NAME = 40
_SUFFIX = "-improved"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"method": {"type": "string"}},
    "required": ["method"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """What came of it. `kept` is the operator to use from now on, None where no method failed less.

    `batch` is how the present method did where failures were collected, `current` how it did on the dev items, and
    `candidates` how the others did there; `unusable` counts proposals that are no methods. `cut_short`: the limit on
    calls, or refused calls, left something unmeasured.
    """

    batch: Score
    current: Score | None
    candidates: tuple[Score, ...]
    unusable: int
    kept: CustomOperator | None
    chosen: Score | None
    cut_short: bool
    spent: Spent


def improve(
    settings: WorkSettings, environment: Mapping[str, str], name: str, sample: Sequence[str], plan: Plan
) -> Improvement:
    """Tries to find a method under which this operator fails less on the sample. The evolver must be able to chat.

    Raises:
        ConfigError: there is no such operator.
        ServiceError: the endpoint did not answer.
    """
    try:
        return asyncio.run(_improve(settings, environment, name, sample, plan))
    except ModelError as error:
        raise ServiceError(f"nothing was improved: {error}; try again when the endpoint is well") from None


async def _improve(
    settings: WorkSettings, environment: Mapping[str, str], name: str, sample: Sequence[str], plan: Plan
) -> Improvement:
    async with open_purse(settings, environment, plan.max_calls) as purse:
        found = await search(operator_of(name, settings), sample, settings, plan, purse.ask, purse.ask_at_length)
        return replace(found, spent=purse.spent)


async def search(
    operator: Operator, sample: Sequence[str], settings: WorkSettings, plan: Plan, ask: Ask, ask_at_length: Ask
) -> Improvement:
    """One step: evolve a batch, collect what failed, ask for new methods, measure all of them on the same items.

    New methods are asked for with `ask_at_length`, everything else as in a run.
    """
    batch, dev = split(draw(list(sample), len(sample), "improve", operator.name), plan.batch, plan.dev)
    present = as_custom(operator)
    seen = await try_out(present, batch, settings, ask)
    nothing = Improvement(
        batch=seen,
        current=None,
        candidates=(),
        unusable=0,
        kept=None,
        chosen=None,
        cut_short=not seen.complete,
        spent=Spent(calls=0, tokens_in=0, tokens_out=0, nusd=None),
    )
    if not seen.failures or not seen.complete:
        return nothing
    current = await try_out(present, dev, settings, ask)
    if not current.failures or not current.complete:
        return replace(nothing, current=current, cut_short=not current.complete)
    methods, short = await _proposals(present, seen, plan.proposals, ask_at_length)
    candidates = [await try_out(method, dev, settings, ask) for method in methods]
    chosen = choose(current, candidates, plan.rule)
    kept = next((method for method in methods if method.method == chosen.method), None) if chosen != current else None
    return replace(
        nothing,
        current=current,
        candidates=tuple(candidates),
        unusable=plan.proposals - len(methods),
        kept=kept,
        chosen=chosen if kept else None,
        cut_short=short or not all(score.complete for score in (current, *candidates)),
    )


def as_custom(operator: Operator) -> CustomOperator:
    """The operator as one of a file, under a name of its own; what was mined stays mined."""
    mined = operator.name.startswith(MINED_PREFIX)
    stem = operator.name.removesuffix(_SUFFIX)[: _LONGEST_NAME - len(_SUFFIX)].strip("-")
    return CustomOperator.model_validate(
        {
            "name": stem + _SUFFIX,
            "origin": Origin.MINED if mined else Origin.USER,
            "intent": operator.intent,
            "method": operator.method,
            "heading": operator.heading,
            "leads": operator.leads,
            "demonstrations": operator.demonstrations,
        }
    )


# -- methods


async def _proposals(present: CustomOperator, seen: Score, count: int, ask: Ask) -> tuple[list[CustomOperator], bool]:
    """The new methods that can be used, each another, and whether calls ran out."""
    prompt = improve_prompt(present, seen)
    methods: dict[str, CustomOperator] = {}
    for sample in range(count):
        try:
            answer = await ask(Role.EVOLVER, prompt, sample=sample)
        except BudgetSpent:
            return list(methods.values()), True
        except CallRefused:
            continue
        found = read_method("" if answer.fault else answer.text, present)
        if found is not None and found.method != present.method:
            methods.setdefault(found.method, found)
    return list(methods.values()), False


def improve_prompt(present: CustomOperator, seen: Score) -> Prompt:
    failures = [
        {
            "reason": (trial.failed or "").replace("_", " "),
            "before": quoted(trial.before[:_LONGEST_SHOWN]),
            "after": quoted(trial.after[:_LONGEST_SHOWN]),
        }
        for trial in seen.trials
        if trial.failed
    ]
    prompt = chat("improve", method=present.method, intent=present.intent, failures=failures[:_MOST_SHOWN])
    return replace(prompt, schema_name="method", schema=_SCHEMA)


def read_method(text: str, present: CustomOperator) -> CustomOperator | None:
    """The present operator with the method of this answer; None where there is none that can be used."""
    try:
        method = read_json(text).get("method")
        return CustomOperator.model_validate({**present.model_dump(), "method": method})
    except (Malformed, ValidationError):
        return None


# -- trials


async def try_out(operator: CustomOperator, items: Sequence[str], settings: WorkSettings, ask: Ask) -> Score:
    """Evolves and answers every item by this operator, as a run would. The same item is asked about in the same way."""
    own = settings.model_copy(update={"operators": {**settings.operators, operator.name: operator}})
    trials = await all_of(_trial(f"improve{i}", text, operator.name, own, ask) for i, text in enumerate(items))
    return Score(method=operator.method, trials=tuple(trials))


async def _trial(key: str, text: str, operator: str, settings: WorkSettings, ask: Ask) -> Trial:
    payload = ExpandPayload(tree_id=0, parent=key, children=(Child(key=key, operator=operator),))
    (child,) = (await expand(payload, ExpandTexts(parent=text, anchor=text), settings, ask)).children
    trial = Trial(item=key, before=text, after=child.text or "", failed=_reason(child), scored=_known(child))
    if trial.failed or child.text is None:
        return trial
    result = await respond(RespondPayload(tree_id=0, node=key), child.text, settings, ask)
    output = result.output or ""
    failed = _reason(result) or (ASKS_BACK if response_failed(output) else None)
    return replace(trial, response=output, failed=failed, scored=_known(result))


def _reason(result: Evolved | RespondResult) -> str | None:
    return str(result.rejected) if result.rejected else result.failed


def _known(result: Evolved | RespondResult) -> bool:
    return result.failed != Reason.BUDGET
