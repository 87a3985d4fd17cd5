"""What ended in each minute, and what monitoring asks often: when tasks ended, and indices by time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("ended_at", sa.DateTime(timezone=True)))
    op.create_table(
        "minutes",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        sa.Column("wait_s", sa.Double(), nullable=False),
        sa.Column("run_s", sa.Double(), nullable=False),
        sa.Column("lag_s", sa.Double(), nullable=False),
        sa.Column("waits", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("runs", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("minutes_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "minute", "kind", name=op.f("minutes_pkey")),
    )
    op.create_index(op.f("nodes_settled_at_idx"), "nodes", ["settled_at"], postgresql_using="brin")
    op.create_index(op.f("calls_created_at_idx"), "calls", ["created_at"], postgresql_using="brin")
