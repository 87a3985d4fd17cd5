"""What training says of a batch: norms of gradients, made comparable within a window of steps.

A norm is large for reasons that have nothing to do with what there is to learn: answers are short (a mean over few
tokens is noisy), the step is early (the student has not settled), or the answers are wrong. What is left over when
length, step and loss have been taken off, the residual, is how much more a batch moves the student than others that are
as long, as late and as ill predicted. Fitted on the few batches of a window it lets noise through (docs/training.md),
so wrong answers are told by something that needs no fit: an instruction makes its own answer more likely, and one that
belongs to another instruction less likely.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Term = Literal["length", "step", "loss"]
TERMS: tuple[Term, ...] = ("length", "step", "loss")
_CONSTANT = 1e-9

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSignal:
    """What one step of training said of one batch.

    round, ordinal: the round, and the batch within it; together they name the batch.
    members: instructions, by ordinal; the same one never twice.
    step: of the run, from 0.
    tokens: of all members together, those that count into the loss.
    loss: nats per token. gradient_norm: global L2, before clipping. Absent, or not finite: the batch is marked.
    norms: each member's own gradient norm, where it was measured.
    brings: by how much the members' instructions made their answers more likely, nats per token, before the step.
    """

    round: int
    ordinal: int
    members: tuple[int, ...]
    step: int
    tokens: int
    loss: float | None
    gradient_norm: float | None
    norms: Mapping[int, float | None] = field(default_factory=dict)
    brings: float | None = None


def brought(lessons: Sequence[tuple[int, float | None]]) -> float | None:
    """What a batch's instructions bring, the mean over all its tokens, from (tokens, nats a token) of each; None where
    nothing was measured.
    """
    known = [(tokens, nats) for tokens, nats in lessons if nats is not None and math.isfinite(nats)]
    total = sum(tokens for tokens, _ in known)
    return sum(tokens * nats for tokens, nats in known) / total if total else None


def plain(signals: Sequence[BatchSignal]) -> list[float | None]:
    """The norms as they are; None where a norm is absent, negative or not finite."""
    return [one.gradient_norm if _is_number(one.gradient_norm) else None for one in signals]


def corrected(signals: Sequence[BatchSignal], terms: Sequence[Term] = TERMS) -> list[float | None]:
    """For each batch of a window, the log of its norm less what its length, step and loss explain (least squares).

    Regressors: log of the mean tokens of a member, log of 1 + step, the loss in nats. With fewer usable batches than
    these plus 2 nothing is corrected: what is left is the log norm less its mean, which orders batches as the plain
    norm does. None for a batch that cannot be compared: a norm, or a value that `terms` asks for, is absent, not
    finite or (of norm and tokens) not positive; and for one whose instructions bring nothing to their answers.
    """
    rows = [None if _is_noise(one) else _row(one, terms) for one in signals]
    usable = [row for row in rows if row is not None]
    if not usable:
        return [None] * len(rows)
    residuals = iter(_residuals(np.array(usable)))
    return [None if row is None else float(next(residuals)) for row in rows]


def _is_noise(one: BatchSignal) -> bool:
    """Where it was not measured, nothing is said against a batch."""
    return one.brings is not None and one.brings <= 0


def _row(one: BatchSignal, terms: Sequence[Term]) -> list[float] | None:
    """Log norm and the regressors of one batch."""
    norm, loss = one.gradient_norm, one.loss
    if not norm or not _is_number(norm) or one.tokens <= 0 or not one.members:
        return None
    if loss is None or not math.isfinite(loss):
        if "loss" in terms:
            return None
        loss = 0.0
    values = {"length": math.log(one.tokens / len(one.members)), "step": math.log1p(one.step), "loss": loss}
    return [math.log(norm), *(values[term] for term in terms)]


def _residuals(rows: Table) -> Table:
    largest = np.abs(rows).max(axis=0)
    # Within 1 nothing overflows, and what does not vary is told alike for all.
    small: Table = rows / np.where(largest > 0, largest, 1.0)
    norms: Table = rows[:, 0] - rows[:, 0].mean()
    regressors: Table = small[:, 1:] - small[:, 1:].mean(axis=0)
    scale = regressors.std(axis=0)
    varying = scale > _CONSTANT
    if len(rows) < regressors.shape[1] + 2 or not varying.any():
        return norms
    scaled: Table = regressors[:, varying] / scale[varying]
    weights = np.asarray(np.linalg.lstsq(scaled, norms, rcond=None)[0], dtype=np.float64)
    left: Table = norms - scaled @ weights
    return left


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value >= 0
