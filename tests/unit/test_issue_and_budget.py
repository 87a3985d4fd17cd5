"""Proposals as tasks, their worst cases, and the purse that pays for them."""

import pytest

from db.records import Caps, NewTask, Spend
from orchestrator.budget import fits, least, worst_case
from orchestrator.issue import Purse, keys_in, keys_of, response_task, task_for
from orchestrator.search import Evaluate, Expand, Node, Origin, Status
from workers.config import Endpoint, Judges, JudgeSettings, ResponderSettings, Roles, RoleSettings, Style, WorkSettings
from workers.contracts import (
    EvaluatePayload,
    ExpandPayload,
    Kind,
    RespondPayload,
    TreePayload,
    payload_of,
    tree_payload_of,
)

ROLES = Roles(
    evolver=RoleSettings(max_prompt_tokens=1000, max_tokens=100),
    judge=JudgeSettings(max_prompt_tokens=2000, max_tokens=50),
    responder=ResponderSettings(max_prompt_tokens=500, max_tokens=400),
)
PRICED = Endpoint(model="m", usd_per_million_in=1.0, usd_per_million_out=10.0)
CHAT = WorkSettings(endpoints={"default": PRICED}, roles=ROLES)
FREE = WorkSettings(endpoints={"default": Endpoint(model="m")}, roles=ROLES)


def child(key: str, operator: str) -> Node:
    return Node(
        key=key,
        parent="p",
        ordinal=0,
        depth=1,
        operator=operator,
        origin=Origin.EXPANSION,
        iteration=0,
        status=Status.PROPOSED,
    )


EXPAND = Expand(parent="p", children=(child("a", "emotion"), child("b", "add-goal")))
EVALUATE = Evaluate(parent="p", nodes=("a", "b", "c"))
ROOT = Evaluate(parent=None, nodes=("r",))


# -- proposals as tasks


def test_an_expansion_names_its_nodes_and_reserves_a_call_for_each():
    task = task_for(7, EXPAND, CHAT)
    assert payload_of.validate_python(task.payload) == ExpandPayload.model_validate(
        {
            "tree_id": 7,
            "parent": "p",
            "children": [{"key": "a", "operator": "emotion"}, {"key": "b", "operator": "add-goal"}],
        }
    )
    # Two calls of 1000 tokens in at 1 USD, 100 out at 10 USD a million: 0.002 USD each.
    assert task.reserved == Spend(calls=2, tokens=2200, nusd=4_000_000)
    assert (task.tree_id, task.kind) == (7, "expand")


def test_an_evaluation_reserves_every_re_ask():
    task = task_for(7, EVALUATE, CHAT)
    assert payload_of.validate_python(task.payload) == EvaluatePayload(tree_id=7, parent="p", nodes=("a", "b", "c"))
    # Rubric and tags, each asked at most twice: 2000 in and 50 out are 0.0025 USD a call.
    assert task.reserved == Spend(calls=4, tokens=8200, nusd=10_000_000)


def test_the_seed_is_evaluated_without_a_parent():
    assert payload_of.validate_python(task_for(7, ROOT, CHAT).payload) == EvaluatePayload(
        tree_id=7, parent=None, nodes=("r",)
    )


def test_a_response_is_one_call():
    task = response_task(7, "a", CHAT)
    assert payload_of.validate_python(task.payload) == RespondPayload(tree_id=7, node="a")
    assert task.reserved == Spend(calls=1, tokens=900, nusd=4_500_000)


def test_a_tasks_key_is_the_same_every_time_and_no_others():
    tasks = [
        task_for(7, EXPAND, CHAT),
        task_for(8, EXPAND, CHAT),
        task_for(7, Evaluate(parent="p", nodes=("a", "b")), CHAT),
        task_for(7, ROOT, CHAT),
        response_task(7, "a", CHAT),
    ]
    assert len({task.key for task in tasks}) == len(tasks)
    assert task_for(7, EXPAND, CHAT) == tasks[0]


def stored(task: NewTask) -> TreePayload:
    return tree_payload_of.validate_python(task.payload)


def test_the_nodes_of_a_task_are_those_of_its_proposal():
    for proposal in (EXPAND, EVALUATE, ROOT):
        assert keys_in(stored(task_for(7, proposal, CHAT))) == set(keys_of(proposal))
    assert keys_of(EXPAND) == ("a", "b")
    # A response is about no node of the search.
    assert keys_in(stored(response_task(7, "a", CHAT))) == set()


# -- worst cases


@pytest.mark.parametrize(
    ("judges", "style", "count", "calls"),
    [
        (Judges(), Style.CHAT, 5, 4),
        (Judges(reasks=0), Style.CHAT, 5, 2),
        (Judges(reasks=3), Style.CHAT, 5, 8),
        (Judges(quality="expected", complexity="expected"), Style.COMPLETION, 5, 15),
        (Judges(quality="expected", complexity="expected", reasks=3), Style.COMPLETION, 1, 3),
    ],
)
def test_the_worst_case_of_an_evaluation(judges: Judges, style: Style, count: int, calls: int):
    settings = WorkSettings(endpoints={"default": Endpoint(model="m", style=style)}, roles=ROLES, judges=judges)
    assert worst_case(settings, Kind.EVALUATE, count) == Spend(calls=calls, tokens=calls * 2050)


def test_an_unknown_price_is_counted_as_nothing():
    assert worst_case(FREE, Kind.EXPAND, 5) == Spend(calls=5, tokens=5500, nusd=0)


def test_each_role_is_priced_at_its_own_endpoint():
    roles = ROLES.model_copy(update={"judge": JudgeSettings(endpoint="cheap", max_prompt_tokens=2000, max_tokens=50)})
    free = Endpoint(model="s", usd_per_million_in=0.0, usd_per_million_out=0.0)
    settings = WorkSettings(endpoints={"default": PRICED, "cheap": free}, roles=roles)
    assert worst_case(settings, Kind.EVALUATE, 5).nusd == 0
    assert worst_case(settings, Kind.EXPAND, 1).nusd == 2_000_000


def test_prices_are_rounded_up_to_a_nano_dollar():
    # 0.0000001 USD a million tokens are 0.0001 nano-dollars a token.
    cheap = Endpoint(model="m", usd_per_million_in=0.0000001, usd_per_million_out=0.0)
    assert cheap.nusd(1, 0) == 1
    assert cheap.nusd(20_000, 0) == 2
    assert cheap.nusd(20_001, 0) == 3
    assert cheap.nusd(0, 0) == 0


# -- caps and the purse


@pytest.mark.parametrize(
    ("caps", "there"),
    [
        (Caps(), True),
        (Caps(calls=10, tokens=100, nusd=1000), True),
        (Caps(calls=9), False),
        (Caps(tokens=99), False),
        (Caps(nusd=999), False),
        (Caps(calls=10), True),
    ],
)
def test_a_cap_may_be_reached_but_not_passed(caps: Caps, there: bool):
    assert fits(caps, Spend(calls=4, tokens=40, nusd=400), Spend(calls=6, tokens=60, nusd=600)) is there


def purse(calls: int | None, *, committed: int = 0, earmarked: int = 0) -> Purse:
    return Purse(caps=Caps(calls=calls), committed=Spend(calls=committed), earmarked=Spend(calls=earmarked))


def costing(calls: int) -> NewTask:
    return NewTask(tree_id=1, key="k", kind="expand", payload={}, reserved=Spend(calls=calls))


def test_a_purse_pays_while_the_caps_leave_room():
    one = purse(10, committed=3)
    assert one.take(costing(4))
    assert not one.take(costing(4))
    assert one.committed == Spend(calls=7)
    assert one.take(costing(3))
    assert not one.take(costing(1))


def test_what_must_follow_is_kept_back():
    one = purse(10)
    assert not one.take(costing(5), follows=Spend(calls=6))
    assert one == purse(10)
    assert one.take(costing(5), follows=Spend(calls=5))
    assert one.earmarked == Spend(calls=5)
    # Nothing else may have it, but what it was kept for may.
    assert not one.take(costing(1))
    assert one.take(costing(4), was_earmarked=True)
    assert (one.committed, one.earmarked) == (Spend(calls=9), Spend(calls=1))


def test_without_caps_a_purse_has_no_bottom():
    one = purse(None)
    assert all(one.take(costing(10**9), follows=Spend(calls=10**9)) for _ in range(5))


def test_the_least_that_works_is_what_a_first_expansion_reserves():
    need = least(CHAT, 5, responses=True)
    assert need.calls == sum(
        worst_case(CHAT, kind, count).calls
        for kind, count in ((Kind.EVALUATE, 1), (Kind.EXPAND, 5), (Kind.EVALUATE, 5), (Kind.RESPOND, 5))
    )
    assert least(CHAT, 5, responses=False).calls == need.calls - 5
