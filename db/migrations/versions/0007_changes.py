"""What was changed of a run while it was on, beside the configuration it was begun with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("changes", postgresql.JSONB(), nullable=False, server_default=sa.text("'[]'")))
