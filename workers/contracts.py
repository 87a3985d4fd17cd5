"""What the mind may ask of the hands, and what comes back.

A task's payload names nodes by key, never carries text: texts are read from the database. A result is written into the
same row. Both are validated where they are read, because a row may have been written by another version.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from workers.config import DIMENSIONS, Bench, Role, Style, WorkSettings

# So often a task is begun before it counts as failed. A worker that is killed, and an answer that was lost and may be
# charged, spend an attempt, though neither says much of the task: 200 kills in eleven minutes on a busy machine took
# ten from one task of fifteen hundred (`make chaos`).
MAX_ATTEMPTS = 20


class Kind(StrEnum):
    """The kinds of task. Each has its own queue of the same name and one body in `workers.bodies`."""

    EXPAND = "expand"
    EVALUATE = "evaluate"
    RESPOND = "respond"
    GENERATE = "generate"
    INSTANTIATE = "instantiate"
    TRAIN = "train"


class Reason(StrEnum):
    """Why a text was rejected, a score is absent or a response is not good. Counted by name everywhere."""

    UNCHANGED = "unchanged"
    SCAFFOLDING = "scaffolding"
    COPIED_DEMONSTRATION = "copied_demonstration"
    OFF_TOPIC = "off_topic"
    ANSWER = "answer"
    REFUSAL = "refusal"
    CUT_OFF = "cut_off"
    WRONG_LANGUAGE = "wrong_language"
    TOO_SHORT = "too_short"
    THIN = "thin"
    TOO_LONG = "too_long"
    EMPTY = "empty"
    REPETITIVE = "repetitive"
    DUPLICATE = "duplicate"
    JUDGE_UNREADABLE = "judge_unreadable"
    NO_LOGPROBS = "no_logprobs"
    NO_SCORE_TOKEN = "no_score_token"
    OFF_SCALE = "off_scale"
    SPEAKS_TO_JUDGE = "speaks_to_judge"
    CONTENT_FILTER = "content_filter"
    CALL_FAILED = "call_failed"
    TASK_FAILED = "task_failed"
    NOT_SAMPLED = "not_sampled"
    BUDGET = "budget"
    ECHO = "echo"
    # The four rules of Evol-Instruct, each by its own name.
    EQUAL = "equal"
    SORRY = "sorry"
    STOP_WORDS = "stop_words"
    TEMPLATE_WORDS = "template_words"
    # The heuristics of Self-Instruct, for instructions and for instances (papers.md, 3.1).
    UNDOABLE = "undoable"
    PROGRAM = "program"
    ODD_START = "odd_start"
    SAME_AS_INPUT = "same_as_input"
    UNFINISHED = "unfinished"
    CONTRADICTORY = "contradictory"
    REPEATED_INSTANCE = "repeated_instance"
    NO_INSTANCE = "no_instance"
    # Of training.
    NOT_FINITE = "not_finite"
    NOTHING_TO_LEARN = "nothing_to_learn"


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Child(_Contract):
    """One evolution to make: the node's key was fixed when it was proposed."""

    key: str
    operator: str


class ExpandPayload(_Contract):
    """Evolve one parent by several operators."""

    kind: Literal[Kind.EXPAND] = Kind.EXPAND
    tree_id: int
    parent: str
    children: tuple[Child, ...]


class EvaluatePayload(_Contract):
    """Score siblings together, with their parent as anchor (none for the root).

    `sample` is the ordinal of the first judgement: one made later starts at a higher one, or it would be the same. An
    odd ordinal shows the siblings in the order of the even one before it, reversed.
    """

    kind: Literal[Kind.EVALUATE] = Kind.EVALUATE
    tree_id: int
    parent: str | None
    nodes: tuple[str, ...]
    sample: int = Field(default=0, ge=0)
    judge: Bench = "search"


class RespondPayload(_Contract):
    """Write the output for one harvested instruction."""

    kind: Literal[Kind.RESPOND] = Kind.RESPOND
    tree_id: int
    node: str


class GeneratePayload(_Contract):
    """Ask for new instructions once. `shown` are the demonstrations, in their order, by their ordinals in the run."""

    kind: Literal[Kind.GENERATE] = Kind.GENERATE
    round: int
    slot: int
    shown: tuple[int, ...]


class InstantiatePayload(_Contract):
    """Write the instances (input and output) of one generated instruction, named by its ordinal in the run."""

    kind: Literal[Kind.INSTANTIATE] = Kind.INSTANTIATE
    instruction: int


class Batch(_Contract):
    """The instructions, by ordinal, of one step of training."""

    ordinal: int
    members: tuple[int, ...]


class TrainPayload(_Contract):
    """Train the student of a run on the batches of a round, one step each. `step` is the number of the first one."""

    kind: Literal[Kind.TRAIN] = Kind.TRAIN
    round: int
    step: int
    batches: tuple[Batch, ...]


TreePayload = ExpandPayload | EvaluatePayload | RespondPayload
PoolPayload = GeneratePayload | InstantiatePayload | TrainPayload
Payload = Annotated[TreePayload | PoolPayload, Field(discriminator="kind")]


class Evolved(_Contract):
    """What became of one child: a text, or the reason why there is none. A rejected text is kept for the record."""

    key: str
    text: str | None = None
    rejected: Reason | None = None
    failed: str | None = None
    calls: tuple[str, ...] = ()


class Judged(_Contract):
    """One node's scores. A dimension is absent when its judge could not say, never a guess.

    They are means over `judgements` (none where a dimension is absent); `spread` is the standard deviation of the sum
    of the repeated dimensions over them, absent for one.
    """

    key: str
    quality: float | None = None
    diversity: float | None = None
    complexity: float | None = None
    tags: tuple[str, ...] = ()
    reason: str | None = None
    calls: tuple[str, ...] = ()
    judgements: int = 1
    spread: float | None = None


class ExpandResult(_Contract):
    kind: Literal[Kind.EXPAND] = Kind.EXPAND
    children: tuple[Evolved, ...]
    replayed: int = 0


class EvaluateResult(_Contract):
    kind: Literal[Kind.EVALUATE] = Kind.EVALUATE
    nodes: tuple[Judged, ...]
    replayed: int = 0


class RespondResult(_Contract):
    kind: Literal[Kind.RESPOND] = Kind.RESPOND
    output: str | None = None
    rejected: Reason | None = None
    failed: str | None = None
    calls: tuple[str, ...] = ()
    replayed: int = 0


class Instance(_Contract):
    """What one instruction is to be carried out on (nothing, for many), and its answer."""

    input: str = ""
    output: str = ""
    rejected: Reason | None = None


class Generated(_Contract):
    """One new instruction, in the order of the completion. Alpaca's variant brings its instance with it."""

    text: str
    rejected: Reason | None = None
    instances: tuple[Instance, ...] = ()


class GenerateResult(_Contract):
    """What a completion held. A completion that is no good as a whole (`rejected`), or never came, holds nothing."""

    kind: Literal[Kind.GENERATE] = Kind.GENERATE
    found: tuple[Generated, ...] = ()
    rejected: Reason | None = None
    failed: str | None = None
    calls: tuple[str, ...] = ()
    replayed: int = 0


class InstantiateResult(_Contract):
    """`rejected` or `failed` says why there is no good instance. `is_classification` is absent where none could say."""

    kind: Literal[Kind.INSTANTIATE] = Kind.INSTANTIATE
    is_classification: bool | None = None
    instances: tuple[Instance, ...] = ()
    rejected: Reason | None = None
    failed: str | None = None
    calls: tuple[str, ...] = ()
    replayed: int = 0


class Lesson(_Contract):
    """What a step said of one instruction of its batch: its own loss, and the norm of its own gradient.

    `tokens` are those that count into the loss, per token of which `loss` is (nats). `brings`: by so many nats per
    token its answer was predicted better behind it than behind an empty instruction, before the step.
    """

    instruction: int
    tokens: int
    loss: float | None = None
    gradient_norm: float | None = None
    brings: float | None = None
    rejected: Reason | None = None


class Step(_Contract):
    """One step of training: a batch's loss per token (nats), the L2 norm of its gradient before clipping, its time."""

    batch: int
    step: int
    lessons: tuple[Lesson, ...]
    loss: float | None = None
    gradient_norm: float | None = None
    seconds: float = 0.0
    rejected: Reason | None = None


class TrainResult(_Contract):
    kind: Literal[Kind.TRAIN] = Kind.TRAIN
    steps: tuple[Step, ...] = ()
    failed: str | None = None
    replayed: int = 0


TreeResult = ExpandResult | EvaluateResult | RespondResult
PoolResult = GenerateResult | InstantiateResult | TrainResult


payload_of: TypeAdapter[Payload] = TypeAdapter(Payload)
# The scheduler knows of which kind a run is; a worker does not.
tree_payload_of: TypeAdapter[TreePayload] = TypeAdapter(Annotated[TreePayload, Field(discriminator="kind")])
tree_result_of: TypeAdapter[TreeResult] = TypeAdapter(Annotated[TreeResult, Field(discriminator="kind")])
pool_payload_of: TypeAdapter[PoolPayload] = TypeAdapter(Annotated[PoolPayload, Field(discriminator="kind")])
pool_result_of: TypeAdapter[PoolResult] = TypeAdapter(Annotated[PoolResult, Field(discriminator="kind")])


def worst_calls(settings: WorkSettings, kind: Kind, count: int, judge: Bench = "search") -> Mapping[Role, int]:
    """The most paid calls a task of this kind over `count` nodes can make: every re-ask and every repeat used."""
    if kind is Kind.EXPAND:
        return {Role.EVOLVER: count, **({Role.JUDGE: count} if asks_whether_equal(settings) else {})}
    if kind is Kind.RESPOND:
        return {Role.RESPONDER: count}
    if kind is Kind.GENERATE:
        return {Role.GENERATOR: count}
    if kind is Kind.INSTANTIATE:
        return {Role.RESPONDER: count * (1 + settings.generation.classification)}
    if kind is Kind.TRAIN:
        return {}
    return _judge_calls(settings, count) if judge == "search" else _examiner_calls(settings, count)


def asks_whether_equal(settings: WorkSettings) -> bool:
    """Whether each evolved text costs a judge's call more. A base model cannot say, so it is not asked."""
    return settings.guards.eliminate and settings.endpoint(Role.JUDGE).style is Style.CHAT


def _judge_calls(settings: WorkSettings, count: int) -> Mapping[Role, int]:
    """A rubric call and a chat tag call serve all siblings together; expected scores and few-shot tags do not."""
    judges = settings.judges
    together = 1 + judges.reasks
    calls: Counter[Role] = Counter()
    if "rubric" in (judges.quality, judges.complexity):
        calls[Role.JUDGE] += together * (1 + judges.repeats)
    for dimension in DIMENSIONS:
        if judges.kind(dimension) == "expected":
            calls[settings.scores(dimension)] += count * (1 + settings.repeats(dimension))
    calls[Role.JUDGE] += together if settings.endpoint(Role.JUDGE).style is Style.CHAT else count
    return calls


def _examiner_calls(settings: WorkSettings, count: int) -> Mapping[Role, int]:
    """The held-out judge scores both dimensions with a rubric, or each by itself where it cannot chat; and tags."""
    if settings.endpoint(Role.EXAMINER).style is Style.CHAT:
        return {Role.EXAMINER: 2 * (1 + settings.judges.reasks)}
    return {Role.EXAMINER: (len(DIMENSIONS) + 1) * count}
