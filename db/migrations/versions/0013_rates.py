"""What the tasks that ended in each minute brought: rates need no look into the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("calls", "tokens", "nusd", "nodes"):
        op.add_column("minutes", sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("minutes", sa.Column("call_s", sa.Double(), nullable=False, server_default=sa.text("0")))
