"""Held-out items as they are read, and the interval of what training changed. Runs without PyTorch."""

import json
from pathlib import Path

import pytest

from db.errors import InputError
from workers.training.evaluate import ItemLoss, summarise
from workers.training.heldout import read_held_out
from workers.training.texts import LessonText


def written(folder: Path, *lines: object) -> Path:
    path = folder / "held.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines), encoding="utf-8")
    return path


def test_plain_items_and_self_instruct_seeds(tmp_path: Path) -> None:
    plain = {"instruction": "Add.", "input": "2, 3", "output": "5"}
    seed = {
        "id": "seed_task_0",
        "instruction": "Name it.",
        "instances": [{"input": "", "output": "A cat."}, {"input": "b", "output": "c"}],
    }
    assert read_held_out(written(tmp_path, plain, "", seed)) == [
        LessonText(instruction="Add.", input="2, 3", output="5"),
        LessonText(instruction="Name it.", output="A cat."),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"instruction": "Add.", "output": " "}, "line 2: no reference output; add one, or leave the item out"),
        ({"instruction": "Add.", "instances": []}, "line 2: no reference output"),
        ({"output": "5"}, "line 2: no instruction"),
        ("[1]", "line 2: expected an object, found list"),
        ("{", "line 2: not JSON; give one object a line"),
    ],
)
def test_an_item_that_cannot_be_measured_is_refused_in_one_line(tmp_path: Path, line: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read_held_out(written(tmp_path, {"instruction": "a", "output": "b"}, line))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_held_out(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no items in it"):
        read_held_out(written(tmp_path, ""))


def pair(tokens: int, before: float, after: float) -> tuple[ItemLoss, ItemLoss]:
    return ItemLoss(tokens=tokens, loss=before), ItemLoss(tokens=tokens, loss=after)


def test_losses_are_means_over_tokens_not_items() -> None:
    found = summarise([pair(30, 2.0, 1.0), pair(10, 4.0, 4.0)], skipped=1, checkpoint=Path("/s/step-000003"))
    assert (found.before, found.after, found.difference) == (2.5, 1.75, -0.75)
    assert (found.items, found.skipped, found.tokens, found.better) == (2, 1, 40, 1)
    assert (found.low, found.high) == (-1.0, 0.0)  # either item may be drawn twice


def test_the_interval_narrows_with_items_and_holds_the_truth() -> None:
    few = [pair(10, 2.0, 2.0 - 0.1 * (n % 5)) for n in range(10)]
    some = summarise(few, skipped=0, checkpoint=Path("s"))
    many = summarise(few * 20, skipped=0, checkpoint=Path("s"))
    assert some.low < many.low < -0.2 < many.high < some.high
    assert some.difference == many.difference == pytest.approx(-0.2)
