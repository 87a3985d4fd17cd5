"""The report of a run without trees: figures, hostile texts, what is missing, series too long to draw, size."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from db.pool_rows import Brought, MadeExample, Shown
from db.pool_views import Refusal, RefusedInstance, RefusedText, SeedMove, SeedMoves
from db.records import BatchRow, RoundRow
from orchestrator.report import PoolStory, render_pool
from orchestrator.report.plots import BASE, LEFT, RIGHT, TOP, lines, share_bars
from orchestrator.report.pool_figures import MOST_MARKS, headline, prompts_lost, round_spans, step_spans
from tests.unit.pool_story import stages, story
from tests.unit.test_report import HOSTILE, _Page, _text


def empty() -> PoolStory:
    """A run that has just been begun."""
    full = story(rounds=1)
    counts = replace(
        full.counts,
        **dict.fromkeys(("generated", "after_heuristics", "kept", "with_instance", "trained", "accepted"), 0),
        rejected=0,
        failed=0,
    )
    return replace(
        full,
        counts=counts,
        rounds=(),
        batches=(),
        stages=stages(counts, (), full.spend),
        text_reasons=(),
        instance_reasons=(),
        refused_texts=(),
        refused_instances=(),
        moves=(),
        moved=SeedMoves(entered=0, left=0),
        examples=(),
        best=(),
        brought=Brought(measured=0, nothing=0),
        strangest=(),
        spend=(),
    )


def test_the_headline_counts_what_has_a_good_instance_as_kept():
    told = story(rounds=20)
    found = headline(told)
    assert (found.kept, found.passed, found.generated) == (
        told.counts.with_instance,
        told.counts.kept,
        told.counts.generated,
    )
    assert found.kept_share == pytest.approx(found.kept / found.generated)
    assert found.seeds_now == 175
    assert found.steps == len(told.batches)
    assert found.instances == told.counts.accepted + told.counts.rejected + 3
    text = _text(render_pool(told))
    for figure in (f"{found.kept:,}", f"{found.generated:,}", "8 entered, 8 left", "sedi-instruct"):
        assert figure in text


def test_a_pause_is_no_time_that_was_worked_on():
    told = story(rounds=5)
    paused = replace(told.run, driven_s=3600.0, finished_at=told.run.created_at + timedelta(days=3))
    assert "worked on for 1 h 0 min" in _text(render_pool(replace(told, run=paused)))


def test_the_last_figures_of_training_are_those_of_a_step_that_was_not_marked():
    told = story(rounds=20)
    told = replace(told, batches=told.batches[:4])
    marked = replace(told.batches[-1], reason="not_finite", loss=None, gradient_norm=None)
    before = told.batches[-2]
    found = headline(replace(told, batches=(*told.batches[:-1], marked)))
    assert (found.loss, found.gradient_norm) == (before.loss, before.gradient_norm)


def test_a_marked_step_is_crossed_and_named():
    told = story(rounds=20)
    marked = [span for span in step_spans(told) if span.marked]
    assert marked and all(span.loss is None and span.gradient_norm is None for span in marked)
    page = render_pool(told)
    assert page.count('class="gone"') == 2 * (len(marked) + 1)  # in both charts, and in their keys
    assert "not finite" in _text(page)


def test_stages_are_listed_with_their_shares_and_prices():
    page = render_pool(story(rounds=20))
    for name in ("generate", "filter", "embed", "instance", "train", "All"):
        assert f'<th scope="row">{name}</th>' in page
    assert "For one kept instruction" in page


def test_a_price_that_is_not_known_is_not_shown_as_nothing():
    told = story(rounds=5)
    unknown = tuple(replace(role, nusd=None) for role in told.spend)
    found = replace(told, spend=unknown, stages=stages(told.counts, told.batches, unknown))
    assert headline(found).nusd is None
    assert ">unknown<" in render_pool(found)


def test_a_run_without_a_student_has_no_section_of_training():
    page = render_pool(story(rounds=5, train=False))
    assert 'id="training"' not in page
    assert "no student was trained" in page
    assert "Nobody entered and nobody left" in page


def test_rows_to_read_are_the_best_by_what_they_bring_and_the_strangest():
    told = story(rounds=5)
    told = replace(told, brought=Brought(measured=1234, nothing=56))
    text = _text(render_pool(told))
    assert "The 20 best" in text and "measured 1,234 instructions, of which 56 bring nothing" in text
    assert text.index("2.50") < text.index("2.40")
    assert "The 3 strangest" in text and "an output of 9,000 characters" in text
    assert "What to change next time" in text
    bare = _text(render_pool(replace(story(rounds=5, train=False), strangest=())))
    assert "no student has measured it" in bare and "No row lies far from the others" in bare


def test_a_run_that_has_just_begun_has_a_page():
    text = _text(render_pool(empty()))
    for said in (
        "No text has come yet",
        "No example was accepted",
        "No text was refused",
        "No call was answered",
    ):
        assert said in text
    assert "None" not in text and "nan" not in text.lower()


def test_a_near_copy_stands_beside_what_it_is_near_to():
    told = replace(
        story(rounds=3),
        refused_texts=(
            RefusedText(
                ordinal=300,
                round=2,
                reason="duplicate",
                text="Name a warm colour.",
                similarity=0.8571,
                nearest=12,
                nearest_origin="seed",
                nearest_text="Name a colour.",
            ),
        ),
    )
    page = render_pool(told)
    assert "similarity 0.857 to #12, seed" in page
    assert "<ins>warm </ins>" in page or "<ins> warm</ins>" in page


def test_prompts_that_held_nothing_are_counted_by_reason():
    rows = [
        RoundRow(
            ordinal=i,
            status="done",
            prompts=8,
            prompts_lost=lost,
            generated=1,
            kept=0,
            filter_s=0.0,
            embed_s=0.0,
        )
        for i, lost in enumerate(({"cut_off": 1}, {"call_failed": 1, "cut_off": 2}, {}))
    ]
    assert prompts_lost(rows) == [("cut_off", 3), ("call_failed", 1)]


def hostile() -> PoolStory:
    told = story(rounds=3)
    shown = (Shown(ordinal=1, origin=HOSTILE, text=HOSTILE),)
    return replace(
        told,
        run=replace(told.run, name=HOSTILE, recipe=HOSTILE, reason=HOSTILE),
        rounds=tuple(replace(row, prompts_lost={HOSTILE: 1}) for row in told.rounds),
        batches=tuple(replace(batch, reason=HOSTILE) for batch in told.batches),
        text_reasons=(
            Refusal(status="rejected", reason=HOSTILE, count=2),
            Refusal(status="rejected", reason="duplicate", count=1),
        ),
        instance_reasons=(Refusal(status="failed", reason=HOSTILE, count=2),),
        refused_texts=(
            RefusedText(ordinal=4, round=0, reason=HOSTILE, text=HOSTILE),
            RefusedText(
                ordinal=5,
                round=0,
                reason="duplicate",
                text=HOSTILE,
                similarity=1.0,
                nearest=1,
                nearest_origin="seed",
                nearest_text=HOSTILE + "!",
            ),
        ),
        refused_instances=(
            RefusedInstance(
                ordinal=4, status="failed", reason=HOSTILE, instruction=HOSTILE, input=HOSTILE, output=HOSTILE
            ),
        ),
        moves=(SeedMove(round=0, event="entered", ordinal=4, origin="generated", reason=HOSTILE, text=HOSTILE),),
        examples=(
            MadeExample(
                ordinal=4, instance=0, round=0, instruction=HOSTILE, input=HOSTILE, output=HOSTILE, shown=shown
            ),
        ),
        best=tuple(replace(one, instruction=HOSTILE, output=HOSTILE, shown=shown) for one in told.best[:1]),
        strangest=tuple(
            replace(odd, example=replace(odd.example, instruction=HOSTILE, shown=shown)) for odd in told.strangest
        ),
        spend=tuple(replace(role, role=HOSTILE, models=(HOSTILE,)) for role in told.spend),
    )


def test_hostile_texts_are_shown_and_do_nothing():
    page = render_pool(hostile())
    parsed = _Page(page)
    assert "script" not in parsed.tags and "img" not in parsed.tags
    assert parsed.handlers == []
    assert "<img src=x onerror=alert(2)>" in _text(page)
    assert "{{ 7*7 }}" in _text(page)
    page.encode("utf-8")
    assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069\u200f\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f]", page)


def test_the_page_refers_to_nothing_outside_itself_and_may_run_nothing():
    page = render_pool(story(rounds=20))
    parsed = _Page(page)
    assert all(link.startswith(("#", "data:,")) for link in parsed.links)
    assert "http:" not in page and "https:" not in page and "@import" not in page
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and "script-src 'none'" in policy[1] and "unsafe" not in policy[1]


def test_long_runs_are_drawn_with_as_many_marks_as_can_be_told_apart():
    told = story(rounds=3000)
    rounds, steps = round_spans(told), step_spans(told)
    assert max(len(rounds), len(steps)) <= MOST_MARKS
    assert sum(span.generated for span in rounds) == told.counts.generated
    assert (rounds[0].first, rounds[-1].last) == (0, 2999)
    assert sum(count for span in steps for _, count in span.marked) == sum(b.reason is not None for b in told.batches)
    assert len(render_pool(told).encode()) < 400_000


def test_long_texts_do_not_make_a_long_page():
    long = "word " * 100_000
    told = story(rounds=3)
    shown = (Shown(ordinal=1, origin="seed", text=long),) * 8
    made, best = (
        tuple(replace(one, instruction=long, input=long, output=long, shown=shown) for one in rows)
        for rows in (told.examples, told.best)
    )
    refused = tuple(
        replace(row, text=long, nearest_text=long if row.nearest_text else None) for row in told.refused_texts
    )
    moves = tuple(replace(move, text=long, reason=long) for move in told.moves)
    page = render_pool(replace(told, examples=made, best=best, refused_texts=refused, moves=moves))
    assert len(page.encode()) < 2_500_000


def test_bars_stand_within_the_chart_and_are_as_high_as_their_share():
    plot = share_bars([(0, 0), (1, 1), (2, 2)], [0.5, None, 1.0])
    assert plot is not None
    half, whole = plot.bars
    assert half.height == pytest.approx((BASE - TOP) / 2) and whole.y == TOP
    assert all(bar.x >= LEFT and bar.x + bar.width <= RIGHT for bar in plot.bars)
    assert share_bars([(0, 0)], [None]) is None


def test_a_line_is_broken_where_there_is_no_value():
    plot = lines([(i, i) for i in range(4)], [("after", [1.0, None, 2.0, 3.0])], marked=[False, True, False, False])
    assert plot is not None
    (line,) = plot.lines
    assert line.path.count("M") == 2 and line.path.count("L") == 1
    assert len(line.dots) == 3 and len(plot.crosses) == 1
    assert all(TOP <= y <= BASE for _, y in line.dots)


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0], [0.0], [1e-12, 1e12], [float("inf"), 1.0]])
def test_awkward_values_can_be_drawn(values: list[float]):
    plot = lines([(i, i) for i in range(len(values))], [("after", values)])
    assert plot is not None and plot.levels
    assert lines([(0, 0)], [("after", [None])]) is None


def test_a_run_in_which_every_step_was_marked_has_a_page():
    told = story(rounds=2)
    gone: tuple[BatchRow, ...] = tuple(
        replace(batch, reason="not_finite", loss=None, gradient_norm=None) for batch in told.batches
    )
    assert gone
    assert "last –" in _text(render_pool(replace(told, batches=gone)))
