"""Reading seeds: what is accepted, and what a user is told when it is not."""

import json
from pathlib import Path

import pytest

from db.errors import InputError
from orchestrator.seeds import Seed, load_answered, load_seeds


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"instruction": "Name a river."}\n\n{"prompt": "Name a lake."}\n'),
        ("a.jsonl", '"Name a river."\n"Name a lake."\n'),
        ("a.json", '[{"question": "Name a river."}, "Name a lake."]'),
        ("a.csv", "instruction,other\nName a river.,x\nName a lake.,y\n"),
        ("a.txt", "Name a river.\n\nName a lake.\n"),
        (
            "a.jsonl",
            '{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "Name a river."}]}\n'
            '{"conversations": [{"from": "human", "value": "Name a lake."}]}\n',
        ),
        ("a.jsonl", b'\xef\xbb\xbf{"instruction": "Name a river."}\r\n{"instruction": "Name a lake."}\r\n'),
    ],
)
def test_every_kind_of_file_gives_its_instructions(tmp_path: Path, name: str, content: str | bytes):
    seeds = load_seeds(write(tmp_path, name, content))
    assert [seed.text for seed in seeds.seeds] == ["Name a river.", "Name a lake."]
    assert seeds.duplicates == 0


def test_parquet_is_read(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `export` is not installed")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"instruction": "Name a river."}]), path)
    assert load_seeds(path).seeds[0].instruction == "Name a river."
    with pytest.raises(InputError, match="not a Parquet file"):
        load_seeds(write(tmp_path, "b.parquet", "no"))


def test_duplicates_are_kept_once_and_counted(tmp_path: Path):
    path = write(tmp_path, "a.txt", "Name a river.\nname  a river.\nName a lake.\n")
    seeds = load_seeds(path)
    assert (len(seeds.seeds), seeds.duplicates) == (2, 1)


def test_an_input_belongs_to_the_text_that_is_evolved(tmp_path: Path):
    rows = [
        {"instruction": "Sum these.", "input": "1, 2"},
        {"instruction": "Sort these.", "instances": [{"input": "b, a", "output": "a, b"}]},
    ]
    path = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [seed.text for seed in load_seeds(path).seeds] == ["Sum these.\n\n1, 2", "Sort these.\n\nb, a"]


def test_the_field_can_be_named(tmp_path: Path):
    path = write(tmp_path, "a.jsonl", '{"task": "Name a river.", "text": "no"}')
    assert load_seeds(path, "task").seeds[0].text == "Name a river."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "nothing in it"),
        ("a.json", "[]", "nothing in it"),
        ("a.docx", "x", r"unknown kind of file; use one of .csv, .json"),
        ("a.jsonl", '{"instruction": "x"}\n{nope}\n', "line 2: not JSON"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"instruction": "x"}', "expected a list of seeds, found dict"),
        ("a.jsonl", '{"foo": "x"}', r"line 1: no instruction .*--field"),
        ("a.jsonl", "7", "line 1: expected an object or a text, found int"),
        ("a.jsonl", '{"instruction": 7}', "line 1: the instruction is neither"),
        ("a.jsonl", '{"instruction": "  "}', "line 1: the instruction is empty"),
        ("a.jsonl", '{"instruction": ""}', "line 1: the instruction is empty"),
        ("a.jsonl", '{"instruction": "' + "x" * 8001 + '"}', "8001 characters; an instruction may have 8000"),
        ("a.jsonl", '{"instruction": "a\\u0000b"}', "NUL"),
        ("a.jsonl", '{"instruction": "a\\ud800b"}', "lone surrogate"),
        ("a.jsonl", '{"instruction": "a", "input": 7}', "its input is not a text"),
        (
            "a.jsonl",
            '{"instruction": "a", "output": "' + "x" * 8001 + '"}',
            "its output may have 8000",
        ),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.csv", b"instruction\n\xff\xff\n", "not UTF-8"),
    ],
)
def test_bad_input_is_named_in_one_line(tmp_path: Path, name: str, content: str | bytes, message: str):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as error:
        load_seeds(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_seeds(tmp_path / "none.jsonl")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(InputError, match="no such file"):
        load_seeds(tmp_path / "folder.txt")


def test_a_field_that_no_row_has_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no field 'task'"):
        load_seeds(write(tmp_path, "a.jsonl", '{"instruction": "x"}'), "task")


def test_reference_answers_of_plain_items_and_of_self_instruct_seeds(tmp_path: Path):
    rows = [
        {"instruction": "Add.", "input": "2, 3", "output": "5"},
        {
            "id": "seed_task_0",
            "instruction": "Name it.",
            "instances": [{"input": "", "output": "A cat."}, {"input": "b", "output": "c"}],
        },
    ]
    path = write(tmp_path, "held.jsonl", "\n\n".join(map(json.dumps, rows)))
    assert load_answered(path) == (
        Seed(instruction="Add.", input="2, 3", output="5"),
        Seed(instruction="Name it.", output="A cat."),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"instruction": "Add.", "output": " "}', "line 2: no reference output; add one, or leave the item out"),
        ('{"instruction": "Add.", "instances": []}', "line 2: no reference output"),
        ('"Add."', "line 2: no reference output"),
        ('{"output": "5"}', "line 2: no instruction"),
        ("[1]", "line 2: expected an object or a text, found list"),
        ("{", "line 2: not JSON"),
    ],
)
def test_an_item_without_a_reference_answer_is_refused_in_one_line(tmp_path: Path, line: str, said: str):
    path = write(tmp_path, "held.jsonl", '{"instruction": "a", "output": "b"}\n' + line)
    with pytest.raises(InputError, match=said) as refused:
        load_answered(path)
    assert "\n" not in str(refused.value)
