"""What was asked of models, and sums."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.schema.base import metadata, time

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
    time("created_at", now=True),
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
    time("created_at", now=True),
    CheckConstraint("fate IN ('open', 'lost', 'doubled')", name="fate"),
    Index("attempts_run_id_idx", "run_id"),
    Index("attempts_task_id_idx", "task_id"),
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.02},
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
