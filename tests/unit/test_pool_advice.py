"""What the report of a pool would change next time: only what the figures carry, and with the cure for the cause."""

from dataclasses import replace
from typing import Any

import pytest

from db.pool_rows import Brought
from db.pool_views import Refusal
from db.records import RoundRow
from orchestrator.report import PoolStory, render_pool
from orchestrator.report.pool_advice import pool_advice
from tests.unit.pool_story import story
from tests.unit.test_report import _text


def plain() -> PoolStory:
    """A run of which there is nothing to say: all rounds kept as much, and nearly all texts have instances."""
    full = story(rounds=20)
    rounds = tuple(replace(row, generated=30, kept=20, prompts_lost={}) for row in full.rounds)
    counts = replace(full.counts, generated=600, after_heuristics=540, kept=400, with_instance=380, unsettled=0)
    batches = tuple(replace(batch, reason=None) for batch in full.batches)
    return replace(
        full,
        counts=counts,
        rounds=rounds,
        batches=batches,
        text_reasons=_refused(duplicate=140, too_short=60),
        instance_reasons=_refused(contradictory=30),
        brought=Brought(measured=300, nothing=3),
    )


def _refused(**reasons: int) -> tuple[Refusal, ...]:
    return tuple(Refusal(status="rejected", reason=name, count=count) for name, count in reasons.items())


def said(told: PoolStory) -> list[str]:
    return [f"{one.seen}: {one.do}" for one in pool_advice(told, None)]


def round_of(told: PoolStory, **values: Any) -> tuple[RoundRow, ...]:
    """The rounds with another last quarter."""
    return (*told.rounds[:15], *(replace(row, **values) for row in told.rounds[15:]))


def test_of_a_run_in_which_nothing_stands_out_nothing_is_said():
    assert said(plain()) == []
    assert "Nothing stands out" in _text(render_pool(plain()))


def test_a_cap_that_ended_the_run_is_named_with_what_it_left():
    told = plain()
    stopped = replace(told, run=replace(told.run, status="stopped"), instance_reasons=_refused(budget=12))
    (only,) = said(stopped)
    assert only.startswith("a cap ended it after 20 rounds with 380 kept, and left 12 texts without instances: raise")


@pytest.mark.parametrize("rest", [{"kept": 6}, {"kept": 0}])
def test_rounds_that_bring_less_and_less_ask_for_other_seeds(rest: dict[str, int]):
    told = plain()
    (only,) = said(replace(told, rounds=round_of(told, **rest)))
    assert "of the first quarter of the rounds 67% of the texts were kept, of the last" in only and "more seeds" in only


def test_rounds_that_have_hardly_any_text_yet_are_no_fall():
    told = plain()
    assert said(replace(told, rounds=round_of(told, generated=1, kept=0))) == []
    under_way = tuple(replace(row, status="generating") for row in round_of(told, kept=0)[15:])
    assert said(replace(told, rounds=(*told.rounds[:15], *under_way))) == []


def test_why_it_ended_early_is_said_once():
    told = plain()
    ended = replace(told, run=replace(told.run, reason="the generator repeats itself"), rounds=round_of(told, kept=0))
    (only,) = said(ended)
    assert only.startswith("the generator repeats itself: more seeds")


@pytest.mark.parametrize(
    ("lost", "cure"),
    [("cut_off", "roles.generator.max_tokens"), ("call_failed", "steadier endpoint"), ("empty", "stronger generator")],
)
def test_completions_that_held_nothing_are_put_to_their_cause(lost: str, cure: str):
    told = plain()
    rounds = tuple(replace(row, prompts_lost={lost: 1}) for row in told.rounds)
    (only,) = said(replace(told, rounds=rounds))
    assert only.startswith("12% of the completions held nothing") and cure in only
    assert said(replace(told, rounds=tuple(replace(row, prompts_lost={"budget": 1}) for row in told.rounds))) == []


@pytest.mark.parametrize(
    ("reason", "cure"), [("odd_start", "ascii_start"), ("undoable", "undoable"), ("empty", "stronger")]
)
def test_what_heuristics_refused_most_is_what_the_advice_is_about(reason: str, cure: str):
    (only,) = said(replace(plain(), text_reasons=_refused(duplicate=100, **{reason: 200}, program=2)))
    assert only.startswith("heuristics refused 34% of the texts") and cure in only


@pytest.mark.parametrize(
    ("reason", "cure"), [("cut_off", "roles.responder.max_tokens"), ("contradictory", "stronger responder")]
)
def test_kept_texts_without_a_good_instance_are_put_to_their_cause(reason: str, cure: str):
    told = plain()
    bad = replace(told, counts=replace(told.counts, with_instance=280))
    (only,) = said(replace(bad, instance_reasons=_refused(not_sampled=500, **{reason: 100})))
    assert only.startswith("30% of the kept texts have no good instance") and cure in only
    waiting = replace(bad, counts=replace(bad.counts, unsettled=110))
    assert said(waiting) == [], "what waits for its instances has lost none"


def test_instructions_that_bring_nothing_and_steps_that_changed_nothing_are_said():
    told = plain()
    (only,) = said(replace(told, brought=Brought(measured=100, nothing=10)))
    assert only.startswith("10% of the instructions trained on bring nothing")
    assert said(replace(told, brought=Brought(measured=10, nothing=5))) == [], "too few to tell"
    marked = tuple(replace(batch, reason="not_finite") for batch in told.batches)
    (only,) = said(replace(told, batches=marked))
    assert "100% of the steps of training changed nothing" in only and "learning_rate" in only


def test_most_texts_being_near_copies_asks_for_other_seeds():
    (only,) = said(replace(plain(), text_reasons=_refused(duplicate=400)))
    assert only.startswith("74% of the texts that heuristics let through were near-copies: more seeds")
