"""Show 6: every hint delivered twice brings what the same run brings without."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.chaos.audit import complain, counts
from tests.chaos.jobs import GREEDY, PRICES, shape
from tests.chaos.site import Layout
from tests.chaos.stage import staged

_NODES = """
    SELECT t.ordinal, n.key, n.parent_key, n.operator, n.status, n.text, n.quality, n.diversity, n.complexity,
           n.reward, n.visits, n.value_sum, n.reason
    FROM nodes n JOIN trees t ON t.id = n.tree_id ORDER BY t.ordinal, n.key
"""
Rows = Sequence[tuple[Any, ...]]


def doubled(folder: Path, *, seed: int) -> bool:
    """Two runs of the same seeds on fresh databases, one of them with each hint twice: nodes, scores, data set."""
    nodes_once, rows_once, held_once = _grown(folder / "once", seed, "")
    nodes_twice, rows_twice, held_twice = _grown(folder / "twice", seed, "copies=2")
    other_nodes = len(set(nodes_once) ^ set(nodes_twice))
    other_rows = len(set(rows_once) ^ set(rows_twice))
    same = len(nodes_once) == len(nodes_twice) and not other_nodes and not other_rows
    print(
        f"nodes={len(nodes_once)} rows={len(rows_once)} other_nodes={other_nodes} other_rows={other_rows} "
        f"laws={'hold' if held_once and held_twice else 'broken'}",
        flush=True,
    )
    return same and held_once and held_twice


def _grown(folder: Path, seed: int, chaos: str) -> tuple[Rows, list[str], bool]:
    folder.mkdir()
    layout = Layout(faults=("--latency", "200"), chaos=chaos)
    work = shape(iterations=2, children=4, trees=16, harvest=24, timeout_s=30)
    with staged(folder, layout, seed, width=16, options=(*work, *GREEDY, *PRICES)) as stage:
        job = stage.begin("the-run")
        verdict = stage.conclude()
        complain(verdict)
        stage.say(f"{chaos or 'copies=1'}: {counts(verdict)}")
        with stage.site.engine.connect() as connection:
            nodes = [tuple(row) for row in connection.execute(text(_NODES))]
        lines = [json.loads(line) for line in job.dataset.read_text(encoding="utf-8").splitlines()]
        return nodes, [json.dumps(line, sort_keys=True) for line in lines], verdict.holds
