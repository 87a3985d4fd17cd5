"""Sums that are written with the rows they sum; counted here once from those that there are."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SCORES = """
    count(*), coalesce(sum(n.quality::numeric), 0), coalesce(sum(n.diversity::numeric), 0),
    coalesce(sum(n.complexity::numeric), 0), coalesce(sum(n.reward::numeric), 0)
"""
_TOTALS = f"""
    INSERT INTO totals (run_id, what, status, reason, count, quality, diversity, complexity, reward)
    SELECT run_id, 'trees', status, coalesce(reason, ''), count(*), 0, 0, 0, 0 FROM trees GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT t.run_id, CASE WHEN n.parent_key IS NULL THEN 'seeds' ELSE 'evolved' END, n.status, coalesce(n.reason, ''),
           {_SCORES}
    FROM nodes n JOIN trees t ON t.id = n.tree_id WHERE n.status NOT IN ('proposed', 'generated') GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT run_id, 'texts', status, coalesce(reason, ''), count(*), 0, 0, 0, 0 FROM instructions
    WHERE origin = 'generated' GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT e.run_id, 'examples', e.status, coalesce(e.reason, ''), {_SCORES}
    FROM examples e LEFT JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key GROUP BY 1, 2, 3, 4
"""
_CALL_TOTALS = """
    INSERT INTO call_totals
        (run_id, role, endpoint, model, outcome, calls, tokens_in, tokens_out, nusd, unpriced, seconds)
    SELECT c.run_id, c.role, c.endpoint, c.model, c.outcome, count(*), sum(c.tokens_in), sum(c.tokens_out),
           coalesce(sum(c.nusd), 0), count(*) FILTER (WHERE c.nusd IS NULL), sum(c.latency_s::numeric)
    FROM calls c LEFT JOIN tasks k ON k.id = c.task_id AND k.applied_at IS NULL
    WHERE c.run_id IS NOT NULL AND k.id IS NULL GROUP BY 1, 2, 3, 4, 5
"""
_HARVESTABLE = """
    WITH RECURSIVE up AS (
        SELECT o.tree_id, o.leaf_key AS key FROM rollouts o JOIN trees t ON t.id = o.tree_id WHERE t.status = 'grown'
        UNION
        SELECT n.tree_id, n.parent_key FROM nodes n JOIN up ON n.tree_id = up.tree_id AND n.key = up.key
        WHERE n.parent_key IS NOT NULL
    ), counted AS (
        SELECT up.tree_id, count(*) AS harvestable FROM up JOIN nodes n ON n.tree_id = up.tree_id AND n.key = up.key
        WHERE n.parent_key IS NOT NULL AND n.status = 'scored' GROUP BY up.tree_id
    )
    UPDATE trees t SET harvestable = c.harvestable FROM counted c WHERE t.id = c.tree_id
"""


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")  # what is summed up may be long
    op.add_column("trees", sa.Column("harvestable", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.create_index(
        op.f("trees_open_idx"), "trees", ["run_id"], postgresql_where=sa.text("status IN ('growing', 'cut')")
    )
    op.create_table(
        "totals",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Numeric(), nullable=False) for name in ("quality", "diversity", "complexity", "reward")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("totals_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "what", "status", "reason", name=op.f("totals_pkey")),
        sa.CheckConstraint(
            "what IN ('trees', 'seeds', 'evolved', 'texts', 'examples')", name=op.f("totals_what_check")
        ),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "call_totals",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("role", "endpoint", "model", "outcome")),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("calls", "tokens_in", "tokens_out", "nusd", "unpriced")
        ),
        sa.Column("seconds", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("call_totals_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "role", "endpoint", "model", "outcome", name=op.f("call_totals_pkey")),
        postgresql_with={"fillfactor": 50},
    )
    op.execute(_TOTALS)
    op.execute(_CALL_TOTALS)
    op.execute(_HARVESTABLE)
