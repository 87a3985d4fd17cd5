"""The data set: rows with their lineage, in the format a trainer asks for, written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from db import examples
from db.errors import ConfigError, InputError
from db.records import Run
from orchestrator.generation.settings import POOLS
from orchestrator.seeds import Seed
from workers.config import NUSD_PER_USD

Record = dict[str, Any]


def rows_of(connection: Connection, run: Run) -> list[Record]:
    """One record per accepted example: text, where it comes from, models, and its price.

    Of a tree: its seed, the operators from there to it, its scores. Of a pool: the demonstrations it came of.
    """
    if run.recipe in POOLS:
        return [_instance(run, row) for row in examples.exportable_of_pool(connection, run.id)]
    return [_record(run, row) for row in examples.exportable(connection, run.id)]


def _instance(run: Run, row: Row[Any]) -> Record:
    return {
        "id": f"{run.name}/{row.ordinal}/{row.instance}",
        "instruction": row.instruction,
        "input": row.input,
        "output": row.output,
        "is_classification": row.is_classification,
        "round": row.round,
        "parent_ids": [f"{run.name}/{ordinal}" for ordinal in row.shown],
        "models": dict(row.models or {}),
        "cost": _cost(row),
    }


def _cost(row: Row[Any]) -> Record:
    return {
        "calls": row.calls or 0,
        "tokens_in": round(row.tokens_in or 0, 2),
        "tokens_out": round(row.tokens_out or 0, 2),
        "usd": None if row.nusd is None else row.nusd / NUSD_PER_USD,
    }


def _record(run: Run, row: Row[Any]) -> Record:
    return {
        "id": f"{run.name}/{row.tree}/{row.node_key}",
        "instruction": row.instruction,
        "input": row.input,
        "output": row.output,
        "seed": Seed(**row.seed).text,
        "operators": list(row.operators or ()),
        "depth": row.depth,
        "quality": row.quality,
        "diversity": row.diversity,
        "complexity": row.complexity,
        "reward": row.reward,
        "tags": list(row.tags),
        "parent_id": f"{run.name}/{row.tree}/{row.parent_key}",
        "tree": row.tree,
        "models": dict(row.models or {}),
        "cost": _cost(row),
    }


def _alpaca(record: Mapping[str, Any]) -> Record:
    return {key: record[key] or "" for key in ("instruction", "input", "output")}


def _prompt(record: Mapping[str, Any]) -> str:
    return f"{record['instruction']}\n\n{record['input']}" if record["input"] else str(record["instruction"])


def _sharegpt(record: Mapping[str, Any]) -> Record:
    turns = [{"from": "human", "value": _prompt(record)}]
    if record["output"]:
        turns.append({"from": "gpt", "value": record["output"]})
    return {"id": record["id"], "conversations": turns}


def _messages(record: Mapping[str, Any]) -> Record:
    turns = [{"role": "user", "content": _prompt(record)}]
    if record["output"]:
        turns.append({"role": "assistant", "content": record["output"]})
    return {"messages": turns}


_SHAPES: dict[str, Callable[[Mapping[str, Any]], Record]] = {
    "jsonl": dict,
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "messages": _messages,
    "parquet": dict,
}
FORMATS = tuple(_SHAPES)
# What the trainers that invented these formats read: one JSON array.
_ARRAYS = ("alpaca", "sharegpt")


def write(records: Iterable[Record], form: str, path: Path) -> int:
    """Writes the records; the file appears only when it is complete. Returns their number.

    Raises:
        ConfigError: an unknown format.
        InputError: the place cannot be written to.
    """
    if form not in _SHAPES:
        raise ConfigError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")
    shaped = [_SHAPES[form](record) for record in records]
    _replace(path, lambda temporary: _write_shaped(shaped, form, temporary))
    return len(shaped)


def check_folder(folder: Path) -> None:
    """Raises InputError when results cannot go there, so that nobody learns it after a night."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"--out {folder}: {there} is not a folder; choose another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: nothing can be written in {there}; choose another place")


def write_text(text: str, path: Path) -> None:
    """Writes a whole file at once. Raises InputError when the place cannot be written to."""
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _replace(path: Path, fill: Callable[[Path], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            fill(temporary)
            # A temporary file is private; the data set is the user's to share.
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _write_shaped(shaped: list[Record], form: str, path: Path) -> None:
    if form == "parquet":
        _write_parquet(shaped, path)
    elif form in _ARRAYS:
        path.write_text(json.dumps(shaped, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    else:
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in shaped)
        path.write_text("".join(lines), encoding="utf-8")


def _write_parquet(shaped: list[Record], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("writing Parquet needs pip install 'instructree[export]'") from None
    parquet.write_table(pyarrow.Table.from_pylist(shaped), path)
