"""What people say of examples: keep or drop, with the reason, in the order in which it was said."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("example_id", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict IN ('keep', 'drop')", name=op.f("verdicts_verdict_check")),
        sa.CheckConstraint("reason <> ''", name=op.f("verdicts_reason_given_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("verdicts_run_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["example_id"], ["examples.id"], name=op.f("verdicts_example_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("verdicts_pkey")),
    )
    op.create_index(op.f("verdicts_run_id_example_id_idx"), "verdicts", ["run_id", "example_id", "id"])
    op.create_index(op.f("verdicts_example_id_idx"), "verdicts", ["example_id"])
