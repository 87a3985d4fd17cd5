"""The pool of a run without trees, and its training."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from db.schema.base import metadata, time

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
    time("created_at", now=True),
    time("settled_at"),
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
    time("created_at", now=True),
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
    time("created_at", now=True),
    time("trained_at"),
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
    time("created_at", now=True),
    UniqueConstraint("run_id", "round", "event", "ordinal"),
    ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.ordinal"], ondelete="CASCADE"),
    ForeignKeyConstraint(["run_id", "ordinal"], ["instructions.run_id", "instructions.ordinal"], ondelete="CASCADE"),
    CheckConstraint("event IN ('entered', 'left')", name="event"),
)
