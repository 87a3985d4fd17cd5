"""What an instruction brings to its answer, by a tiny student with random weights. Needs the extra `train`."""

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("transformers", reason="the extra `train` is not installed")
pytest.importorskip("peft", reason="the extra `train` is not installed")

import torch
from torch.nn import functional

from tests.tiny_student import make_tiny_student
from workers.training.nats import brings_of
from workers.training.settings import StudentSettings
from workers.training.student import Student, load
from workers.training.texts import LessonText, encode


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    model = str(make_tiny_student(tmp_path_factory.mktemp("tiny")))
    return load(StudentSettings(model=model, device="cpu", rank=2, max_tokens=220))


def nats(student: Student, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    with torch.no_grad():
        logits = student.model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
    return float(functional.cross_entropy(logits[len(prompt) - 1 : -1].float(), torch.tensor(answer)))


@pytest.mark.parametrize("answer", ["Leaves turn light into sugar.", "x" * 400])
def test_it_is_measured_over_the_same_tokens_with_and_without(student: Student, answer: str) -> None:
    """The second answer is cut to its room behind the instruction, and then as much behind none."""
    text = LessonText(instruction="Explain photosynthesis.", output=answer)
    asked = encode(text, student.tokenizer, max_tokens=220, on_prompt=False)
    bare = encode(LessonText(instruction="", output=""), student.tokenizer, max_tokens=220, on_prompt=False).ids
    prompt, kept = asked.ids[: asked.learn_from], asked.ids[asked.learn_from :]
    found = brings_of(student, text)
    assert found == pytest.approx(nats(student, bare, kept) - nats(student, prompt, kept), abs=1e-5)
    assert found != 0


def test_an_empty_instruction_brings_nothing(student: Student) -> None:
    assert brings_of(student, LessonText(instruction="", output="Tea.")) == 0.0


def test_no_room_for_an_answer_is_no_figure(student: Student) -> None:
    long, none = LessonText(instruction="x" * 500, output="y"), LessonText(instruction="Say it.", output="")
    assert (brings_of(student, long), brings_of(student, none)) == (None, None)
