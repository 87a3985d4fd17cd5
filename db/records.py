"""Rows as frozen values. The other rooms see these and never a row of the driver."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Upper limits of a run; None is no limit. Money is in nano-dollars, `seconds` are those in which it is driven."""

    calls: int | None = None
    tokens: int | None = None
    nusd: int | None = None
    seconds: float | None = None

    def allow(self, total: "Spend") -> bool:
        """Whether so much, reserved and spent together, passes none of them."""
        pairs = ((self.calls, total.calls), (self.tokens, total.tokens), (self.nusd, total.nusd))
        return all(cap is None or amount <= cap for cap, amount in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Calls, tokens (in and out together) and nano-dollars."""

    calls: int = 0
    tokens: int = 0
    nusd: int = 0

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(calls=self.calls + other.calls, tokens=self.tokens + other.tokens, nusd=self.nusd + other.nusd)

    def __sub__(self, other: "Spend") -> "Spend":
        return self + other.times(-1)

    def times(self, count: int) -> "Spend":
        return Spend(calls=self.calls * count, tokens=self.tokens * count, nusd=self.nusd * count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting of a run that was changed while the run was on. None is no limit, or a price that is not known."""

    at: datetime
    what: str
    before: float | None
    after: float | None

    def row(self) -> dict[str, object]:
        """As it is stored, and shown."""
        return {"at": self.at.isoformat(), "what": self.what, "from": self.before, "to": self.after}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A time in which a run was paused, and why. `end` is None while it still is."""

    begin: datetime
    end: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An endpoint that waiting tasks of a run complain of. Moments are seconds for which the run has been driven.

    `since_s`: from here on it is counted how long the endpoint answers nobody; `missed_s`: when it was last complained
    of; `told`: whether it was announced as down, and has not answered since.
    """

    since_s: float
    missed_s: float
    told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`config` is what it was begun with; `changes` are what was made of it since, in their order, as `pauses` are.

    `outages` are the endpoints that its tasks complain of, by name.
    """

    id: int
    name: str
    recipe: str
    config: Json
    config_hash: str
    status: str
    phase: str
    reason: str | None
    seeds_given: int
    seeds_duplicate: int
    caps: Caps
    reserved: Spend
    spent: Spend
    calls_replayed: int
    owner_token: int
    driven_s: float
    created_at: datetime
    finished_at: datetime | None
    changes: tuple[Change, ...] = ()
    pauses: tuple[Pause, ...] = ()
    stalled: bool = False
    outages: Mapping[str, Outage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRow:
    id: int
    run_id: int
    ordinal: int
    seed: Json
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    tree_id: int
    key: str
    parent_key: str | None
    ordinal: int
    depth: int
    operator: str | None
    origin: str
    iteration: int
    status: str
    text: str | None = None
    quality: float | None = None
    diversity: float | None = None
    complexity: float | None = None
    reward: float | None = None
    tags: tuple[str, ...] = ()
    visits: int = 0
    value_sum: float = 0.0
    reason: str | None = None
    calls: tuple[str, ...] = ()
    pool_version: int | None = None
    judgements: int = 1
    spread: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementRow:
    """What a judge said of a node beside the node's own score. Without a reward it has a reason."""

    tree_id: int
    node_key: str
    judge: str
    sample: int
    quality: float | None
    diversity: float | None
    complexity: float | None
    reward: float | None
    reason: str | None
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRow:
    tree_id: int
    ordinal: int
    leaf_key: str
    reward: float | None
    terminal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as the scheduler sees it."""

    id: int
    run_id: int
    tree_id: int | None
    key: str
    kind: str
    payload: Json
    state: str
    attempts: int
    reserved: Spend
    result: Json | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    tree_id: int | None
    key: str
    kind: str
    payload: Json
    reserved: Spend
    deadline_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claimed task: whoever writes to it must name this token, and has `deadline_s` seconds from the claim on."""

    task_id: int
    token: int
    run_id: int
    tree_id: int | None
    kind: str
    payload: Json
    attempts: int
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """A request about to be sent for a task under a lease. `tokens` and `nusd` are the most that it can cost."""

    id: str
    key: str
    run_id: int
    task_id: int
    lease_token: int
    role: str
    endpoint: str
    tokens: int
    nusd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One paid response. `key` holds all that changes the answer and nothing else."""

    key: str
    run_id: int | None
    task_id: int | None
    role: str
    endpoint: str
    model: str
    tokens_in: int
    tokens_out: int
    nusd: int | None
    latency_s: float
    outcome: str
    response: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleRow:
    id: int
    run_id: int
    tree_id: int
    node_key: str
    status: str
    reason: str | None
    instruction: str
    input: str
    output: str | None
    response_calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionRow:
    """A text of a pool: a seed, or one that was generated in answer to the demonstrations `shown` (ordinals)."""

    ordinal: int
    origin: str
    text: str
    status: str
    round: int | None = None
    slot: int | None = None
    seed: Json | None = None
    reason: str | None = None
    nearest: int | None = None
    similarity: float | None = None
    shown: tuple[int, ...] = ()
    calls: tuple[str, ...] = ()
    is_settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    ordinal: int
    status: str
    prompts: int
    prompts_lost: Mapping[str, int]
    generated: int
    kept: int
    filter_s: float
    embed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """What one step of training is, or was, made on. Untrained without seconds; without a loss it has a reason."""

    round: int
    ordinal: int
    members: tuple[int, ...]
    arrangement: str
    diversity: float | None
    diversity_random: float | None
    step: int
    gradient_norm: float | None = None
    loss: float | None = None
    seconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRow:
    round: int
    batch: int
    ordinal: int
    tokens: int
    loss: float | None
    gradient_norm: float | None
    brings: float | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEventRow:
    round: int
    event: str
    ordinal: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One instance of a pool's instruction, as it becomes an example."""

    ordinal: int
    instance: int
    instruction: str
    input: str
    output: str | None
    status: str
    reason: str | None
