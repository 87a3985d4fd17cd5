"""Runs without trees: a pool of instructions, its rounds, what was trained on, and who entered and left the seeds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    # Nothing wrote to these three before.
    for table in ("seed_events", "batches", "rounds"):
        op.drop_table(table)
    op.alter_column("tasks", "tree_id", nullable=True)
    _instructions()
    _examples()
    _rounds()
    _batches()
    _lessons()
    _seed_events()


def _instructions() -> None:
    op.create_table(
        "instructions",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer()),
        sa.Column("slot", sa.Integer()),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seed", postgresql.JSONB()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("nearest", sa.Integer()),
        sa.Column("similarity", sa.Double()),
        sa.Column("is_classification", sa.Boolean()),
        sa.Column("shown", postgresql.ARRAY(sa.Integer()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("calls", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("instance_calls", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("origin IN ('seed', 'generated')", name=op.f("instructions_origin_check")),
        sa.CheckConstraint("(origin = 'seed') = (seed IS NOT NULL)", name=op.f("instructions_seed_is_whole_check")),
        sa.CheckConstraint(
            "(origin = 'generated') = (round IS NOT NULL)", name=op.f("instructions_generated_in_a_round_check")
        ),
        sa.CheckConstraint("status IN ('kept', 'rejected')", name=op.f("instructions_status_check")),
        sa.CheckConstraint(
            "(status = 'rejected') = (reason IS NOT NULL)", name=op.f("instructions_reason_given_check")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("instructions_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "ordinal", name=op.f("instructions_pkey")),
    )


def _examples() -> None:
    op.alter_column("examples", "tree_id", nullable=True)
    op.alter_column("examples", "node_key", nullable=True)
    op.add_column("examples", sa.Column("ordinal", sa.Integer()))
    op.add_column("examples", sa.Column("instance", sa.Integer()))
    op.create_unique_constraint(
        op.f("examples_run_id_ordinal_instance_key"), "examples", ["run_id", "ordinal", "instance"]
    )
    op.create_foreign_key(
        op.f("examples_run_id_ordinal_fkey"),
        "examples",
        "instructions",
        ["run_id", "ordinal"],
        ["run_id", "ordinal"],
        ondelete="CASCADE",
    )
    op.create_check_constraint(
        op.f("examples_of_node_or_instance_check"),
        "examples",
        "num_nulls(tree_id, node_key) = num_nonnulls(ordinal, instance)",
    )


def _rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("prompts", sa.Integer(), nullable=False),
        sa.Column("prompts_lost", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("generated", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("kept", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("filter_s", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("embed_s", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "status IN ('generating', 'instancing', 'training', 'done')", name=op.f("rounds_status_check")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("rounds_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "ordinal", name=op.f("rounds_pkey")),
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("members", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("arrangement", sa.Text(), nullable=False),
        sa.Column("diversity", sa.Double()),
        sa.Column("diversity_random", sa.Double()),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("gradient_norm", sa.Double()),
        sa.Column("loss", sa.Double()),
        sa.Column("seconds", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("trained_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["run_id", "round"],
            ["rounds.run_id", "rounds.ordinal"],
            name=op.f("batches_run_id_round_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "round", "ordinal", name=op.f("batches_pkey")),
        sa.UniqueConstraint("run_id", "step", name=op.f("batches_run_id_step_key")),
    )


def _of_instruction(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id", "ordinal"],
        ["instructions.run_id", "instructions.ordinal"],
        name=op.f(f"{table}_run_id_ordinal_fkey"),
        ondelete="CASCADE",
    )


def _lessons() -> None:
    op.create_table(
        "lessons",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("loss", sa.Double()),
        sa.Column("gradient_norm", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.ForeignKeyConstraint(
            ["run_id", "round", "batch"],
            ["batches.run_id", "batches.round", "batches.ordinal"],
            name=op.f("lessons_run_id_round_batch_fkey"),
            ondelete="CASCADE",
        ),
        _of_instruction("lessons"),
        sa.PrimaryKeyConstraint("run_id", "round", "batch", "ordinal", name=op.f("lessons_pkey")),
    )


def _seed_events() -> None:
    op.create_table(
        "seed_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint("event IN ('entered', 'left')", name=op.f("seed_events_event_check")),
        sa.ForeignKeyConstraint(
            ["run_id", "round"],
            ["rounds.run_id", "rounds.ordinal"],
            name=op.f("seed_events_run_id_round_fkey"),
            ondelete="CASCADE",
        ),
        _of_instruction("seed_events"),
        sa.PrimaryKeyConstraint("id", name=op.f("seed_events_pkey")),
        sa.UniqueConstraint(
            "run_id", "round", "event", "ordinal", name=op.f("seed_events_run_id_round_event_ordinal_key")
        ),
    )
