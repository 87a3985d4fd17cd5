"""What the report is made from (`RunStory`) and what is computed from it (`Report`). Values only.

Money is in nano-dollars (1e-9 USD), None where a price is not known. Times are in seconds. A score that is absent is
None and is left out of every mean; it never counts as zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from db.minutes import Minute
from db.records import Caps, ExampleRow, NodeRow, RolloutRow, Run, TreeRow
from orchestrator.report.happened import Happened

DIMENSIONS = ("reward", "quality", "diversity", "complexity")

NodeId = tuple[int, str]
"""(tree id, node key): keys are unique within their tree only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeStory:
    """One tree with its rows. `row.seed` is {"instruction": str, "input": str or absent}."""

    row: TreeRow
    nodes: tuple[NodeRow, ...]
    rollouts: tuple[RolloutRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpend:
    """What one role cost. `nusd` is None if the price of any of its calls is unknown."""

    role: str
    calls: int
    tokens_in: int
    tokens_out: int
    nusd: int | None
    mean_latency_s: float | None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """What made and scored one node: the calls it had part in, and its share of their tokens and price."""

    calls: int
    tokens_in: int
    tokens_out: int
    nusd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStory:
    """Everything the report tells, as rows. `verdicts` counts what people's words changed (`db.verdicts.counts`)."""

    run: Run
    trees: tuple[TreeStory, ...]
    examples: tuple[ExampleRow, ...]
    spend: tuple[RoleSpend, ...]
    node_costs: Mapping[NodeId, NodeCost]
    minutes: tuple[Minute, ...] = ()
    happened: Happened = field(default_factory=Happened)
    verdicts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A sample described. `missing` counts what had no value; `sd` (n - 1) needs two values."""

    n: int
    missing: int
    mean: float | None
    sd: float | None
    median: float | None

    @property
    def half_interval(self) -> float | None:
        """Half the width of a 95 % interval of the mean by the normal approximation; None below five values."""
        return None if self.sd is None or self.n < 5 else 1.96 * self.sd / float(self.n) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Scores in [low, high); the last bin holds its upper edge too."""

    low: float
    high: float
    seeds: int
    harvest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One score before and after. `difference` is harvest mean minus seed mean."""

    dimension: str
    seeds: Stats
    harvest: Stats
    difference: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """The nodes that "after" stands for. `basis` is accepted, proposed (none was accepted) or none."""

    basis: str
    nodes: tuple[NodeRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """`driven_s`: for so long it was worked on, pauses left out. `nusd` None means that part of the price is unknown;
    `nusd_known` is what is known of it.
    """

    name: str
    recipe: str
    status: str
    reason: str | None
    started: datetime
    finished: datetime | None
    driven_s: float
    seeds: int
    seeds_given: int
    seeds_duplicate: int
    trees_grown: int
    trees_cut: int
    nodes: int
    nodes_scored: int
    examples_accepted: int
    examples_proposed: int
    calls: int
    calls_replayed: int
    tokens: int
    tokens_in: int
    tokens_out: int
    nusd: int | None
    nusd_known: int
    caps: Caps
    mean_seed: float | None
    mean_harvest: float | None
    difference: float | None
    interval: Interval | None
    harvest_basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorGain:
    """What became of all nodes an operator made. `gains` maps each dimension to child minus parent."""

    operator: str
    tried: int
    rejected: int
    failed: int
    unscored: int
    open: int
    scored: int
    gains: Mapping[str, Stats]
    chosen: int
    chosen_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """How often something ended in `status` for `reason`."""

    status: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """What became of `total` things: how many by status, and why, the most frequent first."""

    total: int
    by_status: Mapping[str, int]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthShare:
    """Terminal nodes of one depth: distinct leaves of terminal rollouts, of its scored nodes and of its rollouts."""

    depth: int
    nodes: int
    scored: int
    rollouts: int
    terminal_rollouts: int
    terminal_nodes: int

    @property
    def share_of_scored(self) -> float | None:
        return self.terminal_nodes / self.scored if self.scored else None

    @property
    def share_of_rollouts(self) -> float | None:
        return self.terminal_rollouts / self.rollouts if self.rollouts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeGain:
    """A tree with its best evolved node; `gain` is that node's reward minus the seed's, None if either is absent."""

    tree: TreeStory
    root: NodeRow | None
    best: NodeRow | None
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A seed beside its best evolution. `path` lists the operators from the seed on; `rank` is 1 for the best gain."""

    rank: int
    ordinal: int
    seed_instruction: str
    seed_input: str
    root: NodeRow
    node: NodeRow
    path: tuple[str, ...]
    gain: float
    example: ExampleRow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The trees shown. `ranked` and `unranked` count all trees with and without a gain."""

    best: tuple[TreeGain, ...]
    worst: tuple[TreeGain, ...]
    without_gain: tuple[TreeGain, ...]
    ranked: int
    unranked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    headline: Headline
    distributions: tuple[Distribution, ...]
    operators: tuple[OperatorGain, ...]
    spend: tuple[RoleSpend, ...]
    nodes: Fates
    examples: Fates
    depths: tuple[DepthShare, ...]
    pairs: tuple[Pair, ...]
    choice: Choice
    flat: tuple[tuple[str, float], ...]
