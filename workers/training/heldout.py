"""Held-out instructions with reference answers, as a user's file has them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db.errors import InputError
from workers.training.texts import LessonText


def read_held_out(path: Path) -> list[LessonText]:
    """Items with `instruction`, `input` and `output`, or Self-Instruct's with `instances`, of which the first counts.

    Raises:
        InputError: the file or one of its items cannot be used; the message names the line and the cure.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); give a JSONL file in UTF-8") from None
    found = list(_items(path, lines))
    if not found:
        raise InputError(f"{path}: no items in it; give at least one instruction with its output")
    return found


def _items(path: Path, lines: list[str]) -> Iterator[LessonText]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                yield _item(place, json.loads(line))
            except (ValueError, RecursionError):
                raise InputError(f"{place}: not JSON; give one object a line") from None


def _item(place: str, value: Any) -> LessonText:
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected an object, found {type(value).__name__}")
    instances = value.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else value
    held = first if isinstance(first, dict) else {}
    instruction, given, output = value.get("instruction"), held.get("input"), held.get("output")
    if not isinstance(instruction, str) or not instruction.strip():
        raise InputError(f"{place}: no instruction")
    if not isinstance(output, str) or not output.strip():
        raise InputError(f"{place}: no reference output; add one, or leave the item out")
    material = given.strip() if isinstance(given, str) else ""
    return LessonText(instruction=instruction.strip(), input=material, output=output.strip())
