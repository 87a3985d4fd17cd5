"""The scheduler on real rows. Hands of the test's own carry out its tasks, so that every answer is known."""

import random
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from db import examples, nodes, runs, tasks, views
from db.errors import StaleLease
from db.records import Caps
from orchestrator.eta import warm_s
from orchestrator.export import rows_of
from orchestrator.status import status_of
from tests.integration.night import TREE, Hands, adopted, assert_lawful, finish, good, start
from workers.contracts import (
    EvaluateResult,
    Evolved,
    ExpandResult,
    Payload,
    Reason,
    RespondPayload,
    RespondResult,
)


def test_a_run_grows_every_tree_and_obeys_the_laws(engine: Engine):
    driver = start(engine)
    run = finish(driver, Hands(engine))
    assert (run.status, run.phase, run.reason) == ("done", "ended", None)
    assert_lawful(engine, run)
    with engine.connect() as connection:
        found = status_of(connection, run)
        rows = rows_of(connection, run)
    assert found["trees_done"] == 3
    assert found["nodes"] == 3 * TREE
    assert found["calls"] == run.spent.calls == 3 * (TREE - 1) + 3 * (1 + 3 + 10) + found["examples"]
    assert run.spent.nusd == 20_000 * run.spent.calls
    assert len(rows) == found["examples"] > 20
    assert len({row["instruction"] for row in rows}) == len(rows)


def test_a_row_names_its_seed_path_scores_models_and_price(engine: Engine):
    driver = start(engine, "harvest.size=1")
    run = finish(driver, Hands(engine))
    with engine.connect() as connection:
        (row,) = rows_of(connection, run)
        by_key = {n.key: n for tree in runs.trees_of(connection, run.id) for n in nodes.of_trees(connection, [tree.id])}
    node = by_key[row["id"].split("/")[2]]
    path = []
    while node.operator:
        path.append(node.operator)
        node = by_key[node.parent_key or ""]
    assert row["operators"] == path[::-1]
    assert row["seed"] == node.text
    assert row["depth"] == len(path)
    assert row["reward"] == 5.5
    assert row["models"] == {"evolver": "m", "judge": "m", "responder": "m"}
    # An evolver call and a response of its own, and a share of the call that scored its siblings.
    judged_together = sum(n.calls[-1] == by_key[row["id"].split("/")[2]].calls[-1] for n in by_key.values())
    assert row["cost"]["calls"] == 3
    assert row["cost"]["usd"] == pytest.approx((2 + 1 / judged_together) * 20e-6)


@pytest.mark.parametrize("cap", [4, 30, 57, 100])
def test_a_cap_on_calls_is_never_passed_and_leaves_a_data_set(engine: Engine, cap: int):
    driver = start(engine, caps=Caps(calls=cap))
    run = finish(driver, Hands(engine))
    assert run.status == "stopped"
    assert run.reason is not None
    assert run.spent.calls <= cap
    assert_lawful(engine, run)
    with engine.connect() as connection:
        assert bool(rows_of(connection, run)) == (cap > 4)
        assert views.example_counts(connection, run.id).get("failed", 0) == 0


def test_a_cap_on_money_is_never_passed(engine: Engine):
    driver = start(engine, caps=Caps(nusd=400_000_000))
    run = finish(driver, Hands(engine))
    assert run.spent.nusd <= 400_000_000
    assert_lawful(engine, run)


def test_another_orchestrator_goes_on_where_the_first_was_killed(engine: Engine):
    driver, hands, order = start(engine), Hands(engine), random.Random(1)
    for _ in range(500):
        if order.random() < 0.4:
            driver = adopted(engine)
        driver.tick()
        if driver.over:
            break
        hands.work()
    assert driver.run.status == "done"
    assert_lawful(engine, driver.run)
    with engine.connect() as connection:
        assert status_of(connection, driver.run)["nodes"] == 3 * TREE


def test_a_failed_transaction_leaves_nothing_half_done(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    driver, hands = start(engine), Hands(engine)
    driver.tick()
    hands.work()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "enqueue", broken)
        with pytest.raises(RuntimeError):
            driver.tick()
    assert_lawful(engine, driver.run)
    assert_lawful(engine, finish(driver, hands))


def test_rejections_failures_and_missing_scores_are_counted_by_reason(engine: Engine):
    def unreliable(payload: Payload, pay: Callable[[str], str]) -> ExpandResult | EvaluateResult | RespondResult:
        result = good(payload, pay)
        if isinstance(result, ExpandResult) and len(result.children) > 1:
            first, second, *others = result.children
            changed = (
                first.model_copy(update={"rejected": Reason.UNCHANGED}),
                Evolved(key=second.key, failed="call_failed"),
            )
            return ExpandResult(children=(*changed, *others))
        if isinstance(result, EvaluateResult) and len(result.nodes) > 1:
            first_node = result.nodes[0].model_copy(update={"quality": None, "reason": Reason.JUDGE_UNREADABLE})
            return EvaluateResult(nodes=(first_node, *result.nodes[1:]))
        if isinstance(result, RespondResult) and isinstance(payload, RespondPayload) and payload.node < "8":
            return result.model_copy(update={"rejected": Reason.REFUSAL})
        return result

    driver = start(engine)
    run = finish(driver, Hands(engine, unreliable))
    assert_lawful(engine, run)
    with engine.connect() as connection:
        found = status_of(connection, run)
        assert found["failures"]["unchanged"] == found["nodes_rejected"] == 9
        assert found["failures"]["call_failed"] == found["nodes_failed"] == 9
        assert found["failures"]["judge_unreadable"] == found["nodes_unscored"] == 9
        assert found["failures"]["refusal"] == found["examples_rejected"] > 0
        proposed = sum(views.example_counts(connection, run.id).values())
    assert found["examples"] + found["examples_rejected"] + found["examples_failed"] == proposed


def test_a_task_that_no_attempt_can_carry_out_costs_its_nodes_and_nothing_else(engine: Engine):
    driver, hands = start(engine), Hands(engine)
    driver.tick()
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE tasks SET state = 'failed', error = 'boom' WHERE id = (SELECT min(id) FROM tasks)")
        )
    run = finish(driver, hands)
    assert run.status == "done"
    assert_lawful(engine, run)
    with engine.connect() as connection:
        assert status_of(connection, run)["failed_tasks"] == {"boom": 1}


def test_without_responses_the_harvest_is_the_data_set(engine: Engine):
    driver = start(engine, "harvest.responses=false", "harvest.mode=score", "harvest.per_tree=1")
    run = finish(driver, Hands(engine))
    assert_lawful(engine, run)
    with engine.connect() as connection:
        rows = rows_of(connection, run)
    assert [row["tree"] for row in rows] == [0, 1, 2]
    assert all(row["output"] is None for row in rows)


def test_near_copies_are_turned_away_at_the_pool(engine: Engine):
    def same(payload: Payload, pay: Callable[[str], str]) -> ExpandResult | EvaluateResult | RespondResult:
        result = good(payload, pay)
        if isinstance(result, ExpandResult):
            return ExpandResult(
                children=tuple(c.model_copy(update={"text": "One and the same."}) for c in result.children)
            )
        return result

    run = finish(start(engine), Hands(engine, same))
    assert_lawful(engine, run)
    with engine.connect() as connection:
        kept = [row for row in examples.of_run(connection, run.id) if row.status == "accepted"]
        assert len(kept) == 1
        assert set(views.reasons(connection, run.id)) == {"duplicate"}


def test_a_driver_whose_run_was_adopted_by_another_is_fenced_off(engine: Engine):
    driver = start(engine)
    adopted(engine)
    with pytest.raises(StaleLease):
        driver.tick()


@pytest.mark.parametrize(("warming_s", "warm"), [(300, 300), (3000, 600)])
def test_what_nobody_drove_is_no_warming_of_what_was_driven(engine: Engine, warming_s: float, warm: float):
    run = finish(start(engine), Hands(engine))
    first = "(SELECT min(settled_at) FROM nodes)"
    begun = f"UPDATE runs SET driven_s = 600, created_at = {first} - make_interval(secs => :s)"
    with engine.begin() as connection:
        connection.execute(text(begun), {"s": warming_s})
        assert warm_s(connection, runs.by_id(connection, run.id)) == pytest.approx(warm, abs=1)
