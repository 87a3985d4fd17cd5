"""One step of training: what each instruction of a batch says by itself, then their common step.

With t tokens that count, a loss l per token and its gradient g for each instruction, and T the sum of t: the batch's
loss is the sum of t l / T, the mean over all its tokens, and its gradient the sum of t g / T. Norms are L2 over all
parameters that learn, before clipping.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workers.contracts import Batch, Lesson, Reason, Step
from workers.training.errors import MachineUnfit
from workers.training.nats import brings_of, loss_of
from workers.training.settings import StudentSettings
from workers.training.student import Student, fitting, load
from workers.training.texts import LessonText, encode

if TYPE_CHECKING:
    import torch

_OPTIMISER = "optimiser.pt"
_ADAPTER = "adapter_model.safetensors"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A student and its optimiser: AdamW with a constant rate and no weight decay."""

    student: Student
    optimiser: "torch.optim.AdamW"


def begin(settings: StudentSettings) -> Learner:
    """A learner before its first step. Raises what `student.load` raises."""
    student = load(settings)
    import torch

    optimiser = torch.optim.AdamW(student.trained, lr=settings.learning_rate, weight_decay=0.0)
    return Learner(student=student, optimiser=optimiser)


def take_step(learner: Learner, batch: Batch, number: int, lessons: Mapping[int, LessonText]) -> Step:
    """One optimiser step on a batch, one backward pass for each of its instructions.

    Where a loss or a norm is not finite, or nothing is there to learn, the step is marked and no weight changes.

    Raises:
        MachineUnfit: memory ran out.
    """
    began = time.perf_counter()
    with fitting(learner.student.settings):
        found, total = _listen(learner.student, batch, lessons)
        norm = _apply(learner, total, sum(lesson.tokens for lesson in found))
    rejected = _fault(found, norm)
    return Step(
        batch=batch.ordinal,
        step=number,
        lessons=tuple(found),
        loss=None if rejected else _mean_loss(found),
        gradient_norm=None if rejected else norm,
        seconds=time.perf_counter() - began,
        rejected=rejected,
    )


def _listen(
    student: Student, batch: Batch, lessons: Mapping[int, LessonText]
) -> "tuple[list[Lesson], list[torch.Tensor] | None]":
    """Each instruction's figures, and the sum of their gradients weighted by tokens; None where it is of no use."""
    import torch

    total = [torch.zeros_like(one, dtype=torch.float32) for one in student.trained]
    found = []
    for member in batch.members:
        lesson = _lesson(student, member, lessons[member])
        found.append(lesson)
        for held, one in zip(total, student.trained, strict=True):
            if one.grad is not None:
                held.add_(one.grad, alpha=lesson.tokens)
                one.grad = None
    usable = any(lesson.tokens for lesson in found) and all(lesson.rejected != Reason.NOT_FINITE for lesson in found)
    return found, total if usable else None


def _lesson(student: Student, member: int, text: LessonText) -> Lesson:
    """What one instruction says; its gradient is left in the parameters."""
    settings = student.settings
    encoded = encode(text, student.tokenizer, max_tokens=settings.max_tokens, on_prompt=settings.on_prompt)
    if not encoded.tokens:
        return Lesson(instruction=member, tokens=0, rejected=Reason.NOTHING_TO_LEARN)
    loss = loss_of(student, encoded)
    value = float(loss.detach())
    if not math.isfinite(value):
        return Lesson(instruction=member, tokens=encoded.tokens, rejected=Reason.NOT_FINITE)
    loss.backward()
    norm = norm_of([one.grad for one in student.trained if one.grad is not None])
    if not math.isfinite(norm):
        return Lesson(instruction=member, tokens=encoded.tokens, loss=value, rejected=Reason.NOT_FINITE)
    brings = brings_of(student, text)
    return Lesson(instruction=member, tokens=encoded.tokens, loss=value, gradient_norm=norm, brings=brings)


def norm_of(gradients: "list[torch.Tensor]") -> float:
    import torch

    return float(torch.nn.utils.get_total_norm(gradients))


def _apply(learner: Learner, total: "list[torch.Tensor] | None", tokens: int) -> float | None:
    """Steps along the mean gradient, clipped; returns its norm before that, None where there is no gradient."""
    import torch

    if total is None:
        return None
    trained = learner.student.trained
    for one, held in zip(trained, total, strict=True):
        one.grad = held.div_(tokens).to(one.dtype)
    norm = float(torch.nn.utils.clip_grad_norm_(trained, learner.student.settings.clip))
    if math.isfinite(norm):
        learner.optimiser.step()
    learner.optimiser.zero_grad(set_to_none=True)
    return norm


def _fault(found: list[Lesson], norm: float | None) -> Reason | None:
    if not any(lesson.tokens for lesson in found):
        return Reason.NOTHING_TO_LEARN
    return None if norm is not None and math.isfinite(norm) else Reason.NOT_FINITE


def _mean_loss(found: list[Lesson]) -> float:
    heard = [(lesson.tokens, lesson.loss) for lesson in found if lesson.loss is not None]
    return sum(tokens * loss for tokens, loss in heard) / sum(tokens for tokens, _ in heard)


def save(learner: Learner, folder: Path) -> None:
    """Writes what has been learned so far: the adapter as peft writes it, or the whole model; and the optimiser."""
    import torch

    student = learner.student
    if student.settings.method == "lora":
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights = get_peft_model_state_dict(student.model, save_embedding_layers=False)
        save_file({name: one.contiguous() for name, one in weights.items()}, folder / _ADAPTER)
        student.model.peft_config["default"].save_pretrained(str(folder))
    else:
        student.model.save_pretrained(str(folder), max_shard_size="1TB")
    torch.save(learner.optimiser.state_dict(), folder / _OPTIMISER)


def restore(learner: Learner, folder: Path, *, optimiser: bool = True) -> None:
    """Puts the learner where `save` found it: the steps after it come out the same.

    Raises:
        MachineUnfit: the folder holds no checkpoint of this kind of student any more.
    """
    import torch

    student = learner.student
    file = folder / (_ADAPTER if student.settings.method == "lora" else _WEIGHTS)
    if not file.is_file() or (optimiser and not (folder / _OPTIMISER).is_file()):
        raise MachineUnfit(
            f"{folder}: no checkpoint to go on from; share the folder among the workers for `train` "
            "(INSTRUCTREE_STUDENTS), or run one of them only, always on the same machine"
        )
    with fitting(student.settings):
        _restore_weights(student, file)
        if optimiser:
            state = torch.load(folder / _OPTIMISER, map_location=student.device, weights_only=True)
            learner.optimiser.load_state_dict(state)


def _restore_weights(student: Student, file: Path) -> None:
    from safetensors.torch import load_file, load_model

    if student.settings.method == "lora":
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(student.model, load_file(file, device=str(student.device)))
    else:
        load_model(student.model, file, strict=False, device=str(student.device))
