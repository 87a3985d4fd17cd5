"""The best and the strangest rows of a report, and what it would change next time."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from db.records import ExampleRow, NodeRow
from orchestrator.report import render, summarise
from orchestrator.report.advice import advice
from orchestrator.report.forest import Forest, gather
from orchestrator.report.model import Fates, OperatorGain, Reason, Report, RunStory
from orchestrator.report.night import Dip, Night, Span
from orchestrator.report.numbers import describe
from orchestrator.report.oddities import MOST
from orchestrator.report.rows import best, strangest
from tests.unit.report_story import story


@pytest.fixture(scope="module")
def told() -> RunStory:
    return story(trees=30)


@pytest.fixture(scope="module")
def forest(told: RunStory) -> Forest:
    return gather(told)


@pytest.fixture(scope="module")
def report(told: RunStory) -> Report:
    return summarise(told)


def accepted(forest: Forest) -> list[tuple[NodeRow, ExampleRow]]:
    return [
        (forest.nodes[place], example) for place, example in forest.examples.items() if example.status == "accepted"
    ]


def changed(forest: Forest, **values: Any) -> tuple[Forest, ExampleRow]:
    """The same, with another text in one accepted example."""
    node, example = accepted(forest)[7]
    odd = replace(example, **values)
    return replace(forest, examples={**forest.examples, (node.tree_id, node.key): odd}), odd


def test_the_best_are_the_accepted_rows_of_the_highest_reward(forest: Forest):
    rewards = sorted((node.reward or 0.0 for node, _ in accepted(forest)), reverse=True)
    assert [shown.node.reward for shown in best(forest)] == rewards[:MOST]
    assert all(shown.example.status == "accepted" and shown.path for shown in best(forest))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"instruction": "Plan " * 4000}, "an instruction of 20,000 characters"),
        ({"output": "word " * 9000}, "an output of 45,000 characters"),
        ({"instruction": "{}[]()<>!" * 20}, "100% of it is no letter"),
    ],
)
def test_a_row_unlike_all_others_is_the_strangest_and_says_why(forest: Forest, values: dict[str, Any], why: str):
    other, odd = changed(forest, **values)
    first = strangest(other)[0]
    assert (first.example, first.why) == (odd, why)


def test_rows_that_are_all_alike_are_not_strange(forest: Forest):
    _node, example = accepted(forest)[0]
    same = {
        place: replace(example, tree_id=place[0], node_key=place[1], status="accepted") for place in forest.examples
    }
    plain = {place: replace(found, quality=3.0, diversity=3.0, complexity=3.0) for place, found in forest.nodes.items()}
    alike = replace(forest, examples=same, nodes=plain)
    assert [shown.why for shown in strangest(alike) if "seed" not in shown.why] == []
    assert strangest(replace(forest, examples=dict(list(same.items())[:5]))) == ()


def fates(total: int, **reasons: int) -> Fates:
    found = tuple(Reason(status="rejected", reason=name, count=count) for name, count in reasons.items())
    return Fates(total=total, by_status={"rejected": sum(reasons.values())}, reasons=found)


@pytest.mark.parametrize(
    ("reasons", "word"),
    [({"off_topic": 30}, "stronger evolver"), ({"duplicate": 30}, "more seeds"), ({"cut_off": 30}, "max_tokens")],
)
def test_what_was_turned_down_most_is_what_the_advice_is_about(report: Report, reasons: dict[str, int], word: str):
    plain = replace(report, nodes=fates(100), operators=(), flat=())
    assert not any(word in one.do for one in advice(plain, None))
    assert any(word in one.do for one in advice(replace(plain, nodes=fates(100, **reasons)), None))
    assert not any(word in one.do for one in advice(replace(plain, nodes=fates(10, **reasons)), None)), (
        "too few to tell"
    )


def operator(*gains: float) -> OperatorGain:
    return OperatorGain(
        operator="emotion",
        tried=len(gains),
        rejected=0,
        failed=0,
        unscored=0,
        open=0,
        scored=len(gains),
        gains={"reward": describe(gains)},
        chosen=0,
        chosen_share=None,
    )


def test_an_operator_that_loses_is_named_with_its_figures_and_one_that_may_not_is_not(report: Report):
    loser, unsure = operator(*(-1.0, -0.5) * 15), operator(*(-3.0, 2.9) * 15)
    (found,) = advice(replace(report, nodes=fates(100), operators=(loser, unsure), flat=()), None)
    assert found.seen.startswith("operator emotion lost 0.75 points on average (of 30")


@pytest.mark.parametrize(
    ("cause", "found"),
    [
        ("tasks took 3.0 times as long: the endpoint was slow or refused", "the endpoint was slow or refused"),
        ("an endpoint was away at 03:10: endpoint 'default' has served no call", "an endpoint was away"),
        ("the run was paused from 03:10 to 03:18: endpoint 'default' answered 401", "the run was paused"),
    ],
)
def test_time_that_was_lost_is_put_to_its_cause(report: Report, cause: str, found: str):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    spans = tuple(Span(start=start, minutes=1, done=10) for _ in range(60))
    slow = Dip(span=Span(start=start, minutes=8), cause=cause)
    night = Night(spans=spans, usual=10.0, dips=(slow,), plot=None)
    plain = replace(report, nodes=fates(100), operators=(), flat=())
    assert [one.seen for one in advice(plain, night)] == [f"8 of 60 minutes went slowly: {found}"]


def test_the_page_shows_them_and_says_when_there_is_nothing(told: RunStory):
    page = render(told)
    assert "Rows to read" in page and "What to change next time" in page
    bare = render(replace(told, examples=()))
    assert "No row was accepted." in bare
