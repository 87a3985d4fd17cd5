"""A tiny student with random weights, made here: steps, norms, resuming, NaN. Needs the extra `train`."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("transformers", reason="the extra `train` is not installed")
pytest.importorskip("peft", reason="the extra `train` is not installed")

import torch
from torch.nn import functional

from tests.tiny_student import make_tiny_student
from workers.bodies import train as body
from workers.config import WorkSettings
from workers.contracts import Batch, Reason, Step, TrainPayload
from workers.training import evaluate
from workers.training.answers import answers
from workers.training.errors import MachineUnfit, StudentUnusable
from workers.training.nats import brings_of
from workers.training.settings import StudentSettings
from workers.training.steps import Learner, begin, take_step
from workers.training.student import check_student, load
from workers.training.texts import LessonText, encode

ENDPOINTS = {"default": {"model": "m"}}
TEXTS = {
    number: LessonText(instruction=f"Say {word}.", input="now" if number % 2 else "", output=f"{word}, {word}!")
    for number, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight"))
}
BATCHES = tuple(Batch(ordinal=n, members=(2 * n, 2 * n + 1)) for n in range(4))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_student(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def _no_student_stays() -> Any:
    body.forget()
    yield
    body.forget()


def settings(folder: Path, **options: Any) -> StudentSettings:
    return StudentSettings.model_validate({"model": str(folder), "device": "cpu", "rank": 2, **options})


def work(student: StudentSettings) -> WorkSettings:
    return WorkSettings.model_validate({"endpoints": ENDPOINTS, "student": student.model_dump()})


def payload(step: int, *batches: Batch) -> TrainPayload:
    return TrainPayload(round=step, step=step, batches=batches)


def figures(steps: tuple[Step, ...]) -> list[dict[str, object]]:
    """All that a step said, to the last bit, but for the time that it took."""
    return [{**one.model_dump(), "seconds": 0} for one in steps]


def weights(learner: Learner) -> list[torch.Tensor]:
    return [one.detach().clone() for one in learner.student.trained]


def by_hand(learner: Learner, members: tuple[int, ...]) -> tuple[float, float, list[float], list[float]]:
    """Loss and norm of a batch, and of each of its instructions, by one plain autograd graph over all of them."""
    student = learner.student
    losses, norms, counts = [], [], []
    for member in members:
        encoded = encode(TEXTS[member], student.tokenizer, max_tokens=384, on_prompt=False)
        ids = torch.tensor([encoded.ids])
        logits = student.model(ids).logits[0]
        chosen = range(encoded.learn_from, len(encoded.ids))
        losses.append(torch.stack([-functional.log_softmax(logits[at - 1], -1)[ids[0, at]] for at in chosen]).mean())
        gradients = torch.autograd.grad(losses[-1], student.trained, retain_graph=True)
        norms.append(math.sqrt(sum(float((one**2).sum()) for one in gradients)))
        counts.append(len(chosen))
    whole = sum(count * loss for count, loss in zip(counts, losses, strict=True)) / sum(counts)
    gradients = torch.autograd.grad(whole, student.trained)
    norm = math.sqrt(sum(float((one**2).sum()) for one in gradients))
    return float(whole.detach()), norm, [float(loss.detach()) for loss in losses], norms


@pytest.mark.parametrize("method", ["lora", "full"])
def test_losses_and_norms_are_those_of_plain_autograd(tiny: Path, method: str) -> None:
    learner = begin(settings(tiny, method=method, clip=1e-3))
    take_step(learner, BATCHES[1], 0, TEXTS)  # adapters start at zero; one step on, both of their halves have gradients
    loss, norm, losses, norms = by_hand(learner, BATCHES[0].members)
    step = take_step(learner, BATCHES[0], 1, TEXTS)
    assert step.loss == pytest.approx(loss, rel=1e-4)
    assert step.gradient_norm == pytest.approx(norm, rel=1e-4) and norm > learner.student.settings.clip
    assert [one.loss for one in step.lessons] == pytest.approx(losses, rel=1e-4)
    assert [one.gradient_norm for one in step.lessons] == pytest.approx(norms, rel=1e-4)
    assert [one.tokens for one in step.lessons] == [len(TEXTS[n].output) + 1 for n in BATCHES[0].members]


def test_training_lowers_the_loss_and_moves_the_adapter_only(tiny: Path) -> None:
    learner = begin(settings(tiny, learning_rate=1e-2))
    frozen = {name: one.clone() for name, one in learner.student.model.named_parameters() if not one.requires_grad}
    heard = [take_step(learner, BATCHES[0], number, TEXTS).loss for number in range(20)]
    assert heard[0] is not None and heard[-1] is not None and heard[-1] < heard[0] - 0.1
    for name, one in learner.student.model.named_parameters():
        assert name not in frozen or torch.equal(one, frozen[name])


def test_on_prompt_counts_all_but_the_first_token(tiny: Path) -> None:
    tokenizer = load(settings(tiny)).tokenizer
    whole = encode(TEXTS[0], tokenizer, max_tokens=384, on_prompt=True)
    answer = encode(TEXTS[0], tokenizer, max_tokens=384, on_prompt=False)
    assert whole.ids == answer.ids and whole.tokens == len(whole.ids) - 1
    assert tokenizer.decode(answer.ids[answer.learn_from :]) == TEXTS[0].output + "<end>"
    assert tokenizer.decode(answer.ids).startswith("Below is an instruction that describes a task. Write")


def test_a_chat_template_is_used_where_there_is_one(tiny: Path) -> None:
    tokenizer = load(settings(tiny)).tokenizer
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant] "
    encoded = encode(TEXTS[1], tokenizer, max_tokens=384, on_prompt=False)
    assert tokenizer.decode(encoded.ids) == "[user] Say two.\n\nnow [assistant] two, two!<end>"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_task_is_taken_up_where_it_was_to_the_last_bit(tiny: Path, tmp_path: Path, method: str) -> None:
    run = work(settings(tiny, method=method))
    whole = body.train(payload(0, *BATCHES), TEXTS, run, tmp_path / "whole")
    body.forget()
    first = body.train(payload(0, *BATCHES[:2]), TEXTS, run, tmp_path / "cut")
    half = tmp_path / "cut" / ".step-000002.dead.new"
    half.mkdir()
    body.forget()
    again = body.train(payload(0, *BATCHES), TEXTS, run, tmp_path / "cut")
    assert (first.replayed, again.replayed, whole.replayed) == (0, 2, 0)
    assert again.steps[:2] == first.steps
    assert figures(again.steps) == figures(whole.steps)


def test_the_next_task_of_a_run_goes_on_without_loading(tiny: Path, tmp_path: Path) -> None:
    """The folder of the model may even have gone."""
    model = shutil.copytree(tiny, tmp_path / "model")
    run = work(settings(model))
    body.train(payload(0, BATCHES[0]), TEXTS, run, tmp_path / "run")
    shutil.rmtree(model)
    assert len(body.train(payload(1, BATCHES[1]), TEXTS, run, tmp_path / "run").steps) == 1
    body.forget()
    with pytest.raises(MachineUnfit, match="no such folder"):
        body.train(payload(2, BATCHES[2]), TEXTS, run, tmp_path / "run")


def test_the_checkpoint_before_must_be_here(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineUnfit, match="INSTRUCTREE_STUDENTS"):
        body.train(payload(5, BATCHES[0]), TEXTS, work(settings(tiny)), tmp_path)


def test_what_is_not_finite_is_marked_and_moves_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.training import nats, steps

    learner = begin(settings(tiny))
    real = nats.loss_of
    poisoned = encode(TEXTS[1], learner.student.tokenizer, max_tokens=384, on_prompt=False)
    monkeypatch.setattr(
        steps, "loss_of", lambda student, text: real(student, text) * (math.nan if text == poisoned else 1)
    )
    before = weights(learner)
    step = take_step(learner, BATCHES[0], 0, TEXTS)
    assert (step.rejected, step.loss, step.gradient_norm) == (Reason.NOT_FINITE, None, None)
    assert [one.rejected for one in step.lessons] == [None, Reason.NOT_FINITE]
    assert step.lessons[0].loss is not None and step.lessons[1].loss is None
    assert all(torch.equal(old, new) for old, new in zip(before, weights(learner), strict=True))
    assert json.loads(step.model_dump_json())["rejected"] == "not_finite"
    assert take_step(learner, BATCHES[1], 1, TEXTS).rejected is None


def test_a_step_says_what_each_instruction_brought_before_it(tiny: Path) -> None:
    learner = begin(settings(tiny))
    before = [brings_of(learner.student, TEXTS[one]) for one in BATCHES[0].members]
    step = take_step(learner, BATCHES[0], 0, TEXTS)
    assert [one.brings for one in step.lessons] == pytest.approx(before)
    assert any(before) and [brings_of(learner.student, TEXTS[one]) for one in BATCHES[0].members] != before


def test_a_gradient_that_overflows_is_marked(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.training import nats, steps

    learner = begin(settings(tiny))
    real = nats.loss_of

    def steep(*given: Any) -> torch.Tensor:
        loss = real(*given)
        return loss + (loss - loss.detach()) * 1e38 * 1e10

    monkeypatch.setattr(steps, "loss_of", steep)
    before = weights(learner)
    assert take_step(learner, BATCHES[0], 0, TEXTS).rejected is Reason.NOT_FINITE
    assert all(torch.equal(old, new) for old, new in zip(before, weights(learner), strict=True))


def test_an_instruction_without_an_answer_token_teaches_nothing(tiny: Path) -> None:
    learner = begin(settings(tiny, max_tokens=400))
    texts = {0: LessonText(instruction="Say it.", output=""), 1: LessonText(instruction="x" * 500, output="y")}
    texts[2] = TEXTS[2]
    step = take_step(learner, Batch(ordinal=0, members=(0, 1, 2)), 0, texts)
    assert [one.rejected for one in step.lessons] == [Reason.NOTHING_TO_LEARN, Reason.NOTHING_TO_LEARN, None]
    assert step.rejected is None and step.loss == step.lessons[2].loss
    nothing = take_step(learner, Batch(ordinal=1, members=(0, 1)), 1, texts)
    assert nothing.rejected is Reason.NOTHING_TO_LEARN and nothing.loss is None


def test_no_causal_language_model(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(
        BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    for refuse in (load, check_student):
        with pytest.raises(StudentUnusable, match="BertForMaskedLM is no causal language model"):
            refuse(settings(tmp_path))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(MachineUnfit, match="cannot be loaded"):
        load(settings(tmp_path))


def test_weights_that_are_torn(tiny: Path, tmp_path: Path) -> None:
    torn = shutil.copytree(tiny, tmp_path / "torn")
    (torn / "model.safetensors").write_bytes(b"\x08\x00\x00")
    with pytest.raises(MachineUnfit, match="cannot be loaded"):
        load(settings(torn))


def test_memory_that_runs_out_in_a_step(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.training import steps

    def enormous(*given: Any) -> torch.Tensor:
        return torch.empty(1 << 60, dtype=torch.uint8)

    learner = begin(settings(tiny))
    monkeypatch.setattr(steps, "loss_of", enormous)
    with pytest.raises(MachineUnfit, match="memory ran out"):
        take_step(learner, BATCHES[0], 0, TEXTS)


def test_a_student_that_does_not_fit(tiny: Path, tmp_path: Path) -> None:
    """Told from its configuration, before a weight is read."""
    config = json.loads((tiny / "config.json").read_text())
    config |= {"hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 200, "num_attention_heads": 128}
    config |= {"num_key_value_heads": 128, "head_dim": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MachineUnfit, match=r"does not fit: about \d+\.\d GB of memory are needed"):
        load(settings(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tiny: Path) -> None:
    with pytest.raises(MachineUnfit, match="sees no GPU"):
        load(settings(tiny, device="cuda"))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_evaluation_sees_what_was_learned(tiny: Path, tmp_path: Path, method: str) -> None:
    student = settings(tiny, method=method, learning_rate=1e-2)
    batches = tuple(Batch(ordinal=n, members=tuple(range(6))) for n in range(8))
    body.train(payload(0, *batches), TEXTS, work(student), tmp_path)
    found = evaluate.compare([TEXTS[6], TEXTS[7], LessonText(instruction="x" * 500, output="y")], student, tmp_path)
    assert found.items == 2 and found.skipped == 1 and found.checkpoint.endswith("step-000007")
    assert found.difference == pytest.approx(found.after - found.before)
    assert found.low <= found.difference <= found.high < 0
    base = [one for one in evaluate.losses(load(student), [TEXTS[6], TEXTS[7]]) if one]
    assert found.before == pytest.approx(sum(one.loss * one.tokens for one in base) / sum(one.tokens for one in base))
    assert [one.tokens for one in base] == [len(TEXTS[6].output) + 1, len(TEXTS[7].output) + 1]


def test_a_students_own_answers_are_the_same_each_time_and_no_longer_than_asked_for(tiny: Path) -> None:
    student = load(settings(tiny))
    texts = [TEXTS[number] for number in sorted(TEXTS)][:3]
    written = answers(student, texts, most=7)
    assert written == answers(student, texts, most=7)
    assert len(written) == 3 and any(written)
    encoded = [student.tokenizer(text, add_special_tokens=False)["input_ids"] for text in written]
    assert all(len(ids) <= 7 * 3 for ids in encoded)  # a byte that is no character becomes three


def test_a_comparison_writes_answers_only_where_they_are_asked_for(tiny: Path, tmp_path: Path) -> None:
    student = settings(tiny, learning_rate=1e-2)
    body.train(payload(0, *BATCHES), TEXTS, work(student), tmp_path)
    plain = evaluate.compare([TEXTS[6], TEXTS[7]], student, tmp_path)
    found = evaluate.compare([TEXTS[6], TEXTS[7]], student, tmp_path, answer_tokens=5)
    assert plain.written is None and plain.row() == found.row()
    assert found.written
    assert [len(some) for some in found.written] == [2, 2]
