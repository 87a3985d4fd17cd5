"""The data set's formats, and a file that is there whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from db.errors import ConfigError, InputError
from orchestrator.export import FORMATS, write, write_text

RECORD: dict[str, Any] = {
    "id": "night/0/abc",
    "instruction": 'Erkläre Tee.\n\n<b>面包</b> \u2028 \\ "quoted"',
    "input": "",
    "output": "Tee ist …",
    "seed": "Tee?",
    "operators": ["add-goal"],
    "depth": 1,
    "quality": 4.0,
    "diversity": 2.0,
    "complexity": 3.5,
    "reward": 9.5,
    "tags": ["tea"],
    "parent_id": "night/0/root",
    "tree": 0,
    "models": {"evolver": "m"},
    "cost": {"calls": 3, "tokens_in": 10.5, "tokens_out": 2.0, "usd": None},
}
WITH_INPUT = RECORD | {"id": "night/1/def", "instruction": "Sort these.", "input": "3 1 2", "output": "1 2 3"}
UNANSWERED = RECORD | {"id": "night/2/ghi", "instruction": "Name a tea.", "output": None}
RECORDS = [RECORD, WITH_INPUT, UNANSWERED]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]


def test_jsonl_holds_every_record_whole_one_a_line(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "dataset.jsonl"
    assert write(iter(RECORDS), "jsonl", path) == 3
    assert lines(path) == RECORDS
    assert "面包" in path.read_text(encoding="utf-8")


def test_alpaca_is_an_array_of_three_texts(tmp_path: Path):
    path = tmp_path / "a.json"
    write(RECORDS, "alpaca", path)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert rows[1] == {"instruction": "Sort these.", "input": "3 1 2", "output": "1 2 3"}
    assert [row["output"] for row in rows] == [RECORD["output"], "1 2 3", ""]


def test_sharegpt_and_messages_put_the_input_into_the_users_turn(tmp_path: Path):
    write(RECORDS, "sharegpt", tmp_path / "s.json")
    rows = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert rows[1] == {
        "id": "night/1/def",
        "conversations": [{"from": "human", "value": "Sort these.\n\n3 1 2"}, {"from": "gpt", "value": "1 2 3"}],
    }
    assert [turn["from"] for turn in rows[2]["conversations"]] == ["human"]
    write(RECORDS, "messages", tmp_path / "m.jsonl")
    rows = lines(tmp_path / "m.jsonl")
    assert rows[0]["messages"][0] == {"role": "user", "content": RECORD["instruction"]}
    assert rows[1]["messages"] == [
        {"role": "user", "content": "Sort these.\n\n3 1 2"},
        {"role": "assistant", "content": "1 2 3"},
    ]
    assert len(rows[2]["messages"]) == 1


def test_parquet_keeps_the_columns(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="writing Parquet needs the extra `export`")
    path = tmp_path / "d.parquet"
    assert write(RECORDS, "parquet", path) == 3
    rows = parquet.read_table(path).to_pylist()
    assert [row["output"] for row in rows] == [record["output"] for record in RECORDS]
    assert rows[0] == RECORD


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "parquet"])
def test_a_run_without_examples_gives_an_empty_data_set(tmp_path: Path, form: str):
    path = tmp_path / "empty"
    assert write([], form, path) == 0
    content = path.read_text(encoding="utf-8")
    assert content == "" if form in ("jsonl", "messages") else json.loads(content) == []


def test_an_unknown_format_is_named_with_those_there_are(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"unknown format 'xml'; known: jsonl, alpaca"):
        write(RECORDS, "xml", tmp_path / "d.xml")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_replaced_and_may_be_read_by_others(tmp_path: Path):
    path = tmp_path / "dataset.jsonl"
    path.write_text("old")
    write(RECORDS, "jsonl", path)
    assert len(lines(path)) == 3
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["dataset.jsonl"]


def test_when_writing_fails_the_older_file_stands_and_nothing_is_left_behind(tmp_path: Path):
    path = tmp_path / "dataset.jsonl"
    path.write_text("old")
    # A value that no JSON can hold, after one that it can.
    with pytest.raises(TypeError):
        write([RECORD, RECORD | {"quality": object()}], "jsonl", path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["dataset.jsonl"]


@pytest.mark.parametrize("place", ["folder", "file/dataset.jsonl", f"{'x' * 300}.jsonl"])
def test_a_place_that_cannot_be_written_to_is_named_in_one_line(tmp_path: Path, place: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot be written \(.+\); choose another place") as caught:
        write(RECORDS, "jsonl", tmp_path / place)
    assert "\n" not in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_forbidden_folder_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        write(RECORDS, "jsonl", tmp_path / "dataset.jsonl")


def test_a_text_is_written_whole_too(tmp_path: Path):
    write_text("<p>面包</p>", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "<p>面包</p>"
    with pytest.raises(InputError):
        write_text("x", tmp_path)
