"""What a completion lists: instructions, whole tasks, instances. Small models number, mark and label as they please."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workers.contracts import Instance

# "9.", "9)", "(9)", "Task 9:", "**9.** ", "- ", "• ". A number with decimals or of a year begins no item.
_NUMBER = re.compile(
    r"\s*(?:[-*•–]\s+)?\**(?:(?:task|instruction|item)\s*)?[(#]?\d{1,3}\**\s?(?:[.):]|\s[-–])\**(?=\s|$|[^\s\d.)])\s*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\s*(?:[-*•–]\s+|#{1,4}\s+)")
_BOLD = re.compile(r"(?<!\S)\*\*(?=\S)(.+?)(?<=\S)\*\*(?!\w)")
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"), ("「", "」"))
_RULE = re.compile(r"^[ \t]*#{3,}[ \t]*$", re.MULTILINE)
_FIELD = re.compile(
    r"[ \t]*\**(?:\d{1,3}[.)]?[ \t]*)?\**"
    r"(?:(?P<example>example|instance)[ \t]*\d*|(?P<instruction>instruction|task)|(?P<input>input)"
    r"|(?P<output>output|answer|(?:class[ \t]*)?label))"
    r"[ \t]*\d{0,2}[ \t]*\**(?:[:：]\**|(?(example)[ \t]*$|(?!)))[ \t]*",
    re.IGNORECASE,
)
_NO_INPUT = re.compile(
    r"[\W_]*(?:none|no\s?input|n/?a|empty|not (?:needed|applicable)|no input (?:needed|required))[\W_]*"
)
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A whole task of Alpaca's list. `output` is empty where the model wrote none."""

    instruction: str
    input: str = ""
    output: str = ""


def squeezed(text: str) -> str:
    """One line, without the colon at its end, as the published code shows and takes instructions."""
    return " ".join(text.split()).rstrip(":：").rstrip()


def listed(text: str) -> list[str]:
    """The items of a numbered or marked list, or else its lines; none is empty.

    A line without a mark goes on with the item above it, an empty one ends the item. What comes before the first
    number ("Sure, here are some tasks:") is no item.
    """
    lines = text.splitlines()
    mark = next((mark for mark in (_NUMBER, _BULLET) if any(mark.match(line) for line in lines)), None)
    items = lines if mark is None else _marked(lines, mark)
    found = (squeezed(_bare(item)) for item in items if not (mark is None and item.rstrip().endswith((":", "："))))
    return [item for item in found if item]


def _marked(lines: list[str], mark: re.Pattern[str]) -> list[str]:
    items: list[list[str]] = []
    open_item = False
    for line in lines:
        if begun := mark.match(line):
            items.append([line[begun.end() :]])
            open_item = True
        elif not line.strip():
            open_item = False
        elif open_item:
            items[-1].append(line)
    return ["\n".join(item) for item in items]


def _bare(item: str) -> str:
    """Without emphasis, and without marks of quotation round the whole of it."""
    text = _BOLD.sub(r"\1", item.strip()).removeprefix("<<<").removesuffix(">>>")
    for opening, closing in _QUOTES:
        if len(text) > 2 and text.startswith(opening) and text.endswith(closing) and opening not in text[1:-1]:
            text = text[1:-1]
    return text.strip()


def tasks(text: str) -> list[Task]:
    """The tasks of Alpaca's list, between lines of ###, each with its labelled fields. Without an instruction: none."""
    found = (dict(_fields(block)) for block in _RULE.split(text))
    return [
        Task(
            instruction=squeezed(_bare(fields["instruction"])),
            input=_input(fields.get("input", "")),
            output=fields.get("output", ""),
        )
        for fields in found
        if squeezed(_bare(fields.get("instruction", "")))
    ]


def instances(text: str, *, output_first: bool) -> list[Instance]:
    """The examples of one task, in which every field has its label. A field that is missing is empty."""
    first = "output" if output_first else "input"
    found: list[dict[str, str]] = [{}]
    for name, said in _fields(text):
        if name == "instruction":
            break  # another task: the model has gone on with its prompt
        begun = found[-1]
        if name == "example" or name in begun or (name == first and begun):
            found.append({})
        if name != "example":
            found[-1][name] = said
    return [Instance(input=_input(one.get("input", "")), output=one.get("output", "")) for one in found if one]


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Label and text of each field, in their order. What comes before the first label belongs to none."""
    name: str | None = None
    said: list[str] = []
    for line in text.splitlines():
        label = _FIELD.match(line)
        if label is None:
            said.append(line)
            continue
        if name:
            yield name, "\n".join(said).strip()
        name, said = str(label.lastgroup), [line[label.end() :]]
    if name:
        yield name, "\n".join(said).strip()


def _input(text: str) -> str:
    """Nothing, where the model says that there is nothing."""
    return "" if _NO_INPUT.fullmatch(text.lower()) or not any(map(str.isalnum, text)) else text


def says_yes(text: str) -> bool | None:
    """The verdict of a question for yes or no; None where there is none."""
    found = _YES_NO.search(text)
    return None if found is None else found[1].lower() == "yes"
