"""From what a pool needs next to tasks, whose keys are fixed by what they are about: each can exist only once. Pure."""

from collections.abc import Sequence

from db.records import BatchRow, NewTask, Spend
from orchestrator.budget import NONE_YET, Prompts, worst_case
from workers.config import LONGEST_DEADLINE_S, WorkSettings
from workers.contracts import Batch, GeneratePayload, InstantiatePayload, Kind, PoolPayload, TrainPayload


def generate_task(
    number: int, slot: int, shown: Sequence[int], settings: WorkSettings, prompts: Prompts = NONE_YET
) -> NewTask:
    payload = GeneratePayload(round=number, slot=slot, shown=tuple(shown))
    reserved = worst_case(settings, Kind.GENERATE, 1, prompts)
    return _task(payload, f"{number}:{slot}", reserved, settings.deadline_s)


def instantiate_task(ordinal: int, settings: WorkSettings, prompts: Prompts = NONE_YET) -> NewTask:
    reserved = worst_case(settings, Kind.INSTANTIATE, 1, prompts)
    return _task(InstantiatePayload(instruction=ordinal), str(ordinal), reserved, settings.deadline_s)


def train_task(batches: Sequence[BatchRow]) -> NewTask:
    """One step for each batch of a round. It costs time alone, and may take as long as any task."""
    first = batches[0]
    members = tuple(Batch(ordinal=batch.ordinal, members=batch.members) for batch in batches)
    payload = TrainPayload(round=first.round, step=first.step, batches=members)
    return _task(payload, str(first.round), Spend(), LONGEST_DEADLINE_S)


def _task(payload: PoolPayload, name: str, reserved: Spend, deadline_s: float) -> NewTask:
    return NewTask(
        tree_id=None,
        key=f"{payload.kind.value}:{name}",
        kind=payload.kind.value,
        payload=payload.model_dump(mode="json"),
        reserved=reserved,
        deadline_s=deadline_s,
    )
