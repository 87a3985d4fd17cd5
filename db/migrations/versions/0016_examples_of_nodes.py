"""An example is found by its node, so that removing a run looks through no others'. Postgres 18 found it without."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")  # examples may be many
    op.create_index(
        "examples_node_idx", "examples", ["tree_id", "node_key"], postgresql_where=sa.text("tree_id IS NOT NULL")
    )
