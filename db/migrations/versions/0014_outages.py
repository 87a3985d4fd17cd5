"""Endpoints that a run's tasks complain of, and the event that one of them is down."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("outages", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.drop_constraint(op.f("notices_event_check"), "notices")
    op.create_check_constraint(
        op.f("notices_event_check"), "notices", "event IN ('done', 'stopped', 'paused', 'stalled', 'endpoint_down')"
    )
