"""Operators mined from a sample of target instructions by a meta-prompt (papers.md, 1.3).

What the model says is untrusted: it is read as JSON, held to the limits of every operator from outside, and turned away
where it quotes the sample or repeats what there is. Whatever is grown with a mined operator says so by its name.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from db.errors import ServiceError
from workers.asking import Ask
from workers.config import CustomOperator, Origin, Role, WorkSettings
from workers.llm.errors import BudgetSpent, CallRefused, ModelError
from workers.llm.jsonish import Malformed, read_json
from workers.operators.custom import MINED_PREFIX
from workers.operators.spending import Spent, open_purse
from workers.prompting import Prompt, chat, draw, operators, quoted
from workers.text import clean, likeness, words

_SHOWN = 12
_LONGEST_SHOWN = 600
_AT_ONCE = 6
# A method nearer than this to another one is the same by other words.
_TWIN = 0.8
# So many words in a row with an instruction of the sample are a quotation.
_QUOTED_RUN = 7
# So many answers on end without anything new, and there is nothing more to be had.
_PATIENCE = 3
_LONGEST_STEM = 34
_TEXT = {"type": "string"}
_ITEM = {
    "type": "object",
    "properties": {"name": _TEXT, "intent": _TEXT, "method": _TEXT},
    "required": ["name", "intent", "method"],
    "additionalProperties": False,
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"operators": {"type": "array", "items": _ITEM}},
    "required": ["operators"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """What was found. `turned_away` counts proposals by the reason; `cut_short`: the limit on calls ended it."""

    operators: tuple[CustomOperator, ...]
    turned_away: Mapping[str, int]
    cut_short: bool
    spent: Spent


def mine(
    settings: WorkSettings, environment: Mapping[str, str], sample: Sequence[str], *, count: int, max_calls: int
) -> Mined:
    """Asks the evolver's endpoint, which must be able to chat, for `count` operators like the sample.

    Raises:
        ServiceError: the endpoint did not answer.
    """
    try:
        return asyncio.run(_mine(settings, environment, sample, count, max_calls))
    except ModelError as error:
        raise ServiceError(f"nothing was mined: {error}; try again when the endpoint is well") from None


async def _mine(
    settings: WorkSettings, environment: Mapping[str, str], sample: Sequence[str], count: int, max_calls: int
) -> Mined:
    async with open_purse(settings, environment, max_calls) as purse:
        found, turned_away, cut_short = await search(sample, count, purse.ask_at_length)
        return Mined(operators=found, turned_away=turned_away, cut_short=cut_short, spent=purse.spent)


async def search(
    sample: Sequence[str], count: int, ask: Ask
) -> tuple[tuple[CustomOperator, ...], Mapping[str, int], bool]:
    """Operators, proposals turned away by reason, and whether the calls ran out. Each question shows other samples."""
    found: dict[str, CustomOperator] = {}
    turned_away: Counter[str] = Counter()
    idle = asked = 0
    while len(found) < count and idle < _PATIENCE:
        prompt = mine_prompt(sample, list(found.values()), count - len(found), asked)
        try:
            answer = await ask(Role.EVOLVER, prompt, sample=asked)
        except BudgetSpent:
            return tuple(found.values()), turned_away, True
        except CallRefused:
            turned_away["its call was refused"] += 1
            idle, asked = idle + 1, asked + 1
            continue
        new, faults = read_operators(answer.text, list(found.values()), sample)
        if answer.fault:
            new, faults = [], [f"the answer is no good ({answer.fault.replace('_', ' ')})"]
        found |= {operator.name: operator for operator in new[: count - len(found)]}
        turned_away.update(faults)
        idle, asked = 0 if new else idle + 1, asked + 1
    return tuple(found.values()), turned_away, False


def mine_prompt(sample: Sequence[str], found: Sequence[CustomOperator], wanted: int, asked: int) -> Prompt:
    shown = [quoted(text[:_LONGEST_SHOWN]) for text in draw(list(sample), _SHOWN, "mine", asked)]
    known = [operator.intent for operator in operators().values()] + [quoted(operator.intent) for operator in found]
    prompt = chat("mine", instructions=shown, known=known, wanted=min(wanted, _AT_ONCE))
    return replace(prompt, schema_name="operators", schema=_SCHEMA)


def read_operators(
    text: str, found: Sequence[CustomOperator], sample: Sequence[str]
) -> tuple[list[CustomOperator], list[str]]:
    """The usable proposals of one answer, and the reasons against the others."""
    try:
        listed = read_json(text).get("operators")
    except Malformed:
        return [], ["the answer cannot be read"]
    new: list[CustomOperator] = []
    faults: list[str] = []
    runs = set().union(*map(_runs, sample))
    for item in listed[: 2 * _AT_ONCE] if isinstance(listed, list) else []:
        operator = _operator(item)
        fault = operator if isinstance(operator, str) else _fault(operator, [*found, *new], runs)
        if fault is None and isinstance(operator, CustomOperator):
            new.append(operator)
        elif fault:
            faults.append(fault)
    return new, faults if new or faults else ["the answer holds no operators"]


def _operator(item: object) -> CustomOperator | str:
    """The proposal as an operator, or why it is none."""
    if not isinstance(item, dict):
        return "it is no object"
    texts = {field: item.get(field) for field in ("name", "intent", "method")}
    if not all(isinstance(text, str) for text in texts.values()):
        return "a field is missing"
    stem = re.sub(r"[^a-z0-9]+", "-", str(texts["name"]).lower()).strip("-").removeprefix(MINED_PREFIX)
    name = MINED_PREFIX + stem[:_LONGEST_STEM].strip("-")
    told = {field: " ".join(clean(str(texts[field])).split()) for field in ("intent", "method")}
    try:
        return CustomOperator.model_validate({"name": name, **told, "origin": Origin.MINED})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].removeprefix('Value error, ')}"[:200]


def _fault(operator: CustomOperator, found: Iterable[CustomOperator], quotable: set[tuple[str, ...]]) -> str | None:
    others = [(one.name, one.method) for one in found] + [(one.name, one.method) for one in operators().values()]
    if operator.name in (name for name, _ in others):
        return "its name is taken"
    if any(likeness(operator.method, method) >= _TWIN for _, method in others):
        return "its method is that of another"
    return "it quotes the sample" if _runs(f"{operator.intent}\n{operator.method}") & quotable else None


def _runs(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + _QUOTED_RUN]) for i in range(len(found) - _QUOTED_RUN + 1)}
