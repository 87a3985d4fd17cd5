"""What a finished task means for the search and for the rows."""

from typing import Any

import pytest
from pydantic import ValidationError

from db.records import Spend, TaskRow
from orchestrator.apply import Applied, interpret
from orchestrator.search import Failed, Grown, Rejected, Scored, Unscored
from workers.contracts import (
    Child,
    EvaluatePayload,
    EvaluateResult,
    Evolved,
    ExpandPayload,
    ExpandResult,
    Judged,
    Payload,
    Reason,
    RespondPayload,
    RespondResult,
    TreeResult,
)

EXPAND = ExpandPayload(
    tree_id=7, parent="p", children=(Child(key="a", operator="emotion"), Child(key="b", operator="add-goal"))
)
EVALUATE = EvaluatePayload(tree_id=7, parent="p", nodes=("a", "b"))
RESPOND = RespondPayload(tree_id=7, node="a")


def task(payload: Payload, result: TreeResult | None, state: str = "done") -> TaskRow:
    # As they come from the rows: through JSON.
    return TaskRow(
        id=1,
        run_id=1,
        tree_id=7,
        key="7:x:a",
        kind=payload.kind.value,
        payload=payload.model_dump(mode="json"),
        state=state,
        attempts=1,
        reserved=Spend(),
        result=None if result is None else result.model_dump(mode="json"),
        error=None,
    )


def applied(payload: Payload, result: TreeResult | None, state: str = "done") -> Applied:
    made = interpret(task(payload, result, state))
    assert made.tree_id == 7
    assert all(one.row.tree_id == 7 and one.row.key == one.outcome.key for one in made.settled)
    return made


def example(result: RespondResult | None, state: str = "done") -> dict[str, Any]:
    (row,) = applied(RESPOND, result, state).examples
    return row


@pytest.mark.parametrize(
    ("child", "outcome", "status", "reason"),
    [
        (Evolved(key="a", text="Explain tea.", calls=("c",)), Grown(key="a"), "generated", None),
        (
            Evolved(key="a", text="Sure!", rejected=Reason.TOO_SHORT, calls=("c",)),
            Rejected(key="a"),
            "rejected",
            "too_short",
        ),
        (Evolved(key="a", rejected=Reason.EMPTY, calls=("c",)), Rejected(key="a"), "rejected", "empty"),
        (Evolved(key="a", failed=Reason.CALL_FAILED), Failed(key="a"), "failed", "call_failed"),
    ],
)
def test_what_became_of_a_child(child: Evolved, outcome: object, status: str, reason: str | None):
    made = applied(EXPAND, ExpandResult(children=(child,), replayed=3))
    (one,) = made.settled
    assert one.outcome == outcome
    row = one.row
    assert (row.status, row.reason, row.text, row.calls) == (status, reason, child.text, child.calls)
    assert made.replayed == 3
    assert made.examples == ()


def test_scores_add_up_to_the_reward():
    judged = Judged(key="a", quality=4.5, diversity=2.0, complexity=3.25, tags=("tea", "essay"), calls=("r", "t"))
    (one,) = applied(EVALUATE, EvaluateResult(nodes=(judged,))).settled
    assert one.outcome == Scored(key="a", reward=9.75)
    row = one.row
    assert (row.status, row.quality, row.diversity, row.complexity, row.reward) == ("scored", 4.5, 2.0, 3.25, 9.75)
    assert (row.tags, row.calls, row.reason) == (("tea", "essay"), ("r", "t"), None)


@pytest.mark.parametrize("missing", ["quality", "diversity", "complexity"])
@pytest.mark.parametrize("reason", [None, Reason.CALL_FAILED])
def test_an_unscored_node_never_gets_a_number_as_its_reward(missing: str, reason: Reason | None):
    scores = {"quality": 4.0, "diversity": 2.0, "complexity": 3.0}
    del scores[missing]
    judged = Judged(key="a", **scores, reason=reason)  # type: ignore[arg-type]
    (one,) = applied(EVALUATE, EvaluateResult(nodes=(judged,))).settled
    assert one.outcome == Unscored(key="a")
    assert one.row.status == "unscored"
    assert one.row.reward is None
    assert getattr(one.row, missing) is None
    # What was scored is kept for the record.
    assert [value for value in (one.row.quality, one.row.diversity, one.row.complexity) if value is not None]
    assert one.row.reason == (reason or "judge_unreadable")


def test_a_score_of_zero_is_a_score():
    judged = Judged(key="a", quality=0.0, diversity=0.0, complexity=0.0)
    (one,) = applied(EVALUATE, EvaluateResult(nodes=(judged,))).settled
    assert one.outcome == Scored(key="a", reward=0.0)


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        (RespondResult(output="Yeast.", calls=("c",)), "accepted", None),
        (RespondResult(output="Yeast:", rejected=Reason.CUT_OFF, calls=("c",)), "rejected", "cut_off"),
        (RespondResult(failed=Reason.CALL_FAILED), "failed", "call_failed"),
    ],
)
def test_what_became_of_a_response(result: RespondResult, status: str, reason: str | None):
    assert example(result) == {
        "tree_id": 7,
        "node_key": "a",
        "status": status,
        "reason": reason,
        "output": result.output,
        "calls": result.calls,
    }


@pytest.mark.parametrize("state", ["failed", "done"])
def test_a_task_without_a_result_is_failed_for_every_node_it_was_about(state: str):
    lost = applied(EXPAND, None, state).settled
    assert [one.outcome for one in lost] == [Failed(key="a"), Failed(key="b")]
    unknown = applied(EVALUATE, None, state).settled
    assert [one.outcome for one in unknown] == [Unscored(key="a"), Unscored(key="b")]
    assert {one.row.reason for one in (*lost, *unknown)} == {"task_failed"}
    assert (example(None, state)["status"], example(None, state)["reason"]) == ("failed", "task_failed")


def test_a_failed_tasks_result_is_not_believed():
    stale = ExpandResult(children=(Evolved(key="a", text="Explain tea."),))
    assert [one.outcome for one in applied(EXPAND, stale, "failed").settled] == [Failed(key="a"), Failed(key="b")]


def test_a_row_of_another_version_is_refused_not_guessed():
    strange = task(EXPAND, None)
    with pytest.raises(ValidationError):
        interpret(TaskRow(**{**{name: getattr(strange, name) for name in strange.__slots__}, "result": {"kind": "x"}}))
