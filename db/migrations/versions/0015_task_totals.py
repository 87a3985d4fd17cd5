"""What ended, summed up for each run and kind of task, so that a scrape reads no minutes. Counted once from these."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COUNTS, _SECONDS, _LENGTHS = ("done", "failed", "retries"), ("wait_s", "run_s", "lag_s"), ("waits", "runs")
_CLASSES = range(1, 14)


def _summed(name: str) -> str:
    return f"ARRAY[{', '.join(f'sum({name}[{place}])::bigint' for place in _CLASSES)}]"


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")  # what is summed up may be long
    op.create_table(
        "task_totals",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        *(sa.Column(name, sa.Double(), nullable=False) for name in _SECONDS),
        *(sa.Column(name, sa.ARRAY(sa.BigInteger()), nullable=False) for name in _LENGTHS),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("task_totals_run_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "kind", name=op.f("task_totals_pkey")),
        postgresql_with={"fillfactor": 50},
    )
    op.execute(
        f"""
        INSERT INTO task_totals (run_id, kind, {", ".join(_COUNTS + _SECONDS + _LENGTHS)})
        SELECT run_id, kind, {", ".join(f"sum({name})" for name in _COUNTS + _SECONDS)},
               {", ".join(map(_summed, _LENGTHS))}
        FROM minutes GROUP BY run_id, kind
        """
    )
