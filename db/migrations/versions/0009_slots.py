"""How many slots a worker is to have, and why a worker was refused work."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("slots_wanted", sa.Integer()))
    op.add_column("workers", sa.Column("refused", sa.Text()))
