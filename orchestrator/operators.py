"""A user's own operators: read from a TOML file at the edge, checked, and frozen with the run that uses them."""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from db.errors import ConfigError
from workers.config import (
    BUILT_IN_OPERATORS,
    CONTAMINATION,
    EVOL_OPERATORS,
    MINED_PREFIX,
    MOST_OPERATORS,
    CustomOperator,
    Origin,
    Style,
)

__all__ = [
    "BUILT_IN_OPERATORS",
    "EVOL_OPERATORS",
    "check_use",
    "default_operators",
    "load_operators",
    "mined_warning",
    "names_fault",
    "to_toml",
]

_MOST_BYTES = 1_000_000
_TABLE = "operators"
_SAID = {
    "missing": "is missing",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "enum": 'must be "user" or "mined"',
    "literal_error": 'must be "user" or "mined"',
    "model_type": "must be a table with before and after",
}


def load_operators(path: Path) -> dict[str, CustomOperator]:
    """The operators of a file, by name, in its order.

    Raises:
        ConfigError: one line that names the file, the operator, its field, and what is wrong there.
    """
    found: dict[str, CustomOperator] = {}
    for number, entry in enumerate(_entries(path), 1):
        operator = _operator(path, number, entry)
        place = f"{path}, operator {operator.name!r}, name"
        if operator.name in BUILT_IN_OPERATORS:
            raise ConfigError(f"{place}: is that of a built-in operator; choose another")
        if operator.name in found:
            raise ConfigError(f"{place}: an operator before it has the same; choose another")
        found[operator.name] = operator
    return found


def _entries(path: Path) -> list[Any]:
    data = _read(path)
    if others := sorted(set(data) - {_TABLE}):
        raise ConfigError(f"{path}: unknown entry {others[0]!r}; operators are written as [[{_TABLE}]]")
    entries = data.get(_TABLE)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: no operators in it; each one begins with [[{_TABLE}]]")
    if len(entries) > MOST_OPERATORS:
        raise ConfigError(f"{path}: {len(entries)} operators; at most {MOST_OPERATORS} are allowed")
    return entries


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: larger than {_MOST_BYTES:,} bytes; that is no file of operators")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file of operators") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML ({str(error).splitlines()[0]})") from None


def _operator(path: Path, number: int, entry: Any) -> CustomOperator:
    name = entry.get("name") if isinstance(entry, dict) else None
    place = (
        f"{path}, operator {name[:60]!r}" if isinstance(name, str) and name.strip() else f"{path}, operator {number}"
    )
    if not isinstance(entry, dict):
        raise ConfigError(f"{place}: must be a table, written as [[{_TABLE}]]")
    try:
        return CustomOperator.model_validate(entry)
    except ValidationError as error:
        raise ConfigError(f"{place}{_explained(error)}") from None


def _explained(error: ValidationError) -> str:
    """The first fault: the field, and what is wrong with it. A field beside the known ones comes first."""
    faults = error.errors(include_url=False)
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    field = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(fault["loc"][-1]), list(CustomOperator.model_fields), 1)
        return f", {field}: unknown field" + (f"; did you mean {near[0]!r}?" if near else "")
    said = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else _SAID.get(fault["type"], fault["msg"])
    return f", {field}: {said}" if field else f": {said}"


def check_use(path: Path, own: Mapping[str, CustomOperator], names: Iterable[str], style: Style) -> None:
    """Raises ConfigError where one of `names` comes from the file and an evolver of this style cannot be shown it."""
    for name in names:
        if style is Style.COMPLETION and name in own and not own[name].for_base_models:
            raise ConfigError(
                f"{path}, operator {name!r}, demonstrations: the evolver's endpoint is of style 'completion', and a "
                "base model needs them (and a heading); give some, or use a chat endpoint"
            )


def names_fault(names: Sequence[str], own: Mapping[str, CustomOperator]) -> str | None:
    """What is wrong with a run's list of operators, if anything."""
    known = (*BUILT_IN_OPERATORS, *own)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            return f"unknown operator {name!r}: {hint}known: {', '.join(known)}"
    return None if names and len(set(names)) == len(names) else "needs at least one operator, none twice"


def default_operators(base: Sequence[str], own: Mapping[str, CustomOperator]) -> tuple[str, ...]:
    """What a run uses when it names none: the recipe's, and a user's own. Mined ones must be named (papers.md, 1.3)."""
    return (*base, *(name for name, operator in own.items() if operator.origin is not Origin.MINED))


def mined_warning(names: Iterable[str]) -> str | None:
    """What to say before a run that uses mined operators, if it does."""
    mined = [name for name in names if name.startswith(MINED_PREFIX)]
    return f"{CONTAMINATION}\nin use: {', '.join(mined)}" if mined else None


def to_toml(operators: Iterable[CustomOperator], *remarks: str) -> str:
    """A file of operators as `load_operators` reads it, each remark a comment at its head."""
    head = "".join(f"# {line}\n" for remark in remarks for line in remark.splitlines())
    return "\n".join([head, *map(_table, operators)]) if head else "\n".join(map(_table, operators))


def _table(operator: CustomOperator) -> str:
    lines = [f"[[{_TABLE}]]"]
    for field in ("name", "origin", "intent", "method", "heading"):
        if value := getattr(operator, field):
            lines.append(f"{field} = {_quoted(value)}")
    if operator.leads:
        lines.append(f"leads = [{', '.join(map(_quoted, operator.leads))}]")
    if operator.demonstrations:
        shown = (
            f"  {{ before = {_quoted(d.before)}, after = {_quoted(d.after)} }},\n" for d in operator.demonstrations
        )
        lines.append(f"demonstrations = [\n{''.join(shown)}]")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """JSON's escapes are TOML's; control characters, where the two differ, are in no operator."""
    return json.dumps(str(text), ensure_ascii=False)
