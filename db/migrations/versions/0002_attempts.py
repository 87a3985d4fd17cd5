"""Attempts whose answer is not known, the deadline of a task, and wall time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("cap_s", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("driven_s", sa.Double(), server_default=sa.text("0"), nullable=False))
    op.add_column("runs", sa.Column("driven_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("deadline_s", sa.Double(), server_default=sa.text("600"), nullable=False))
    op.add_column("tasks", sa.Column("deadline", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("nusd", sa.BigInteger(), nullable=True),
        sa.Column("fate", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("settled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("fate IN ('open', 'lost', 'doubled')", name=op.f("attempts_fate_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("attempts_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("attempts_pkey")),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.02},
    )
    op.create_index("attempts_run_id_idx", "attempts", ["run_id"], unique=False)
    op.create_index("attempts_task_id_idx", "attempts", ["task_id"], unique=False)
