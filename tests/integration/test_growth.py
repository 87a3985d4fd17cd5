"""What keeps a run of a million nodes as cheap as a small one: sums that are always their recount, and questions that
read no long table.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from typer.testing import CliRunner

from db import attempts, minutes, pool_costs, runs, tasks
from db.records import AttemptRow, Lease
from orchestrator.cli import app, look
from orchestrator.export import rows_of
from orchestrator.metrics import Figures
from orchestrator.status import status_of
from orchestrator.story import report_of
from tests.integration.night import Hands, assert_lawful, finish, good, start, varied, widened
from tests.integration.test_attempts import answer, page
from workers.llm.page import Unpaid

COUNTS = {
    "nodes": "SELECT count(*) FROM nodes",
    "nodes_scored": "SELECT count(*) FROM nodes WHERE status = 'scored'",
    "nodes_rejected": "SELECT count(*) FROM nodes WHERE status = 'rejected'",
    "trees_done": "SELECT count(*) FROM trees WHERE status = 'grown'",
    "trees_open": "SELECT count(*) FROM trees WHERE status = 'growing'",
    "examples": "SELECT count(*) FROM examples WHERE status = 'accepted'",
    "examples_pending": "SELECT count(*) FROM examples WHERE status = 'pending'",
    "calls": "SELECT count(*) FROM calls",
    "tokens_in": "SELECT coalesce(sum(tokens_in), 0) FROM calls",
    "usd": "SELECT coalesce(sum(nusd), 0) / 1e9 FROM calls",
}
MEANS = {
    "mean_seed": "SELECT avg(reward) FROM nodes WHERE parent_key IS NULL",
    "mean_evolved": "SELECT avg(reward) FROM nodes WHERE parent_key IS NOT NULL",
    "mean_harvest": (
        "SELECT avg(reward) FROM examples e JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key"
        " WHERE e.status IN ('accepted', 'pending')"
    ),
}


def assert_status_is_the_recount(engine: Engine, run_id: int) -> None:
    with engine.connect() as connection:
        found = status_of(connection, runs.by_id(connection, run_id))
        for name, query in COUNTS.items():
            assert found[name] == pytest.approx(float(connection.execute(text(query)).scalar_one())), name
        for name, query in MEANS.items():
            assert found[name]["reward"] == pytest.approx(connection.execute(text(query)).scalar_one(), abs=1e-4), name
        query = "SELECT reason, count(*) FROM nodes WHERE status IN ('rejected', 'failed', 'unscored') GROUP BY reason"
        rejected = {row.reason: row.count for row in connection.execute(text(query))}
        assert rejected.items() <= found["failures"].items()


def test_status_is_the_recount_of_the_rows_at_every_moment(engine: Engine):
    driver, hands = start(engine, "trees_at_once=2"), Hands(engine, varied, most=4)
    while not driver.over:
        driver.tick()
        assert_status_is_the_recount(engine, driver.run.id)
        hands.work()
        assert_status_is_the_recount(engine, driver.run.id)
    assert_lawful(engine, driver.run)


def test_rates_are_what_this_minute_and_the_one_before_brought(engine: Engine):
    first_over = "(SELECT min(minute) FROM minutes) + interval '1 minute'"
    run = finish(start(engine), Hands(engine, good))
    with engine.begin() as connection:
        paid, tokens = connection.execute(text("SELECT count(*), sum(tokens_in + tokens_out) FROM calls")).one()
        evolved = connection.execute(text("SELECT count(*) FROM nodes WHERE parent_key IS NOT NULL")).scalar_one()
        # The run itself may have gone over the end of a minute.
        connection.execute(text("UPDATE runs SET created_at = now() - interval '1 hour', finished_at = " + first_over))
        found = minutes.lately(connection, run.id)
        assert (found.seconds, found.calls, found.tokens, found.nodes) == (60, paid, tokens, evolved)
        assert found.nusd == 20_000 * paid
        assert found.call_s == pytest.approx(0.1 * paid)
        assert found.rates() == {
            "calls_per_s": paid / 60,
            "tokens_per_s": tokens / 60,
            "nodes_per_s": evolved / 60,
        }
        connection.execute(text(f"UPDATE runs SET finished_at = {first_over} + interval '2 minutes'"))
        assert set(minutes.lately(connection, run.id).rates().values()) == {0.0}


def halfway(engine: Engine) -> tuple[int, Lease]:
    """A run with trees that grow, results that nobody has applied, and a task in somebody's hands."""
    driver, hands = start(engine, "trees_at_once=2"), Hands(engine, good)
    for _ in range(6):
        driver.tick()
        hands.work()
    driver.tick()
    with engine.begin() as connection:
        first = connection.execute(text("SELECT min(id) FROM tasks WHERE state = 'ready'")).scalar_one()
        lease = tasks.claim(connection, first, worker="w", lease_s=60, max_attempts=5)
    assert lease is not None
    hands.work()
    return driver.run.id, lease


def announced(lease: Lease) -> AttemptRow:
    return AttemptRow(
        id="late",
        key="late",
        run_id=lease.run_id,
        task_id=lease.task_id,
        lease_token=lease.token,
        role="evolver",
        endpoint="default",
        tokens=100,
        nusd=300,
    )


def test_a_cancelled_run_keeps_its_sums(engine: Engine):
    run_id, _ = halfway(engine)
    with engine.begin() as connection:
        runs.cancel(connection, run_id)
        run = runs.by_id(connection, run_id)
    assert_lawful(engine, run)
    assert_status_is_the_recount(engine, run_id)


def test_an_answer_that_comes_after_its_task_is_counted_once(engine: Engine):
    run_id, lease = halfway(engine)
    assert page(engine, others=[announced(lease)]).refused == {}
    with engine.begin() as connection:
        runs.cancel(connection, run_id)
    for _ in range(2):  # the commit of a page may be unheard of, so it is written again
        page(engine, [answer(announced(lease))])
    with engine.connect() as connection:
        run = runs.by_id(connection, run_id)
    assert_lawful(engine, run)
    assert_status_is_the_recount(engine, run_id)


def test_an_attempt_that_was_not_paid_adds_no_call_even_where_one_of_its_key_is_there(engine: Engine):
    run_id, lease = halfway(engine)
    with engine.connect() as connection:
        known = connection.execute(text("SELECT min(key) FROM calls")).scalar_one()
    again = AttemptRow(**{**{n: getattr(announced(lease), n) for n in AttemptRow.__slots__}, "key": known})
    with engine.begin() as connection:
        assert attempts.open_all(connection, [again]) == {}
        runs.cancel(connection, run_id)
    page(engine, others=[Unpaid(again.id)])
    assert_status_is_the_recount(engine, run_id)


@contextmanager
def listened(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database meanwhile."""
    heard: list[tuple[str, Any]] = []

    def hear(_: Connection, __: object, statement: str, parameters: Any, *___: object) -> None:
        heard.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(engine, "before_cursor_execute", hear)


def plans(engine: Engine, heard: list[tuple[str, Any]]) -> list[str]:
    """How Postgres would answer, if it could help reading a table from end to end."""
    with engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        return [
            "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            for statement, parameters in heard
            if statement.lstrip().startswith(("SELECT", "WITH"))
        ]


# How a long table may be looked into: by its open trees, by outstanding tasks, by a run's last two minutes.
SHORT = re.compile(r"(tree_id = |task_id = |minute >= )")


@pytest.mark.parametrize("what", ["trees", "pool"])
def test_neither_status_nor_metrics_read_a_long_table_whole(engine: Engine, what: str):
    if what == "trees":
        driver, hands = start(engine), Hands(engine, good)
        for _ in range(6):
            driver.tick()
            hands.work()
        with engine.begin() as connection:  # long enough ago that its pace lately is another than its whole one's
            connection.execute(text("UPDATE runs SET driven_s = 1000, created_at = now() - interval '1000 s'"))
        run = driver.run
    else:
        options = ("rounds.most=2", "rounds.prompts=2")
        run = finish(start(engine, *options, recipe="self-instruct", seeds=9), Hands(engine, widened))
    with listened(engine) as heard:
        list(Figures(engine, "redis://127.0.0.1:1/0").collect())
        if what == "trees":
            with engine.connect() as connection:
                status_of(connection, runs.by_id(connection, run.id))
    found = plans(engine, heard)
    assert len(found) > 10
    for plan in found:
        for scan in re.split(r"\n(?=\s*->)", plan):
            if re.search(r"on (nodes|calls|examples|instructions|rollouts|minutes)\b", scan):
                assert SHORT.search(scan), plan


def test_a_list_of_runs_asks_little_of_those_that_are_over(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(look, "existing_engine", lambda: engine)
    asked = []
    for name in ("first", "second"):
        finish(start(engine), Hands(engine, good))
        with engine.begin() as connection:
            connection.execute(text("UPDATE runs SET name = :name WHERE name = 'night'"), {"name": name})
        with listened(engine) as heard:
            said = CliRunner().invoke(app, ["status"]).output.splitlines()
        asked.append(len(heard))
    with engine.connect() as connection:
        kept = connection.execute(text(f"{COUNTS['examples']} GROUP BY run_id ORDER BY run_id DESC")).scalars()
        runs_said = zip(("second", "first"), kept, strict=True)
        assert said == [f"{name}: done, trees 3/3, examples {count}" for name, count in runs_said]
    assert asked[1] - asked[0] <= 4
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET status = 'paused' WHERE name = 'first'"))
    assert re.search(r"^first: paused, .*, nodes \d+ .*, calls \d+", CliRunner().invoke(app, ["status"]).output, re.M)


def read_of(plan: dict[str, Any]) -> float:
    """Rows that all steps of a plan made or threw away."""
    rows = plan["Actual Rows"] + sum(number for name, number in plan.items() if name.startswith("Rows Removed"))
    return plan["Actual Loops"] * rows + sum(read_of(step) for step in plan.get("Plans", []))


def rows_read(engine: Engine, heard: list[tuple[str, Any]]) -> float:
    with engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.execute(text("SET enable_seqscan = off"))
        found = [connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", asked) for sql, asked in heard]
        return sum(read_of(row.scalar_one()[0]["Plan"]) for row in found)


# A run of each kind that ends with some hundred examples. Where each example's price was sought among all examples, the
# first took a hundred thousand rows an example.
LONG = {
    "idea-mcts": (40, varied, ("search.stop_reward=40", "harvest.size=1000")),
    "self-instruct": (9, widened, ("rounds.most=6", "rounds.prompts=4")),
}


@pytest.mark.parametrize("recipe", LONG)
def test_export_and_report_read_as_much_as_there_is(engine: Engine, recipe: str):
    seeds, answer, options = LONG[recipe]
    run = finish(start(engine, *options, recipe=recipe, seeds=seeds), Hands(engine, answer))
    with listened(engine) as heard, engine.connect() as connection:
        rows = rows_of(connection, run)
        report_of(connection, run)
        pool_costs.calls_of_lost(connection, run.id)
    assert len(rows) > 50
    assert rows_read(engine, heard) < 1000 * len(rows)
