"""What is to be told of a run; since when nothing has moved in it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("moved_s", sa.Double(), server_default=sa.text("0"), nullable=False))
    op.add_column("runs", sa.Column("stalled", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute("UPDATE runs SET moved_s = driven_s")
    op.create_table(
        "notices",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("state", sa.Text(), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("event IN ('done', 'stopped', 'paused', 'stalled')", name=op.f("notices_event_check")),
        sa.CheckConstraint("channel IN ('webhook', 'command')", name=op.f("notices_channel_check")),
        sa.CheckConstraint("state IN ('waiting', 'told', 'given_up')", name=op.f("notices_state_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("notices_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("notices_pkey")),
    )
    op.create_index(
        op.f("notices_waiting_idx"), "notices", ["not_before"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index(op.f("notices_run_id_idx"), "notices", ["run_id"])
