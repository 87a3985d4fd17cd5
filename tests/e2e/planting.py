"""Runs that no model has grown, planted as rows: many trees, one huge tree, and texts that mean harm."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Engine, text

from db import examples, nodes, pools, runs, verdicts, workers
from db.records import Caps, InstanceRow, InstructionRow, NodeRow, RoundRow, Run, TreeRow
from orchestrator.config import build

# What a page, a terminal or a reader's eye could take for something else, and a word that no line can hold.
HOSTILE = (
    "<script>document.title = 'owned'; alert(1)</script><img src=x onerror=alert(2)><b>bold</b>"
    "\x1b[31mred\x1b[0m\x07 \u202egnp.exe\u202c \u2066isolated {{ 7 * 7 }} ${7*7} </textarea></title> &amp; "
)
WORD = "w" * 100_000
# The same in as few letters as a narrow column shows, and then more than it has room for.
NAME = "<script>x()</script>\u202e\x1b[31m<img src=x onerror=alert(3)>\x07" + "w" * 120
_OPERATORS = ("add-goal", "add-constraint", "real-world", "emotion")
# As if ten nodes had come in each second, and each had been settled three seconds later.
_TIMES = """
    UPDATE nodes SET visits = 1 + :count / ordinal % 90, created_at = now() + make_interval(secs => ordinal / 10),
        settled_at = CASE WHEN status <> 'proposed' THEN now() + make_interval(secs => ordinal / 10 + 3) END
    WHERE tree_id = :tree AND parent_key IS NOT NULL
"""
_ROWS = 60
# Whatever of a run others write beside its texts.
_SPOILED = (
    "UPDATE runs SET status = 'running', phase = 'responding', reason = :name, changes = :changes, config = jsonb_set("
    "config, '{work,endpoints}', :endpoints) WHERE id = :run",
    "UPDATE nodes SET operator = :name, tags = ARRAY[:name], calls = '{hostile}' WHERE tree_id = :tree AND depth > 0",
    "UPDATE nodes SET reason = :name WHERE tree_id = :tree AND reason IS NOT NULL",
    "UPDATE examples SET reason = :name WHERE run_id = :run AND reason IS NOT NULL",
    "UPDATE examples SET response_calls = '{hostile}' WHERE run_id = :run",
    "UPDATE totals SET reason = :name WHERE run_id = :run AND reason <> ''",
    "INSERT INTO calls (key, run_id, role, endpoint, model, tokens_in, tokens_out, latency_s, outcome, response) "
    "VALUES ('hostile', :run, 'responder', :name, :name, 10, 10, 1.0, 'ok', '{}')",
    "INSERT INTO tasks (run_id, key, kind, payload, state, error) VALUES (:run, 'failed', 'respond', '{}', 'failed', "
    ":name), (:run, 'waits', 'respond', '{}', 'ready', :name)",
    "INSERT INTO notices (run_id, event, channel, attempts, error) VALUES (:run, 'stalled', 'webhook', 1, :name)",
)


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


def spoil(engine: Engine, run: Run) -> None:
    """Hostile words in all that a grown run shows beside its texts; from now on it counts as under way."""
    values = {
        "name": NAME,
        "run": run.id,
        "changes": json.dumps([{"at": "2026-01-01T00:00:00+00:00", "what": NAME, "from": 1, "to": 2}]),
        "endpoints": json.dumps({NAME: {"model": NAME, "concurrency": 4}}),
    }
    with engine.begin() as connection:
        values["tree"] = runs.trees_of(connection, run.id)[0].id
        for statement in _SPOILED:
            connection.execute(text(statement), values)
        for (example,) in connection.execute(text("SELECT id FROM examples WHERE run_id = :run"), values).all():
            verdicts.give(connection, run.id, example, "drop", reason=NAME, made_by=NAME)
        _staff(connection)


def _staff(connection: Connection) -> None:
    """A worker at work, one that has gone silent, and one that was refused."""
    alive = workers.Identity(id=NAME, host=NAME, pid=1, version=NAME, queues=(NAME,), slots=4)
    workers.register(connection, alive)
    workers.register(connection, replace(alive, id="silent", pid=2))
    workers.refuse_start(connection, replace(alive, host=f"{NAME}2"), NAME)
    beats = "UPDATE workers SET beat_at = now() + make_interval(secs => :later) WHERE id = :id"
    for later, worker in ((3600, NAME), (-120, "silent")):
        connection.execute(text(beats), {"later": later, "id": worker})


def plant_pool(engine: Engine, name: str) -> None:
    """A run that widens a pool: a seed, a text generated from it, and its instance, each of hostile words."""
    config = build("sedi-instruct", [{"endpoints": {"default": {"model": NAME}}}])
    seed = {"instruction": HOSTILE, "input": HOSTILE, "output": HOSTILE}
    with engine.begin() as connection:
        run = runs.create(
            connection,
            name=name,
            recipe=config.recipe,
            config=config.model_dump(mode="json"),
            config_hash=config.digest(),
            caps=Caps(),
            seeds=[seed],
            duplicates=0,
            trees=False,
        )
        pools.open_round(connection, run.id, 0, 1)
        pools.plant(connection, run.id, [(HOSTILE, seed)])
        kept = InstructionRow(
            ordinal=1, origin="generated", text=HOSTILE, status="kept", round=0, slot=0, nearest=0, shown=(0,)
        )
        pools.add(connection, run.id, [kept, replace(kept, ordinal=2, status="rejected", reason=NAME)])
        instance = InstanceRow(
            ordinal=1, instance=0, instruction=HOSTILE, input=HOSTILE, output=HOSTILE, status="rejected", reason=NAME
        )
        pools.give(connection, run.id, [instance], ["hostile"])
        lost = RoundRow(
            ordinal=0,
            status="generating",
            prompts=1,
            prompts_lost={NAME: 1},
            generated=2,
            kept=1,
            filter_s=0.0,
            embed_s=0.0,
        )
        pools.update_round(connection, run.id, lost)
