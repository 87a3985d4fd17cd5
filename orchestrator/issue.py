"""From proposals to tasks: payload, idempotency key, and the worst case that is reserved. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.records import Caps, NewTask, Spend, TaskRow
from orchestrator.budget import fits, worst_case
from orchestrator.search import Expand, Proposal
from workers.config import WorkSettings
from workers.contracts import (
    Child,
    EvaluatePayload,
    ExpandPayload,
    Kind,
    RespondPayload,
    payload_of,
)

NOTHING = Spend()


def task_for(tree_id: int, proposal: Proposal, settings: WorkSettings) -> NewTask:
    """The task that carries out a proposal. Its key is fixed by the nodes it is about, so it can exist only once."""
    if isinstance(proposal, Expand):
        children = tuple(Child(key=child.key, operator=child.operator or "") for child in proposal.children)
        expand = ExpandPayload(tree_id=tree_id, parent=proposal.parent, children=children)
        return _task(tree_id, Kind.EXPAND, children[0].key, expand.model_dump(mode="json"), len(children), settings)
    evaluate = EvaluatePayload(tree_id=tree_id, parent=proposal.parent, nodes=proposal.nodes)
    count = len(proposal.nodes)
    return _task(tree_id, Kind.EVALUATE, proposal.nodes[0], evaluate.model_dump(mode="json"), count, settings)


def response_task(tree_id: int, node: str, settings: WorkSettings) -> NewTask:
    payload = RespondPayload(tree_id=tree_id, node=node).model_dump(mode="json")
    return _task(tree_id, Kind.RESPOND, node, payload, 1, settings)


def _task(
    tree_id: int, kind: Kind, node: str, payload: Mapping[str, object], count: int, settings: WorkSettings
) -> NewTask:
    return NewTask(
        tree_id=tree_id,
        key=f"{tree_id}:{kind.value}:{node}",
        kind=kind.value,
        payload=dict(payload),
        reserved=worst_case(settings, kind, count),
    )


def keys_of(proposal: Proposal) -> tuple[str, ...]:
    """The nodes a proposal is about."""
    return tuple(child.key for child in proposal.children) if isinstance(proposal, Expand) else proposal.nodes


def keys_in(task: TaskRow) -> set[str]:
    """The nodes an outstanding task is about."""
    payload = payload_of.validate_python(task.payload)
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
