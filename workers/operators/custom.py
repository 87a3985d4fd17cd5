"""The names of the operators, and operators that are no part of this program: a user's own, or mined by a model.

A custom operator is data from outside. Its texts are put into prompts as values and never read as templates; the one
placeholder, `{instruction}`, is replaced by the prompt's own words for the text to be evolved.
"""

import re
import unicodedata
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

GENERAL_OPERATORS = (
    "add-goal",
    "add-constraint",
    "add-requirements",
    "problem-solving",
    "deepen-reasoning",
    "domain-knowledge",
    "everyday-life",
    "real-world",
    "emotion",
    "input-format",
    "output-format",
    "brand-new",
)
# The six of Evol-Instruct (papers.md, 3.3). Three are general ones by another name: add constraints, increase
# reasoning steps (deepen-reasoning) and in-breadth (brand-new).
EVOL_OPERATORS = (
    "add-constraint",
    "deepen",
    "concretize",
    "deepen-reasoning",
    "complicate-input",
    "brand-new",
)
BUILT_IN_OPERATORS = tuple(dict.fromkeys((*GENERAL_OPERATORS, *EVOL_OPERATORS)))

# Whoever reads a data set, a report or a log sees by the name that an operator was mined.
MINED_PREFIX = "mined-"
CONTAMINATION = (
    "warning: these operators were mined from a sample of instructions. Where that sample comes from a set that a\n"
    "model will be evaluated on, or is close to one, everything grown with them is contaminated, and results on that\n"
    "set say nothing. No run uses them unless search.operators names them; their names, which every row of a data set\n"
    'keeps in its path of operators, begin with "mined-".'
)
PLACEHOLDER = "{instruction}"
GIVEN = "#The Given Prompt#"
MOST_OPERATORS = 64

_LONGEST_NAME, _LONGEST_INTENT, _LONGEST_METHOD = 40, 300, 2000
_LONGEST_HEADING, _LONGEST_LEAD, _LONGEST_TEXT = 100, 80, 1500
_MOST_LEADS, _MOST_DEMONSTRATIONS = 8, 16
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_ENGINE = re.compile(r"\{\{|\{%|\{#|%\}")
# What str.format and its like would take for a field; JSON such as {"a": 1} is text.
_FIELD = re.compile(r"\{\s*\w*(?:[.\[!:][^{}\s]*)?\s*\}")
_QUOTATION = re.compile(r"<<<|>>>")


class Origin(StrEnum):
    """Where an operator comes from."""

    GENERAL = "general"
    EVOL = "evol"
    USER = "user"
    MINED = "mined"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Demonstration(_Data):
    """An instruction and what the operator makes of it, one line each, for base models."""

    before: str
    after: str

    @field_validator("before", "after")
    @classmethod
    def _text(cls, text: str) -> str:
        return one_line(text, _LONGEST_TEXT)

    @model_validator(mode="after")
    def _differs(self) -> "Demonstration":
        if self.before == self.after:
            raise ValueError("before and after are the same")
        return self


class CustomOperator(_Data):
    """One operator of a user's file. A base model needs `heading` and `demonstrations` besides; `leads` help it."""

    name: str
    intent: str
    method: str
    origin: Literal[Origin.USER, Origin.MINED] = Origin.USER
    heading: str = ""
    leads: tuple[str, ...] = ()
    demonstrations: tuple[Demonstration, ...] = ()

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            raise ValueError(f"must be small letters, digits and single hyphens, at most {_LONGEST_NAME} of them")
        return name

    @field_validator("intent")
    @classmethod
    def _intent(cls, text: str) -> str:
        return one_line(text, _LONGEST_INTENT)

    @field_validator("method")
    @classmethod
    def _method(cls, text: str) -> str:
        text = _plain(text, _LONGEST_METHOD)
        if fault := placeholder_fault(text):
            raise ValueError(fault)
        return text

    @field_validator("heading")
    @classmethod
    def _heading(cls, text: str) -> str:
        if text and ":" in one_line(text, _LONGEST_HEADING):
            raise ValueError("must not hold a colon: the prompt puts one after it")
        return text.strip()

    @field_validator("leads")
    @classmethod
    def _leads(cls, leads: tuple[str, ...]) -> tuple[str, ...]:
        if len(leads) > _MOST_LEADS:
            raise ValueError(f"there are {len(leads)}; at most {_MOST_LEADS} are allowed")
        return tuple(one_line(lead, _LONGEST_LEAD) for lead in leads)

    @field_validator("demonstrations")
    @classmethod
    def _demonstrations(cls, shown: tuple[Demonstration, ...]) -> tuple[Demonstration, ...]:
        if len(shown) > _MOST_DEMONSTRATIONS:
            raise ValueError(f"there are {len(shown)}; at most {_MOST_DEMONSTRATIONS} are allowed")
        return shown

    @model_validator(mode="after")
    def _fits_together(self) -> "CustomOperator":
        if self.name.startswith(MINED_PREFIX) != (self.origin is Origin.MINED):
            raise ValueError(f'the names of operators of origin "mined", and no others, begin with {MINED_PREFIX}')
        if self.demonstrations and not self.heading:
            raise ValueError("demonstrations need a heading: the line that stands before what was made")
        return self

    @property
    def for_base_models(self) -> bool:
        return bool(self.demonstrations)


def one_line(text: str, longest: int) -> str:
    """The text without spaces around it. Raises ValueError with what is wrong with it."""
    text = _plain(text, longest)
    if "\n" in text:
        raise ValueError("must be one line")
    return text


def _plain(text: str, longest: int) -> str:
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise ValueError("is empty")
    if len(text) > longest:
        raise ValueError(f"has {len(text)} characters; at most {longest} are allowed")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text if c != "\n"):
        raise ValueError("holds a control character or a lone surrogate")
    if mark := _QUOTATION.search(text):
        raise ValueError(f"must not hold {mark.group()}: it marks quotations in our prompts")
    return text


def placeholder_fault(method: str) -> str | None:
    """What is wrong with the braces of a method, if anything. Nothing is rendered to find out."""
    if found := _ENGINE.search(method):
        return f"{found.group()} belongs to a template language; the only placeholder is {PLACEHOLDER}"
    for field in _FIELD.findall(method):
        if field != PLACEHOLDER:
            return f"unknown placeholder {field}; the only one is {PLACEHOLDER}"
    depth = 0
    for brace in re.findall(r"[{}]", method):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return "a } without its {"
    return "a { without its }" if depth else None


def method_line(method: str) -> str:
    """The method as the prompt shows it."""
    return method.replace(PLACEHOLDER, GIVEN)
