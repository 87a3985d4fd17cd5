"""Runs, their trees, and what is chosen of them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from db.schema.base import count, metadata, time

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("recipe", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("reason", Text),
    Column("seeds_given", Integer, nullable=False),
    Column("seeds_duplicate", Integer, nullable=False),
    Column("cap_calls", BigInteger),
    Column("cap_tokens", BigInteger),
    Column("cap_nusd", BigInteger),
    Column("cap_s", Double),
    # What was changed while the run was on, beside `config`, which stays: a list of {at, what, from, to}. Among them is
    # each change of `status`, with its reason.
    Column("changes", JSONB, nullable=False, server_default=text("'[]'")),
    count("reserved_calls"),
    count("reserved_tokens"),
    count("reserved_nusd"),
    count("spent_calls"),
    count("spent_tokens"),
    count("spent_nusd"),
    count("calls_replayed"),
    Column("owner", Text),
    Column("owner_token", BigInteger, nullable=False, server_default=text("0")),
    time("owner_until"),
    # Wall time is counted while somebody drives the run: up to `driven_at` it was `driven_s` seconds.
    Column("driven_s", Double, nullable=False, server_default=text("0")),
    time("driven_at"),
    # What `driven_s` was when a task of the run last ended; whether that was so long ago that it was told.
    Column("moved_s", Double, nullable=False, server_default=text("0")),
    Column("stalled", Boolean, nullable=False, server_default=text("false")),
    # The endpoints that waiting tasks complain of, by name: {since_s, missed_s, told}, in terms of `driven_s`.
    Column("outages", JSONB, nullable=False, server_default=text("'{}'")),
    time("created_at", now=True),
    time("finished_at"),
    CheckConstraint("cap_calls IS NULL OR reserved_calls + spent_calls <= cap_calls", name="cap_calls"),
    CheckConstraint("cap_tokens IS NULL OR reserved_tokens + spent_tokens <= cap_tokens", name="cap_tokens"),
    CheckConstraint("cap_nusd IS NULL OR reserved_nusd + spent_nusd <= cap_nusd", name="cap_nusd"),
    CheckConstraint("status IN ('running', 'paused', 'done', 'stopped', 'cancelled', 'failed')", name="status"),
    CheckConstraint("phase IN ('growing', 'judging', 'responding', 'ended')", name="phase"),
)

trees = Table(
    "trees",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("seed", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    # Evolved nodes on paths from root to a rolled-out leaf, known when the tree is grown.
    Column("harvestable", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("run_id", "ordinal"),
    CheckConstraint("status IN ('waiting', 'growing', 'grown', 'cut')", name="status"),
    # Those that may have open nodes: never many.
    Index("trees_open_idx", "run_id", postgresql_where=text("status IN ('growing', 'cut')")),
)

nodes = Table(
    "nodes",
    metadata,
    Column("tree_id", BigInteger, ForeignKey("trees.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("parent_key", Text),
    Column("ordinal", Integer, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("operator", Text),
    Column("origin", Text, nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("text", Text),
    Column("quality", Double),
    Column("diversity", Double),
    Column("complexity", Double),
    Column("reward", Double),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("visits", Integer, nullable=False, server_default=text("0")),
    Column("value_sum", Double, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("calls", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # How many texts the run's diversity gate knew when it let this one pass, itself included.
    Column("pool_version", BigInteger),
    # Of how many judgements the scores are means, and their standard deviation if there were several.
    Column("judgements", Integer, nullable=False, server_default=text("1")),
    Column("spread", Double),
    time("created_at", now=True),
    time("settled_at"),
    PrimaryKeyConstraint("tree_id", "key"),
    ForeignKeyConstraint(["tree_id", "parent_key"], ["nodes.tree_id", "nodes.key"]),
    UniqueConstraint("tree_id", "parent_key", "ordinal", postgresql_nulls_not_distinct=True),
    CheckConstraint("origin IN ('seed', 'expansion', 'simulation')", name="origin"),
    CheckConstraint("status IN ('proposed', 'generated', 'scored', 'unscored', 'rejected', 'failed')", name="status"),
    CheckConstraint("(status = 'scored') = (reward IS NOT NULL)", name="scored_has_reward"),
    CheckConstraint("status NOT IN ('unscored', 'rejected', 'failed') OR reason IS NOT NULL", name="reason_given"),
    Index("nodes_settled_at_idx", "settled_at", postgresql_using="brin"),
    # Statistics are rewritten with every rollout: leave room on the page so that updates stay heap-only.
    postgresql_with={"fillfactor": 85},
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("tree_id", BigInteger, ForeignKey("trees.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("leaf_key", Text, nullable=False),
    Column("reward", Double),
    Column("terminal", Boolean, nullable=False),
    time("created_at", now=True),
    PrimaryKeyConstraint("tree_id", "ordinal"),
    ForeignKeyConstraint(["tree_id", "leaf_key"], ["nodes.tree_id", "nodes.key"]),
)

# What judges said of a node beside its own score: once more before the harvest, or a judge that no search sees.
judgements = Table(
    "judgements",
    metadata,
    Column("tree_id", BigInteger, nullable=False),
    Column("node_key", Text, nullable=False),
    Column("judge", Text, nullable=False),
    Column("sample", Integer, nullable=False),
    Column("quality", Double),
    Column("diversity", Double),
    Column("complexity", Double),
    Column("reward", Double),
    Column("reason", Text),
    Column("calls", ARRAY(Text), nullable=False),
    time("created_at", now=True),
    PrimaryKeyConstraint("tree_id", "node_key", "judge", "sample"),
    ForeignKeyConstraint(["tree_id", "node_key"], ["nodes.tree_id", "nodes.key"], ondelete="CASCADE"),
    CheckConstraint("judge IN ('search', 'held_out')", name="judge"),
    CheckConstraint("(reward IS NULL) = (reason IS NOT NULL)", name="reason_given"),
)

# A row is of a node, or of one instance of an instruction of a pool.
examples = Table(
    "examples",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("tree_id", BigInteger),
    Column("node_key", Text),
    Column("ordinal", Integer),
    Column("instance", Integer),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("instruction", Text, nullable=False),
    Column("input", Text, nullable=False, server_default=text("''")),
    Column("output", Text),
    Column("response_calls", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    time("created_at", now=True),
    UniqueConstraint("run_id", "tree_id", "node_key"),
    UniqueConstraint("run_id", "ordinal", "instance"),
    ForeignKeyConstraint(["tree_id", "node_key"], ["nodes.tree_id", "nodes.key"], ondelete="CASCADE"),
    ForeignKeyConstraint(["run_id", "ordinal"], ["instructions.run_id", "instructions.ordinal"], ondelete="CASCADE"),
    # A node that goes takes its example with it: Postgres before 18 would look through all of them for it.
    Index("examples_node_idx", "tree_id", "node_key", postgresql_where=text("tree_id IS NOT NULL")),
    CheckConstraint("num_nulls(tree_id, node_key) = num_nonnulls(ordinal, instance)", name="of_node_or_instance"),
    CheckConstraint("status IN ('pending', 'accepted', 'rejected', 'failed')", name="status"),
    CheckConstraint("status NOT IN ('rejected', 'failed') OR reason IS NOT NULL", name="reason_given"),
)

# What a person said of an example, and why. History is never overwritten: the latest verdict counts. The fate that the
# run gave the example stays as it is.
verdicts = Table(
    "verdicts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("example_id", BigInteger, ForeignKey("examples.id", ondelete="CASCADE"), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    time("created_at", now=True),
    CheckConstraint("verdict IN ('keep', 'drop')", name="verdict"),
    CheckConstraint("reason <> ''", name="reason_given"),
    Index("verdicts_run_id_example_id_idx", "run_id", "example_id", "id"),
    Index("verdicts_example_id_idx", "example_id"),
)
