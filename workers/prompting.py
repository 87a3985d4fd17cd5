"""Prompts: templates and demonstrations from `workers/prompts/`, rendered for the style that an endpoint speaks.

Demonstrations are drawn by a hash of what the prompt is for, so they vary from call to call and are the same again when
a call is repeated. What was shown is returned with the prompt: a small model likes to copy it, and a guard must know.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from db.errors import ConfigError
from workers.config import Style, WorkSettings
from workers.operators.custom import CustomOperator, Origin, method_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered prompt.

    `shown` are its demonstrations, as pairs of what was given and what was made of it. `prefix` is the beginning of the
    answer where the prompt already wrote it: the answer is `prefix` and what the model goes on with. `once`: an answer
    that was cut off is taken as it is, and not asked for again with more room. `temperature` stands above the role's.
    """

    text: str
    style: Style
    system: str | None = None
    stop: tuple[str, ...] = ()
    shown: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    frequency_penalty: float | None = None
    schema_name: str | None = None
    schema: dict[str, Any] | None = None
    logprobs: int = 0
    max_tokens: int | None = None
    once: bool = False
    temperature: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One way to evolve an instruction (the paper's action): see papers.md, 1.3.

    `method` is its line in the chat prompt. A base model gets `heading`, some of the `demonstrations` (each with what
    was given, `before`, and what was made of it, `after`) and, to set it going, one of the `leads`.
    """

    name: str
    intent: str
    method: str
    heading: str
    leads: tuple[str, ...]
    origin: Origin
    demonstrations: tuple[Mapping[str, str], ...]


def _read(path: str) -> str:
    return files("workers.prompts").joinpath(path).read_text(encoding="utf-8")


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FunctionLoader(_read), undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False
    )


@cache
def operators() -> dict[str, Operator]:
    """The built-in operators by name: twelve general ones, and those that Evol-Instruct has besides."""
    return {item["name"]: _built_in(item) for item in json.loads(_read("operators.json"))}


def _built_in(item: dict[str, Any]) -> Operator:
    shown = tuple(demonstrations("evolve")[item["name"]])
    known = {**item, "leads": tuple(item["leads"]), "origin": Origin(item["origin"]), "demonstrations": shown}
    return Operator(**known)


def operator_of(name: str, settings: WorkSettings) -> Operator:
    """The operator that a run calls by this name: its own, or a built-in one.

    Raises:
        ConfigError: neither the run nor this version of the program has it.
    """
    if own := settings.operators.get(name):
        return _custom(own)
    found = operators().get(name)
    if found is None:
        raise ConfigError(f"operator {name!r} is neither built in nor part of the run: it was begun by another version")
    return found


def _custom(own: CustomOperator) -> Operator:
    return Operator(
        name=own.name,
        intent=own.intent,
        method=method_line(own.method),
        heading=own.heading,
        leads=own.leads,
        origin=own.origin,
        demonstrations=tuple({"before": shown.before, "after": shown.after} for shown in own.demonstrations),
    )


@cache
def demonstrations(name: str) -> Any:
    return json.loads(_read(f"demos/{name}.json"))


def _order(item: int, place: tuple[object, ...]) -> bytes:
    return blake2b("\x1f".join(map(str, (*place, item))).encode(), digest_size=8).digest()


def draw(items: list[Any], count: int, *place: object) -> list[Any]:
    """`count` of these items in an order that depends on `place` alone."""
    order = sorted(range(len(items)), key=lambda i: _order(i, place))
    return [items[i] for i in order[:count]]


def quoted(text: str) -> str:
    """A text that goes between the marks <<< and >>> of a template, unable to end its quotation itself."""
    return text.replace("<<<", "‹‹‹").replace(">>>", "›››")


def chat(template: str, **values: object) -> Prompt:
    """A chat prompt under the system message that all of them share."""
    return Prompt(text=render(f"chat/{template}.j2", **values), style=Style.CHAT, system=_system())


@cache
def _system() -> str:
    return render("chat/system.j2")


def render(template: str, **values: object) -> str:
    """One template with its values; a missing value raises, and nothing in a value is ever treated as a template."""
    return _environment().get_template(template).render(**values)
