"""What status and report say of a pool, counted from rows that were written as the scheduler writes them."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, text

from db import pool_rows, pool_views, pools, runs, totals, views
from db.records import BatchRow, Caps, InstanceRow, InstructionRow, LessonRow, RoundRow, Run, SeedEventRow
from orchestrator.begin import begin
from orchestrator.config import build
from orchestrator.pool_status import stages_of
from orchestrator.report import render_pool
from orchestrator.seeds import Seed, Seeds
from orchestrator.status import light_status, status_of
from orchestrator.story import pool_story_of, report_of

NAME, NO_CAPS = "wide", Caps()
ENDPOINT = {"endpoints": {"default": {"model": "m"}}}
SEEDS = Seeds(seeds=tuple(Seed(instruction=f"Seed number {i}", output="An answer.") for i in range(3)), duplicates=1)
# Ordinals after the three seeds; (text, reason, nearest, has a good instance).
TEXTS = (
    ("Name a colour.", None, None, True),
    ("Name one colour.", "duplicate", 3, False),
    ("Draw a picture.", "undoable", None, False),
    ("Add two numbers.", None, None, True),
    ("Sort these words.", None, None, False),
    ("Greet a friend.", None, None, True),
)


@pytest.fixture
def run(engine: Engine) -> Run:
    """A run after one round: six texts, four kept, three with a good instance, one batch trained, one marked."""
    with engine.begin() as connection:
        config = build("sedi-instruct", [ENDPOINT], ("rounds.target=40", "batches.size=2", "feedback.every=1"))
        begin(connection, name=NAME, stem="s", config=config, seeds=SEEDS, caps=NO_CAPS)
        found = runs.by_name(connection, NAME)
        assert found is not None
        _first_round(connection, found.id)
        return found


def _first_round(connection: Connection, run_id: int) -> None:
    pools.open_round(connection, run_id, 0, 2)
    rows = [
        InstructionRow(
            ordinal=3 + i,
            origin="generated",
            text=said,
            status="rejected" if reason else "kept",
            reason=reason,
            nearest=nearest,
            similarity=0.8 if nearest else None,
            round=0,
            slot=i // 3,
            shown=(0, 2),
            calls=(f"g{i // 3}",),
        )
        for i, (said, reason, nearest, _) in enumerate(TEXTS)
    ]
    pools.add(connection, run_id, rows)
    for i, (said, reason, _, good) in enumerate(TEXTS):
        if reason is None:
            _instances(connection, run_id, 3 + i, said, good)
    done = RoundRow(
        ordinal=0,
        status="done",
        prompts=2,
        prompts_lost={"cut_off": 1},
        generated=6,
        kept=4,
        filter_s=0.5,
        embed_s=0.25,
    )
    pools.update_round(connection, run_id, done)
    _trained(connection, run_id)
    pools.record(
        connection,
        run_id,
        [
            SeedEventRow(round=0, event="entered", ordinal=3, reason="farthest of batch 0"),
            SeedEventRow(round=0, event="left", ordinal=1, reason="weak"),
        ],
    )
    _paid(connection, run_id)


def _instances(connection: Connection, run_id: int, ordinal: int, said: str, good: bool) -> None:
    def row(place: int, status: str, reason: str | None) -> InstanceRow:
        return InstanceRow(
            ordinal=ordinal,
            instance=place,
            instruction=said,
            input="",
            output="Blue." if status == "accepted" else None,
            status=status,
            reason=reason,
        )

    accepted = [row(0, "accepted", None), row(1, "rejected", "unfinished")]
    pools.give(connection, run_id, accepted if good else [row(0, "failed", "call_failed")], ["r"])
    pools.settle(connection, run_id, ordinal, is_classification=False, calls=["r"])


def _trained(connection: Connection, run_id: int) -> None:
    first = BatchRow(
        round=0, ordinal=0, members=(3, 6), arrangement="diverse", diversity=0.7, diversity_random=0.6, step=0
    )
    second = replace(first, ordinal=1, members=(8,), diversity=0.5, step=1)
    pools.add_batches(connection, run_id, [first, second])
    steps = [
        replace(first, gradient_norm=2.5, loss=3.25, seconds=1.5),
        replace(second, seconds=0.5, reason="not_finite"),
    ]
    learnt = [LessonRow(round=0, batch=0, ordinal=3, tokens=4, loss=3.0, gradient_norm=2.0, brings=0.5, reason=None)]
    pools.train(connection, run_id, steps, learnt)


def _paid(connection: Connection, run_id: int) -> None:
    rows = [("g0", "generator", 100, 1000), ("g1", "generator", 100, 1000), ("r", "responder", 50, 500)]
    connection.execute(
        text(
            "INSERT INTO calls (key, run_id, role, endpoint, model, tokens_in, tokens_out, nusd, latency_s, outcome, "
            "response) VALUES (:key, :run, :role, 'default', 'm', :tokens, 10, :nusd, 2.0, 'ok', '{}')"
        ),
        [{"key": key, "run": run_id, "role": role, "tokens": tokens, "nusd": nusd} for key, role, tokens, nusd in rows],
    )
    totals.count_late(connection, [key for key, *_ in rows])


def test_counts_are_those_done_by_hand(engine: Engine, run: Run):
    with engine.connect() as connection:
        found = pool_views.counts(connection, run.id)
        rounds = pool_views.round_counts(connection, run.id)
        lessons = pool_views.lessons(connection, run.id)
    assert (found.seeds, found.generated, found.after_heuristics, found.kept) == (3, 6, 5, 4)
    assert (found.with_instance, found.trained, found.unsettled) == (3, 2, 0)  # the marked batch taught nothing
    assert (found.accepted, found.rejected, found.failed) == (3, 3, 1)
    assert (rounds.begun, rounds.done, rounds.prompts_lost) == (1, 1, {"cut_off": 1})
    assert (rounds.filter_s, rounds.embed_s) == (0.5, 0.25)
    assert (lessons.batches, lessons.steps, lessons.marked) == (2, 2, {"not_finite": 1})
    assert (lessons.loss, lessons.gradient_norm, lessons.brings, lessons.seconds) == (3.25, 2.5, 0.5, 2.0)
    assert (lessons.diversity, lessons.diversity_random) == pytest.approx((0.6, 0.6))


def test_reasons_of_texts_and_of_instances_are_told_apart_and_status_has_both(engine: Engine, run: Run):
    with engine.connect() as connection:
        texts = [(found.reason, found.count) for found in pool_views.text_reasons(connection, run.id)]
        instances = [(found.reason, found.count) for found in pool_views.instance_reasons(connection, run.id)]
        together = views.reasons(connection, run.id)
    assert texts == [("duplicate", 1), ("undoable", 1)]
    assert instances == [("unfinished", 3), ("call_failed", 1)]
    assert together == {"unfinished": 3, "call_failed": 1, "duplicate": 1, "undoable": 1}


def test_stages_share_out_what_was_paid_for(engine: Engine, run: Run):
    with engine.connect() as connection:
        generate, gate, embed, instance, train, total = stages_of(connection, run)
    assert (generate.entered, generate.kept, generate.spend.calls, generate.spend.nusd) == (6, 5, 2, 2000)
    assert (gate.kept, gate.spend.seconds) == (4, 0.5)
    assert embed.spend.seconds == 0.25
    assert (instance.kept, instance.spend.calls, instance.spend.tokens) == (3, 1, 60)
    assert (train.entered, train.kept, train.spend.seconds) == (3, 2, 2.0)
    assert total.each is not None and (total.each.calls, total.each.nusd) == pytest.approx((1.0, 2500 / 3))


def test_a_status_of_a_pool_has_the_keys_of_every_status_and_its_own(engine: Engine, run: Run):
    with engine.connect() as connection:
        found = status_of(connection, run)
    assert (found["seeds"], found["nodes"], found["trees_done"], found["examples"]) == (3, 0, 0, 3)
    assert found["mean_seed"]["reward"] is None
    assert set(found["eta_s"]) == {"low", "high"}
    pool = found["pool"]
    assert (pool["rounds"], pool["generated"], pool["kept"], pool["kept_share"]) == (1, 6, 4, 0.6667)
    assert (pool["with_instance"], pool["target"]) == (3, 40)
    assert (pool["seeds_now"], pool["seeds_entered"], pool["seeds_left"]) == (3, 1, 1)
    assert (pool["steps"], pool["loss"], pool["gradient_norm"], pool["brings"]) == (2, 3.25, 2.5, 0.5)
    assert [stage["stage"] for stage in pool["stages"]] == [
        *("generate", "filter", "embed", "instance", "train", "total")
    ]
    assert found["eta_s"]["low"] is not None and found["eta_s"]["high"] >= found["eta_s"]["low"] > 0


def test_a_line_of_the_list_says_of_a_pool_what_its_whole_status_says(engine: Engine, run: Run):
    with engine.connect() as connection:
        light, whole = light_status(connection, run), status_of(connection, run)
    for name in ("target", "kept", "rounds_done"):
        assert light["pool"][name] == whole["pool"][name], name


def test_a_status_of_trees_has_no_pool(engine: Engine):
    with engine.begin() as connection:
        begin(connection, name=NAME, stem="s", config=build("idea-mcts", [ENDPOINT], ()), seeds=SEEDS, caps=NO_CAPS)
        planted = runs.by_name(connection, NAME)
        assert planted is not None
        found = status_of(connection, planted)
    assert found["pool"] is None and found["seeds"] == 3


def test_a_run_that_trains_nobody_has_empty_stages_for_it(engine: Engine):
    with engine.begin() as connection:
        begin(connection, name=NAME, stem="s", config=build("self-instruct", [ENDPOINT], ()), seeds=SEEDS, caps=NO_CAPS)
        planted = runs.by_name(connection, NAME)
        assert planted is not None
        found = status_of(connection, planted)
        assert report_of(connection, planted)
    assert found["pool"]["kept_share"] is None and found["eta_s"] == {"low": None, "high": None}
    assert [stage["share"] for stage in found["pool"]["stages"]] == [None] * 6


def test_the_samples_of_a_page_are_bounded_and_hold_what_belongs_together(engine: Engine, run: Run):
    with engine.connect() as connection:
        (copy, undoable) = pool_views.refused_texts(connection, run.id, each=1)
        instances = pool_views.refused_instances(connection, run.id, each=2)
        (latest,) = pool_views.moves(connection, run.id, most=1)
        made = pool_rows.made_examples(connection, run.id, most=2)
        again = pool_rows.made_examples(connection, run.id, most=2)
    assert (copy.text, copy.nearest_text, copy.nearest_origin, copy.similarity) == (
        "Name one colour.",
        "Name a colour.",
        "generated",
        0.8,
    )
    assert (undoable.reason, undoable.nearest_text) == ("undoable", None)
    assert [found.reason for found in instances] == ["unfinished", "unfinished", "call_failed"]
    assert (latest.event, latest.text) == ("left", "Seed number 1")
    assert made == again and len(made) == 2
    assert [shown.text for shown in made[0].shown] == ["Seed number 0", "Seed number 2"]


def test_the_best_are_those_that_training_found_to_bring_most(engine: Engine, run: Run):
    with engine.begin() as connection:
        learnt = [
            LessonRow(round=0, batch=0, ordinal=6, tokens=4, loss=3.0, gradient_norm=2.0, brings=1.5, reason=None),
            LessonRow(round=0, batch=1, ordinal=8, tokens=4, loss=3.0, gradient_norm=2.0, brings=-0.5, reason=None),
        ]
        pools.train(connection, run.id, [], learnt)
        best = pool_rows.bringing_most(connection, run.id, most=20)
        (first,) = pool_rows.bringing_most(connection, run.id, most=1)
        brought = pool_rows.brought(connection, run.id)
    assert [(one.instruction, one.brings) for one in best] == [("Add two numbers.", 1.5), ("Name a colour.", 0.5)]
    assert first == best[0] and [shown.ordinal for shown in first.shown] == [0, 2]
    assert (brought.measured, brought.nothing) == (3, 1)


def _kept_with(connection: Connection, run_id: int, outputs: dict[int, str], *, classify: bool = False) -> None:
    """Texts with one good instance each, by their ordinals."""
    for at, output in outputs.items():
        said = f"Say the number {at} in a loud voice."
        row = InstructionRow(ordinal=at, origin="generated", text=said, status="kept", round=0, slot=2, shown=(0,))
        pools.add(connection, run_id, [row])
        made = InstanceRow(
            ordinal=at, instance=0, instruction=said, input="", output=output, status="accepted", reason=None
        )
        pools.give(connection, run_id, [made], ["r"])
        pools.settle(connection, run_id, at, is_classification=classify, calls=["r"])


def test_the_strangest_of_all_accepted_examples_is_found_and_a_label_is_not_strange_for_being_short(
    engine: Engine, run: Run
):
    with engine.begin() as connection:
        sentence = "It is said as loudly as one can say it."
        _kept_with(connection, run.id, dict.fromkeys(range(100, 130), sentence) | {117: sentence * 60})
        _kept_with(connection, run.id, {130: "Yes", 131: "No"}, classify=True)
        told = pool_story_of(connection, run)
    first = told.strangest[0]
    assert (first.example.ordinal, first.why) == (117, "an output of 2,340 characters")
    assert "an output of 2,340 characters" in render_pool(told)
    assert not {130, 131} & {odd.example.ordinal for odd in told.strangest}


def test_the_page_tells_the_story_of_the_rows(engine: Engine, run: Run):
    with engine.connect() as connection:
        page = render_pool(pool_story_of(connection, run))
    for said in ("<ins>one", "similarity 0.800 to #3, generated", "farthest of batch 0", "Seed number 1", "not finite"):
        assert said in page
