"""Runs that no model has grown, planted as rows: many trees, one huge tree, and texts that mean harm."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Engine, text

from db import examples, nodes, runs
from db.records import Caps, NodeRow, Run, TreeRow
from orchestrator.config import build

# What a page, a terminal or a reader's eye could take for something else, and a word that no line can hold.
HOSTILE = (
    "<script>document.title = 'owned'; alert(1)</script><img src=x onerror=alert(2)><b>bold</b>"
    "\x1b[31mred\x1b[0m\x07 \u202egnp.exe\u202c \u2066isolated {{ 7 * 7 }} ${7*7} </textarea></title> &amp; "
)
WORD = "w" * 100_000
_OPERATORS = ("add-goal", "add-constraint", "real-world", "emotion")
# As if ten nodes had come in each second, and each had been settled three seconds later.
_TIMES = """
    UPDATE nodes SET visits = 1 + :count / ordinal % 90, created_at = now() + make_interval(secs => ordinal / 10),
        settled_at = CASE WHEN status <> 'proposed' THEN now() + make_interval(secs => ordinal / 10 + 3) END
    WHERE tree_id = :tree AND parent_key IS NOT NULL
"""
_ROWS = 60


def plant(engine: Engine, name: str, *, trees: int, seed: str = "Tell me about topic") -> Run:
    """A finished run with so many trees, of a seed each."""
    config = build("idea-mcts", [{"endpoints": {"default": {"model": "m"}}}])
    seeds = [{"instruction": f"{seed} number {n}" if trees > 1 else seed, "input": ""} for n in range(trees)]
    with engine.begin() as connection:
        run = runs.create(
            connection,
            name=name,
            recipe=config.recipe,
            config=config.model_dump(mode="json"),
            config_hash=config.digest(),
            caps=Caps(),
            seeds=seeds,
            duplicates=0,
        )
        connection.execute(text("UPDATE trees SET status = 'grown' WHERE run_id = :run"), {"run": run.id})
        _score(connection, [_root(row) for row in runs.trees_of(connection, run.id)])
        runs.set_phase(connection, run.id, "ended")
        runs.set_status(connection, run.id, "done")
    return run


def grow(engine: Engine, run: Run, count: int, *, words: str = "Text", output: str = "Fine.") -> None:
    """Gives the first tree of a run so many nodes, its seed among them, and up to 60 of them as examples."""
    with engine.begin() as connection:
        tree = runs.trees_of(connection, run.id)[0].id
        grown = list(_grown(tree, count, words))
        _score(connection, grown)
        connection.execute(text(_TIMES), {"tree": tree, "count": count})
        good = [row for row in grown if row.status == "scored"][:_ROWS]
        examples.propose(connection, [_example(run, row) for row in good])
        texts = "UPDATE examples SET input = :input, output = :output WHERE run_id = :run"
        connection.execute(text(texts), {"run": run.id, "input": words, "output": output})


def _score(connection: Connection, rows: Sequence[NodeRow]) -> None:
    nodes.add(connection, [replace(row, status="proposed") for row in rows])
    nodes.settle(connection, [row for row in rows if row.status != "proposed"])


def _root(tree: TreeRow) -> NodeRow:
    return NodeRow(
        tree_id=tree.id,
        key="root",
        parent_key=None,
        ordinal=0,
        depth=0,
        operator=None,
        origin="seed",
        iteration=0,
        status="scored",
        text=tree.seed["instruction"],
        quality=2,
        diversity=2,
        complexity=2,
        reward=6,
    )


def _example(run: Run, row: NodeRow) -> dict[str, object]:
    """One in three was refused."""
    refused = row.ordinal % 3 == 0
    return {
        "run_id": run.id,
        "tree_id": row.tree_id,
        "node_key": row.key,
        "instruction": row.text,
        "status": "rejected" if refused else "accepted",
        "reason": "duplicate" if refused else None,
    }


def _grown(tree: int, count: int, words: str, children: int = 5) -> Iterator[NodeRow]:
    """Node after node, each below the first one that has not its children yet; the last ones are still in flight."""
    depths = [0]
    for n in range(1, count):
        above = (n - 1) // children
        depths.append(depths[above] + 1)
        status = "proposed" if n > count - 9 else "rejected" if n % 13 == 0 else "scored"
        score = 1 + (n * 7 % 50) / 10 if status == "scored" else None
        yield NodeRow(
            tree_id=tree,
            key=f"n{n}",
            parent_key=f"n{above}" if above else "root",
            ordinal=n,
            depth=depths[n],
            operator=_OPERATORS[n % 4],
            origin="expansion",
            iteration=1,
            status=status,
            text=f"{words} {n}",
            quality=score,
            diversity=score,
            complexity=score,
            reward=None if score is None else 3 * score,
            reason="duplicate" if status == "rejected" else None,
        )
