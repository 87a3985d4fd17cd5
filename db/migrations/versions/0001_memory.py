"""The memory of design section 4, from nothing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("seeds_given", sa.Integer(), nullable=False),
        sa.Column("seeds_duplicate", sa.Integer(), nullable=False),
        sa.Column("cap_calls", sa.BigInteger(), nullable=True),
        sa.Column("cap_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cap_nusd", sa.BigInteger(), nullable=True),
        sa.Column("reserved_calls", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_nusd", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("spent_calls", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("spent_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("spent_nusd", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("calls_replayed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("owner_token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("phase IN ('growing', 'responding', 'ended')", name=op.f("runs_phase_check")),
        sa.CheckConstraint(
            "status IN ('running', 'paused', 'done', 'stopped', 'cancelled', 'failed')",
            name=op.f("runs_status_check"),
        ),
        sa.CheckConstraint(
            "cap_calls IS NULL OR reserved_calls + spent_calls <= cap_calls",
            name=op.f("runs_cap_calls_check"),
        ),
        sa.CheckConstraint(
            "cap_nusd IS NULL OR reserved_nusd + spent_nusd <= cap_nusd", name=op.f("runs_cap_nusd_check")
        ),
        sa.CheckConstraint(
            "cap_tokens IS NULL OR reserved_tokens + spent_tokens <= cap_tokens",
            name=op.f("runs_cap_tokens_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("runs_pkey")),
        sa.UniqueConstraint("name", name=op.f("runs_name_key")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("busy", sa.Integer(), nullable=False),
        sa.Column("tasks_done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("workers_pkey")),
    )
    op.create_table(
        "calls",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tokens_in", sa.Integer(), nullable=False),
        sa.Column("tokens_out", sa.Integer(), nullable=False),
        sa.Column("nusd", sa.BigInteger(), nullable=True),
        sa.Column("latency_s", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("response", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('ok', 'cut', 'empty', 'refused', 'filtered')", name=op.f("calls_outcome_check")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("calls_run_id_fkey"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("calls_pkey")),
        sa.UniqueConstraint("key", name=op.f("calls_key_key")),
    )
    op.create_index("calls_run_id_idx", "calls", ["run_id"], unique=False)
    op.create_index("calls_task_id_idx", "calls", ["task_id"], unique=False)
    op.create_table(
        "rounds",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("generated", sa.Integer(), nullable=False),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("rounds_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "ordinal", name=op.f("rounds_pkey")),
    )
    op.create_table(
        "seed_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("event IN ('entered', 'left')", name=op.f("seed_events_event_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("seed_events_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("seed_events_pkey")),
    )
    op.create_table(
        "trees",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("seed", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("status IN ('waiting', 'growing', 'grown', 'cut')", name=op.f("trees_status_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("trees_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("trees_pkey")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("trees_run_id_ordinal_key")),
    )
    op.create_table(
        "batches",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("members", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("gradient_norm", sa.Double(), nullable=True),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "round"],
            ["rounds.run_id", "rounds.ordinal"],
            name=op.f("batches_run_id_round_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "round", "ordinal", name=op.f("batches_pkey")),
    )
    op.create_table(
        "nodes",
        sa.Column("tree_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("parent_key", sa.Text(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("quality", sa.Double(), nullable=True),
        sa.Column("diversity", sa.Double(), nullable=True),
        sa.Column("complexity", sa.Double(), nullable=True),
        sa.Column("reward", sa.Double(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("visits", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("value_sum", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("calls", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'scored') = (reward IS NOT NULL)", name=op.f("nodes_scored_has_reward_check")),
        sa.CheckConstraint("origin IN ('seed', 'expansion', 'simulation')", name=op.f("nodes_origin_check")),
        sa.CheckConstraint(
            "status IN ('proposed', 'generated', 'scored', 'unscored', 'rejected', 'failed')",
            name=op.f("nodes_status_check"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('unscored', 'rejected', 'failed') OR reason IS NOT NULL",
            name=op.f("nodes_reason_given_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tree_id", "parent_key"],
            ["nodes.tree_id", "nodes.key"],
            name=op.f("nodes_tree_id_parent_key_fkey"),
        ),
        sa.ForeignKeyConstraint(["tree_id"], ["trees.id"], name=op.f("nodes_tree_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tree_id", "key", name=op.f("nodes_pkey")),
        sa.UniqueConstraint(
            "tree_id",
            "parent_key",
            "ordinal",
            name=op.f("nodes_tree_id_parent_key_ordinal_key"),
            postgresql_nulls_not_distinct=True,
        ),
        postgresql_with={"fillfactor": 85},
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("tree_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'ready'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("reserved_calls", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_nusd", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('ready', 'leased', 'done', 'failed')", name=op.f("tasks_state_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("tasks_run_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tree_id"], ["trees.id"], name=op.f("tasks_tree_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
        sa.UniqueConstraint("run_id", "key", name=op.f("tasks_run_id_key_key")),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.02, "fillfactor": 70},
    )
    op.create_index(
        "tasks_finished_idx",
        "tasks",
        ["run_id", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('done', 'failed') AND applied_at IS NULL"),
    )
    op.create_index(
        "tasks_leased_idx",
        "tasks",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "tasks_ready_idx", "tasks", ["not_before"], unique=False, postgresql_where=sa.text("state = 'ready'")
    )
    op.create_table(
        "examples",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("tree_id", sa.BigInteger(), nullable=False),
        sa.Column("node_key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("response_calls", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'accepted', 'rejected', 'failed')", name=op.f("examples_status_check")
        ),
        sa.CheckConstraint(
            "status NOT IN ('rejected', 'failed') OR reason IS NOT NULL",
            name=op.f("examples_reason_given_check"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("examples_run_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["tree_id", "node_key"],
            ["nodes.tree_id", "nodes.key"],
            name=op.f("examples_tree_id_node_key_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("examples_pkey")),
        sa.UniqueConstraint("run_id", "tree_id", "node_key", name=op.f("examples_run_id_tree_id_node_key_key")),
    )
    op.create_table(
        "rollouts",
        sa.Column("tree_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("leaf_key", sa.Text(), nullable=False),
        sa.Column("reward", sa.Double(), nullable=True),
        sa.Column("terminal", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tree_id", "leaf_key"],
            ["nodes.tree_id", "nodes.key"],
            name=op.f("rollouts_tree_id_leaf_key_fkey"),
        ),
        sa.ForeignKeyConstraint(["tree_id"], ["trees.id"], name=op.f("rollouts_tree_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tree_id", "ordinal", name=op.f("rollouts_pkey")),
    )
