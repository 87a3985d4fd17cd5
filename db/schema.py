"""The tables. Their laws are listed in `docs/design.md`, section 4, and recounted by `db.laws`.

Money is in whole nano-dollars (1e-9 USD): a price of 0.15 USD per million tokens is 150 nano-dollars a token, so sums
are exact. A price that is not known is NULL, never zero.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _time(name: str, *, now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not now, server_default=func.now() if now else None)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


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
    # What was changed while the run was on, beside `config`, which stays: a list of {at, what, from, to}.
    Column("changes", JSONB, nullable=False, server_default=text("'[]'")),
    _count("reserved_calls"),
    _count("reserved_tokens"),
    _count("reserved_nusd"),
    _count("spent_calls"),
    _count("spent_tokens"),
    _count("spent_nusd"),
    _count("calls_replayed"),
    Column("owner", Text),
    Column("owner_token", BigInteger, nullable=False, server_default=text("0")),
    _time("owner_until"),
    # Wall time is counted while somebody drives the run: up to `driven_at` it was `driven_s` seconds.
    Column("driven_s", Double, nullable=False, server_default=text("0")),
    _time("driven_at"),
    # What `driven_s` was when a task of the run last ended; whether that was so long ago that it was told.
    Column("moved_s", Double, nullable=False, server_default=text("0")),
    Column("stalled", Boolean, nullable=False, server_default=text("false")),
    _time("created_at", now=True),
    _time("finished_at"),
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
    _time("created_at", now=True),
    _time("settled_at"),
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
    _time("created_at", now=True),
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
    _time("created_at", now=True),
    PrimaryKeyConstraint("tree_id", "node_key", "judge", "sample"),
    ForeignKeyConstraint(["tree_id", "node_key"], ["nodes.tree_id", "nodes.key"], ondelete="CASCADE"),
    CheckConstraint("judge IN ('search', 'held_out')", name="judge"),
    CheckConstraint("(reward IS NULL) = (reason IS NOT NULL)", name="reason_given"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("tree_id", BigInteger, ForeignKey("trees.id", ondelete="CASCADE")),  # none where a run has no trees
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'ready'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _time("not_before", now=True),
    Column("lease_token", BigInteger, nullable=False, server_default=text("0")),
    _time("lease_until"),
    # The second clock: whoever is alive but stuck for this long loses the task, however well it beats.
    Column("deadline_s", Double, nullable=False, server_default=text("600")),
    _time("deadline"),
    Column("worker", Text),
    _count("reserved_calls"),
    _count("reserved_tokens"),
    _count("reserved_nusd"),
    Column("result", JSONB),
    Column("error", Text),
    _time("hinted_at"),
    _time("ended_at"),
    _time("applied_at"),
    _time("created_at", now=True),
    UniqueConstraint("run_id", "key"),
    CheckConstraint("state IN ('ready', 'leased', 'done', 'failed')", name="state"),
    Index("tasks_ready_idx", "not_before", postgresql_where=text("state = 'ready'")),
    Index("tasks_leased_idx", "lease_until", postgresql_where=text("state = 'leased'")),
    Index(
        "tasks_finished_idx",
        "run_id",
        "id",
        postgresql_where=text("state IN ('done', 'failed') AND applied_at IS NULL"),
    ),
    # A queue table lives on dead rows: vacuum early (queue-and-database.md, 2.2).
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.02, "fillfactor": 70},
)

# What ended in each minute: how long it had waited, how long it ran, how long the scheduler took to notice. `waits` and
# `runs` count by length (`db.minutes.BOUNDS_S`); what nobody ever began is in `failed` only.
minutes = Table(
    "minutes",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("minute", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("retries", BigInteger, nullable=False),
    Column("wait_s", Double, nullable=False),
    Column("run_s", Double, nullable=False),
    Column("lag_s", Double, nullable=False),
    Column("waits", ARRAY(BigInteger), nullable=False),
    Column("runs", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("run_id", "minute", "kind"),
)

# Sums over rows, written in their transactions (`db.totals`): of trees, of settled nodes (`seeds` and `evolved`), of
# generated texts and of examples, by status and reason ('' for none), with the sums of their scores.
totals = Table(
    "totals",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("what", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("quality", Numeric, nullable=False),
    Column("diversity", Numeric, nullable=False),
    Column("complexity", Numeric, nullable=False),
    Column("reward", Numeric, nullable=False),
    PrimaryKeyConstraint("run_id", "what", "status", "reason"),
    CheckConstraint("what IN ('trees', 'seeds', 'evolved', 'texts', 'examples')", name="what"),
    postgresql_with={"fillfactor": 50},
)

# And over the answers in the ledger whose tasks are closed. `nusd` is of those with a known price.
call_totals = Table(
    "call_totals",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("role", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("nusd", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("seconds", Numeric, nullable=False),
    PrimaryKeyConstraint("run_id", "role", "endpoint", "model", "outcome"),
    postgresql_with={"fillfactor": 50},
)

calls = Table(
    "calls",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="SET NULL")),
    Column("task_id", BigInteger),
    Column("role", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    Column("nusd", BigInteger),
    Column("latency_s", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("response", JSONB, nullable=False),
    _time("created_at", now=True),
    CheckConstraint("outcome IN ('ok', 'cut', 'empty', 'refused', 'filtered')", name="outcome"),
    Index("calls_run_id_idx", "run_id"),
    Index("calls_created_at_idx", "created_at", postgresql_using="brin"),
    Index("calls_task_id_idx", "task_id"),
)

# Requests sent, or about to be, whose answer is in no row of `calls`: each may have to be paid for.
# `open`: nobody knows yet. `lost`: the task has ended without it. `doubled`: another had answered already.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("task_id", BigInteger, nullable=False),
    Column("role", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("nusd", BigInteger),
    Column("fate", Text, nullable=False, server_default=text("'open'")),
    # Counted into what the run has spent, at the worst it can have cost.
    Column("settled", Boolean, nullable=False, server_default=text("false")),
    _time("created_at", now=True),
    CheckConstraint("fate IN ('open', 'lost', 'doubled')", name="fate"),
    Index("attempts_run_id_idx", "run_id"),
    Index("attempts_task_id_idx", "task_id"),
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.02},
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
    _time("created_at", now=True),
    UniqueConstraint("run_id", "tree_id", "node_key"),
    UniqueConstraint("run_id", "ordinal", "instance"),
    ForeignKeyConstraint(["tree_id", "node_key"], ["nodes.tree_id", "nodes.key"], ondelete="CASCADE"),
    ForeignKeyConstraint(["run_id", "ordinal"], ["instructions.run_id", "instructions.ordinal"], ondelete="CASCADE"),
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
    _time("created_at", now=True),
    CheckConstraint("verdict IN ('keep', 'drop')", name="verdict"),
    CheckConstraint("reason <> ''", name="reason_given"),
    Index("verdicts_run_id_example_id_idx", "run_id", "example_id", "id"),
    Index("verdicts_example_id_idx", "example_id"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("slots", Integer, nullable=False),
    # What somebody said they are to be; read at each beat.
    Column("slots_wanted", Integer),
    Column("busy", Integer, nullable=False),
    _count("tasks_done"),
    _time("started_at", now=True),
    _time("beat_at", now=True),
    _time("left_at"),
    # An orchestrator's key in the broker that it sends hints to.
    Column("mark", Text),
    # Why it was refused work, at its start or later.
    Column("refused", Text),
)

# What is to be told of a run, on each channel. `not_before` is also the lease of whoever tells it now.
notices = Table(
    "notices",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("event", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("reason", Text),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    _time("at", now=True),
    _time("not_before", now=True),
    _time("told_at"),
    CheckConstraint("event IN ('done', 'stopped', 'paused', 'stalled')", name="event"),
    CheckConstraint("channel IN ('webhook', 'command')", name="channel"),
    CheckConstraint("state IN ('waiting', 'told', 'given_up')", name="state"),
    Index("notices_waiting_idx", "not_before", postgresql_where=text("state = 'waiting'")),
    Index("notices_run_id_idx", "run_id"),
)

# The pool of a run without trees: its seeds first, then every text that was generated, in the order in which they were
# held against each other. `shown` are the ordinals of the demonstrations that a text was generated from.
instructions = Table(
    "instructions",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("origin", Text, nullable=False),
    Column("round", Integer),
    Column("slot", Integer),
    Column("text", Text, nullable=False),
    Column("seed", JSONB),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("nearest", Integer),
    Column("similarity", Double),
    Column("is_classification", Boolean),
    Column("shown", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("calls", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # Calls that asked for its instances, and when they were settled.
    Column("instance_calls", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    _time("created_at", now=True),
    _time("settled_at"),
    PrimaryKeyConstraint("run_id", "ordinal"),
    CheckConstraint("origin IN ('seed', 'generated')", name="origin"),
    CheckConstraint("(origin = 'seed') = (seed IS NOT NULL)", name="seed_is_whole"),
    CheckConstraint("(origin = 'generated') = (round IS NOT NULL)", name="generated_in_a_round"),
    CheckConstraint("status IN ('kept', 'rejected')", name="status"),
    CheckConstraint("(status = 'rejected') = (reason IS NOT NULL)", name="reason_given"),
)

rounds = Table(
    "rounds",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("prompts", Integer, nullable=False),
    # Completions that were no good as a whole, and those that never came, by reason.
    Column("prompts_lost", JSONB, nullable=False, server_default=text("'{}'")),
    Column("generated", Integer, nullable=False, server_default=text("0")),
    Column("kept", Integer, nullable=False, server_default=text("0")),
    Column("filter_s", Double, nullable=False, server_default=text("0")),
    Column("embed_s", Double, nullable=False, server_default=text("0")),
    _time("created_at", now=True),
    PrimaryKeyConstraint("run_id", "ordinal"),
    CheckConstraint("status IN ('generating', 'instancing', 'training', 'done')", name="status"),
)

batches = Table(
    "batches",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("members", ARRAY(Integer), nullable=False),
    Column("arrangement", Text, nullable=False),
    # Mean cosine distance of its members from each other, and of as many taken at random.
    Column("diversity", Double),
    Column("diversity_random", Double),
    Column("step", Integer, nullable=False),
    Column("gradient_norm", Double),
    Column("loss", Double),
    Column("seconds", Double),
    Column("reason", Text),
    _time("created_at", now=True),
    _time("trained_at"),
    PrimaryKeyConstraint("run_id", "round", "ordinal"),
    UniqueConstraint("run_id", "step"),
    ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.ordinal"], ondelete="CASCADE"),
)

# What a step of training said of each instruction of its batch.
lessons = Table(
    "lessons",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("loss", Double),
    Column("gradient_norm", Double),
    # By so many nats a token its answer is predicted better behind it than behind an empty instruction.
    Column("brings", Double),
    Column("reason", Text),
    PrimaryKeyConstraint("run_id", "round", "batch", "ordinal"),
    ForeignKeyConstraint(
        ["run_id", "round", "batch"], ["batches.run_id", "batches.round", "batches.ordinal"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(["run_id", "ordinal"], ["instructions.run_id", "instructions.ordinal"], ondelete="CASCADE"),
)

# Who entered the seed pool and who left it, after which round and why. The seeds given are in it from the start.
seed_events = Table(
    "seed_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    _time("created_at", now=True),
    UniqueConstraint("run_id", "round", "event", "ordinal"),
    ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.ordinal"], ondelete="CASCADE"),
    ForeignKeyConstraint(["run_id", "ordinal"], ["instructions.run_id", "instructions.ordinal"], ondelete="CASCADE"),
    CheckConstraint("event IN ('entered', 'left')", name="event"),
)
