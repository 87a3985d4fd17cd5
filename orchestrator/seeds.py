"""Seeds: read from the user's file, checked row by row, each kept once."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.errors import InputError

FIELDS = ("instruction", "prompt", "question", "query", "messages", "conversations", "text")
LONGEST = 8000

# A row of the file: where it stands (for messages to the user), and what it holds.
Row = tuple[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One seed. `input` is the material it works on; the tree grows from both together, as Evol-Instruct does.

    `output` is the reference answer, if the file has one: what prompts that show whole tasks need.
    """

    instruction: str
    input: str = ""
    output: str = ""

    @property
    def text(self) -> str:
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction

    def row(self) -> dict[str, str]:
        answered = {"output": self.output} if self.output else {}
        return {"instruction": self.instruction, "input": self.input, **answered}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    seeds: tuple[Seed, ...]
    duplicates: int


def load_seeds(path: Path, field: str | None = None) -> Seeds:
    """The seeds of a `.jsonl`, `.json`, `.csv`, `.txt` or `.parquet` file.

    Raises:
        InputError: the file or one of its rows cannot be used; the message names the place and the cure.
    """
    return _unique(_seed(place, value, field) for place, value in _rows(path))


def load_answered(path: Path) -> tuple[Seed, ...]:
    """The same where each must have its reference answer.

    Raises:
        InputError: the file or one of its rows cannot be used; the message names the place and the cure.
    """
    return _unique(_answered(place, value) for place, value in _rows(path)).seeds


def _answered(place: str, value: Any) -> Seed:
    seed = _seed(place, value, None)
    if not seed.output:
        raise InputError(f"{place}: no reference output; add one, or leave the item out")
    return seed


def _rows(path: Path) -> list[Row]:
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path}: unknown kind of file; use one of {', '.join(sorted(_READERS))}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        rows = [(f"{path}, {place}", value) for place, value in read(path)]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not rows:
        raise InputError(f"{path}: nothing in it; give at least one instruction")
    return rows


def _unique(seeds: Iterable[Seed]) -> Seeds:
    kept: dict[str, Seed] = {}
    count = 0
    for seed in seeds:
        count += 1
        kept.setdefault(" ".join(seed.text.split()).casefold(), seed)
    return Seeds(seeds=tuple(kept.values()), duplicates=count - len(kept))


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(f"{path}, line {number}: not JSON ({_cause(error)})") from None


def _cause(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deep" if isinstance(error, RecursionError) else "number too long"


def _read_json(path: Path) -> Iterator[Row]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise InputError(f"{path}: not JSON ({_cause(error)})") from None
    if not isinstance(data, list):
        raise InputError(f"{path}: expected a list of seeds, found {type(data).__name__}")
    return ((f"item {i}", value) for i, value in enumerate(data, 1))


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                yield f"line {reader.line_num}", row
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def _read_txt(path: Path) -> Iterator[Row]:
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return ((f"line {i}", line) for i, line in enumerate(lines, 1) if line.strip())


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise InputError(f"{path}: reading Parquet needs pip install 'instructree[export]'") from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except ArrowInvalid:
        raise InputError(f"{path}: not a Parquet file") from None
    return ((f"row {i}", row) for i, row in enumerate(rows, 1))


_READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".txt": _read_txt,
    ".parquet": _read_parquet,
}


def _seed(place: str, value: Any, field: str | None) -> Seed:
    if isinstance(value, str):
        return Seed(instruction=_checked(place, value))
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected an object or a text, found {type(value).__name__}")
    known = [name for name in FIELDS if name in value]
    name = field or next((name for name in known if value[name]), known[0] if known else None)
    if name is None or name not in value:
        missing = f"no field {field!r}" if field else f"no instruction (looked for {', '.join(FIELDS)})"
        raise InputError(f"{place}: {missing}; name the field with --field")
    instruction = _checked(place, _instruction(place, value[name]))
    extra, answer = (value.get(part) or _first_instance(value, part) for part in ("input", "output"))
    seed = Seed(
        instruction=instruction,
        input=_checked_part(place, "input", extra),
        output=_checked_part(place, "output", answer),
    )
    _checked(place, seed.text)
    return seed


def _instruction(place: str, value: Any) -> str:
    """A text, or the first user turn of a list of messages."""
    if value is None or isinstance(value, str):
        return value or ""
    for message in value if isinstance(value, list) else []:
        if isinstance(message, dict) and message.get("role", message.get("from")) in ("user", "human"):
            content = message.get("content", message.get("value"))
            if isinstance(content, str):
                return content
    raise InputError(f"{place}: the instruction is neither a text nor messages with a user turn")


def _first_instance(value: dict[str, Any], part: str) -> Any:
    """Self-Instruct seeds keep their inputs and outputs in `instances`."""
    instances = value.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    return first.get(part) if isinstance(first, dict) else None


def _checked_part(place: str, part: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place}: its {part} is not a text")
    return _checked(place, value, f"its {part}") if value.strip() else ""


def _checked(place: str, text: str, what: str = "an instruction") -> str:
    text = text.strip()
    if not text:
        raise InputError(f"{place}: the instruction is empty")
    if len(text) > LONGEST:
        raise InputError(f"{place}: {len(text)} characters; {what} may have {LONGEST}")
    if "\x00" in text:
        raise InputError(f"{place}: holds a NUL byte; remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{place}: holds a lone surrogate; it is not valid text")
    return text
