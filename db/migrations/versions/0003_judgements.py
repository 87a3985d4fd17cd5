"""Judgements beside a node's own score, and the diversity pool that a node was let into."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("pool_version", sa.BigInteger(), nullable=True))
    op.add_column("nodes", sa.Column("judgements", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("nodes", sa.Column("spread", sa.Double(), nullable=True))
    op.drop_constraint(op.f("runs_phase_check"), "runs")
    op.create_check_constraint(
        op.f("runs_phase_check"), "runs", "phase IN ('growing', 'judging', 'responding', 'ended')"
    )
    op.create_table(
        "judgements",
        sa.Column("tree_id", sa.BigInteger(), nullable=False),
        sa.Column("node_key", sa.Text(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("quality", sa.Double(), nullable=True),
        sa.Column("diversity", sa.Double(), nullable=True),
        sa.Column("complexity", sa.Double(), nullable=True),
        sa.Column("reward", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("calls", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("judge IN ('search', 'held_out')", name=op.f("judgements_judge_check")),
        sa.CheckConstraint("(reward IS NULL) = (reason IS NOT NULL)", name=op.f("judgements_reason_given_check")),
        sa.ForeignKeyConstraint(
            ["tree_id", "node_key"],
            ["nodes.tree_id", "nodes.key"],
            name=op.f("judgements_tree_id_node_key_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tree_id", "node_key", "judge", "sample", name=op.f("judgements_pkey")),
    )
