"""Work: tasks, who does them, what ended when, and what is to be told."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
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
    time("not_before", now=True),
    Column("lease_token", BigInteger, nullable=False, server_default=text("0")),
    time("lease_until"),
    # The second clock: whoever is alive but stuck for this long loses the task, however well it beats.
    Column("deadline_s", Double, nullable=False, server_default=text("600")),
    time("deadline"),
    Column("worker", Text),
    count("reserved_calls"),
    count("reserved_tokens"),
    count("reserved_nusd"),
    Column("result", JSONB),
    Column("error", Text),
    time("hinted_at"),
    time("ended_at"),
    time("applied_at"),
    time("created_at", now=True),
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


def _ended() -> tuple[Column[Any], ...]:
    """What ended: how long it had waited, how long it ran, how long the scheduler took to notice.

    `waits` and `runs` count by length (`db.minutes.BOUNDS_S`); what nobody ever began is in `failed` only.
    """
    return (
        Column("done", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("retries", BigInteger, nullable=False),
        Column("wait_s", Double, nullable=False),
        Column("run_s", Double, nullable=False),
        Column("lag_s", Double, nullable=False),
        Column("waits", ARRAY(BigInteger), nullable=False),
        Column("runs", ARRAY(BigInteger), nullable=False),
    )


# What ended in each minute.
minutes = Table(
    "minutes",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("minute", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    *_ended(),
    # What they brought: answers in the ledger, their tokens, nano-dollars (of known prices) and seconds; evolutions.
    count("calls"),
    count("tokens"),
    count("nusd"),
    Column("call_s", Double, nullable=False, server_default=text("0")),
    count("nodes"),
    PrimaryKeyConstraint("run_id", "minute", "kind"),
)

# The same, of the whole run: what a question for all that ever ended reads instead.
task_totals = Table(
    "task_totals",
    metadata,
    Column("run_id", BigInteger, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    *_ended(),
    PrimaryKeyConstraint("run_id", "kind"),
    postgresql_with={"fillfactor": 50},  # written at nearly every tick: its new version fits beside the old one
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
    count("tasks_done"),
    time("started_at", now=True),
    time("beat_at", now=True),
    time("left_at"),
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
    time("at", now=True),
    time("not_before", now=True),
    time("told_at"),
    CheckConstraint("event IN ('done', 'stopped', 'paused', 'stalled', 'endpoint_down')", name="event"),
    CheckConstraint("channel IN ('webhook', 'command')", name="channel"),
    CheckConstraint("state IN ('waiting', 'told', 'given_up')", name="state"),
    Index("notices_waiting_idx", "not_before", postgresql_where=text("state = 'waiting'")),
    Index("notices_run_id_idx", "run_id"),
)
