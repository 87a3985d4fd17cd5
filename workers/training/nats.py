"""How well a student predicts an answer, in nats per token, and what the answer's instruction has to do with it."""

import math
from typing import TYPE_CHECKING

from workers.training.student import Student, fitting
from workers.training.texts import Encoded, LessonText, encode

if TYPE_CHECKING:
    import torch


def loss_of(student: Student, encoded: Encoded) -> "torch.Tensor":
    """Mean cross-entropy of the tokens that count, in nats, in float32."""
    import torch
    from torch.nn import functional

    ids = torch.tensor([encoded.ids], device=student.device)
    logits = student.model(input_ids=ids, use_cache=False).logits[0, encoded.learn_from - 1 : -1].float()
    loss: torch.Tensor = functional.cross_entropy(logits, ids[0, encoded.learn_from :])
    return loss


def answer_of(student: Student, text: LessonText) -> Encoded:
    """The text with its answer alone to be predicted."""
    return encode(text, student.tokenizer, max_tokens=student.settings.max_tokens, on_prompt=False)


def nats_of(student: Student, encoded: Encoded) -> float:
    """The loss as a number; nothing is learnt of it."""
    import torch

    with torch.inference_mode(), fitting(student.settings):
        return float(loss_of(student, encoded))


def brings_of(student: Student, text: LessonText) -> float | None:
    """What an instruction brings to its answer: the answer's loss behind an empty instruction less its loss behind its
    own, over the same tokens. None where there is no token to be measured, or no finite loss. Two passes.
    """
    asked, nothing = answer_of(student, text), answer_of(student, LessonText(instruction="", output="")).ids
    if not asked.tokens or not nothing:
        return None
    unasked = Encoded(ids=(*nothing, *asked.ids[asked.learn_from :]), learn_from=len(nothing))
    brings = nats_of(student, unasked) - nats_of(student, asked)
    return brings if math.isfinite(brings) else None
