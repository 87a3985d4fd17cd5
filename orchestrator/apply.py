"""From a finished task to what it means: outcomes for the search core, and rows for the memory. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from db.records import JudgementRow, NodeRow, TaskRow
from orchestrator.search import Failed, Grown, Outcome, Rejected, Scored, Unscored
from orchestrator.tags import Vocabulary
from workers.contracts import (
    EvaluatePayload,
    EvaluateResult,
    Evolved,
    ExpandPayload,
    ExpandResult,
    Judged,
    Reason,
    RespondPayload,
    RespondResult,
    TreePayload,
    tree_payload_of,
    tree_result_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one node: told to the core, and written to its row."""

    outcome: Outcome
    row: NodeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one finished task brings."""

    tree_id: int
    settled: tuple[Settled, ...] = ()
    judgements: tuple[JudgementRow, ...] = ()
    examples: tuple[dict[str, Any], ...] = field(default=())
    replayed: int = 0


def interpret(task: TaskRow) -> Applied:
    """Reads a task's result, or what its failure means for the nodes it was about."""
    payload = tree_payload_of.validate_python(task.payload)
    if task.state == "failed" or task.result is None:
        return _failed(payload, Reason.BUDGET if task.error == Reason.BUDGET else Reason.TASK_FAILED)
    result = tree_result_of.validate_python(task.result)
    if isinstance(result, ExpandResult):
        settled = [_evolved(payload.tree_id, child) for child in result.children]
        return Applied(tree_id=payload.tree_id, settled=tuple(settled), replayed=result.replayed)
    if isinstance(result, EvaluateResult):
        return replace(_evaluated(payload, result.nodes), replayed=result.replayed)
    return _responded(payload, result)


def _failed(payload: TreePayload, reason: Reason) -> Applied:
    """No attempt could carry the task out, or none was to be made any more."""
    if isinstance(payload, ExpandPayload):
        lost = [Evolved(key=child.key, failed=reason) for child in payload.children]
        return Applied(tree_id=payload.tree_id, settled=tuple(_evolved(payload.tree_id, child) for child in lost))
    if isinstance(payload, EvaluatePayload):
        return _evaluated(payload, [Judged(key=key, reason=reason) for key in payload.nodes])
    return _responded(payload, RespondResult(failed=reason))


def _evolved(tree_id: int, child: Evolved) -> Settled:
    outcome: Outcome
    if child.failed is not None:
        outcome, status, reason = Failed(key=child.key), "failed", child.failed
    elif child.rejected is not None:
        outcome, status, reason = Rejected(key=child.key), "rejected", child.rejected.value
    else:
        outcome, status, reason = Grown(key=child.key), "generated", None
    return Settled(outcome=outcome, row=_row(tree_id, child.key, status, child.calls, text=child.text, reason=reason))


def _evaluated(payload: TreePayload, found: Sequence[Judged]) -> Applied:
    """A node's own scores are told to the core; later ones, and the held-out judge's, are kept beside them."""
    assert isinstance(payload, EvaluatePayload)
    if payload.sample == 0 and payload.judge == "search":
        return Applied(tree_id=payload.tree_id, settled=tuple(_judged(payload.tree_id, node) for node in found))
    return Applied(tree_id=payload.tree_id, judgements=tuple(_judgement(payload, node) for node in found))


def _judgement(payload: EvaluatePayload, node: Judged) -> JudgementRow:
    _, dimensions = _scores(node)
    present = [value for value in dimensions if value is not None]
    complete = len(present) == len(dimensions)
    return JudgementRow(
        tree_id=payload.tree_id,
        node_key=node.key,
        judge=payload.judge,
        sample=payload.sample,
        quality=dimensions[0],
        diversity=dimensions[1],
        complexity=dimensions[2],
        reward=sum(present) if complete else None,
        reason=None if complete else node.reason or Reason.JUDGE_UNREADABLE,
        calls=node.calls,
    )


def _scores(node: Judged) -> tuple[tuple[str, ...], tuple[float | None, float | None, float | None]]:
    """Its different intents, and its scores: two spellings of one intent are one point of diversity.

    The vocabulary is the node's own, so that a score does not depend on which node came first.
    """
    tags = Vocabulary().distinct(node.tags)
    diversity = float(len(tags)) if tags and node.diversity is not None else node.diversity
    return tags, (node.quality, diversity, node.complexity)


def _judged(tree_id: int, node: Judged) -> Settled:
    tags, dimensions = _scores(node)
    present = [value for value in dimensions if value is not None]
    if len(present) < len(dimensions):
        reason = node.reason or Reason.JUDGE_UNREADABLE
        row = _row(tree_id, node.key, "unscored", node.calls, reason=reason, scores=dimensions, tags=tags)
        return Settled(outcome=Unscored(key=node.key), row=row)
    reward = sum(present)
    row = _row(tree_id, node.key, "scored", node.calls, scores=dimensions, tags=tags, reward=reward)
    row = replace(row, judgements=node.judgements, spread=node.spread)
    return Settled(outcome=Scored(key=node.key, reward=reward), row=row)


def _row(
    tree_id: int,
    key: str,
    status: str,
    calls: Sequence[str],
    *,
    text: str | None = None,
    reason: str | None = None,
    scores: tuple[float | None, float | None, float | None] = (None, None, None),
    tags: Sequence[str] = (),
    reward: float | None = None,
) -> NodeRow:
    """The changed columns of a node; where it stands in its tree was written when it was proposed."""
    quality, diversity, complexity = scores
    return NodeRow(
        tree_id=tree_id,
        key=key,
        parent_key=None,
        ordinal=0,
        depth=0,
        operator=None,
        origin="",
        iteration=0,
        status=status,
        text=text,
        quality=quality,
        diversity=diversity,
        complexity=complexity,
        reward=reward,
        tags=tuple(tags),
        reason=reason,
        calls=tuple(calls),
    )


def _responded(payload: TreePayload, result: RespondResult) -> Applied:
    assert isinstance(payload, RespondPayload)
    status = "failed" if result.failed else "rejected" if result.rejected else "accepted"
    example = {
        "tree_id": payload.tree_id,
        "node_key": payload.node,
        "status": status,
        "reason": result.failed or (result.rejected.value if result.rejected else None),
        "output": result.output,
        "calls": result.calls,
    }
    return Applied(tree_id=payload.tree_id, examples=(example,), replayed=result.replayed)
