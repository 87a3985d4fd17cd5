"""From proposals to tasks: payload, idempotency key, and the worst case that is reserved. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from db.records import Caps, NewTask, Spend
from orchestrator.budget import NONE_YET, Prompts, fits, worst_case
from orchestrator.search import Expand, Proposal
from workers.config import Bench, WorkSettings
from workers.contracts import (
    Child,
    EvaluatePayload,
    ExpandPayload,
    Kind,
    RespondPayload,
    TreePayload,
)

NOTHING = Spend()


def task_for(tree_id: int, proposal: Proposal, settings: WorkSettings, prompts: Prompts = NONE_YET) -> NewTask:
    """The task that carries out a proposal. Its key is fixed by the nodes it is about, so it can exist only once."""
    if isinstance(proposal, Expand):
        children = tuple(Child(key=child.key, operator=child.operator or "") for child in proposal.children)
        expand = ExpandPayload(tree_id=tree_id, parent=proposal.parent, children=children)
        reserved = worst_case(settings, Kind.EXPAND, len(children), prompts)
        return _task(expand, children[0].key, reserved, settings)
    evaluate = EvaluatePayload(tree_id=tree_id, parent=proposal.parent, nodes=proposal.nodes)
    reserved = worst_case(settings, Kind.EVALUATE, len(proposal.nodes), prompts)
    return _task(evaluate, proposal.nodes[0], reserved, settings)


def response_task(tree_id: int, node: str, settings: WorkSettings, prompts: Prompts = NONE_YET) -> NewTask:
    reserved = worst_case(settings, Kind.RESPOND, 1, prompts)
    return _task(RespondPayload(tree_id=tree_id, node=node), node, reserved, settings)


def judging_task(
    tree_id: int,
    parent: str | None,
    keys: Sequence[str],
    settings: WorkSettings,
    prompts: Prompts = NONE_YET,
    *,
    sample: int = 0,
    judge: Bench = "search",
) -> NewTask:
    """The task that has scored siblings scored once more, or by the judge that no search has seen."""
    payload = EvaluatePayload(tree_id=tree_id, parent=parent, nodes=tuple(keys), sample=sample, judge=judge)
    reserved = worst_case(settings, Kind.EVALUATE, len(keys), prompts, judge)
    task = _task(payload, keys[0], reserved, settings)
    return replace(task, key=f"{task.key}:{judge}:{sample}")


def _task(payload: TreePayload, node: str, reserved: Spend, settings: WorkSettings) -> NewTask:
    return NewTask(
        tree_id=payload.tree_id,
        key=f"{payload.tree_id}:{payload.kind.value}:{node}",
        kind=payload.kind.value,
        payload=payload.model_dump(mode="json"),
        reserved=reserved,
        deadline_s=settings.deadline_s,
    )


def keys_of(proposal: Proposal) -> tuple[str, ...]:
    """The nodes a proposal is about."""
    return tuple(child.key for child in proposal.children) if isinstance(proposal, Expand) else proposal.nodes


def keys_in(payload: TreePayload) -> set[str]:
    """The nodes a task is about."""
    if isinstance(payload, ExpandPayload):
        return {child.key for child in payload.children}
    return set(payload.nodes) if isinstance(payload, EvaluatePayload) else set()


@dataclass(slots=True, kw_only=True)
class Purse:
    """What a tick may still commit. `earmarked` is kept back for what must follow: scores and responses."""

    caps: Caps
    committed: Spend
    earmarked: Spend

    def take(self, task: NewTask, *, follows: Spend = NOTHING, was_earmarked: bool = False) -> bool:
        """Commits a task's worst case if every cap leaves room for it and for what follows; says whether it did."""
        earmarked = self.earmarked + follows
        if was_earmarked:
            earmarked -= task.reserved
        if not fits(self.caps, self.committed + earmarked, task.reserved):
            return False
        self.committed += task.reserved
        self.earmarked = earmarked
        return True
