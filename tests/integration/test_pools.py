"""Pools on real rows: rounds in their order, texts held against each other, training, feedback, caps, kills."""

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Engine, text

from db import pools
from db.errors import ConfigError, UserError
from db.records import Caps, InstructionRow, Run, SeedEventRow
from orchestrator.begin import begin
from orchestrator.budget import least_of_pool
from orchestrator.config import PoolConfig, build
from orchestrator.export import rows_of
from orchestrator.seeds import Seed, Seeds
from tests.integration.night import BASE, Hands, adopted, assert_lawful, finish, start, text_of, widened
from workers.contracts import (
    Generated,
    GeneratePayload,
    GenerateResult,
    InstantiatePayload,
    InstantiateResult,
    Payload,
    PoolResult,
    Reason,
    Step,
    TrainPayload,
    TrainResult,
)

ROUNDS = ("rounds.most=4", "rounds.prompts=3")
# Swaps need no clusters, and so no extra.
TAUGHT = ("batches.size=4", 'batches.arrangement="swapped"', "feedback.every=2", "feedback.enter=2")


def texts(engine: Engine, run: Run) -> list[InstructionRow]:
    with engine.connect() as connection:
        return pools.of_run(connection, run.id)


def events(engine: Engine, run: Run) -> list[SeedEventRow]:
    with engine.connect() as connection:
        return pools.events_of(connection, run.id)


def test_rounds_generate_filter_and_instantiate_and_obey_the_laws(engine: Engine):
    run = finish(start(engine, *ROUNDS, recipe="self-instruct", seeds=12), Hands(engine, widened))
    assert (run.status, run.phase, run.reason) == ("done", "ended", None)
    assert_lawful(engine, run)
    rows = texts(engine, run)
    generated = [row for row in rows if row.origin == "generated"]
    assert len(generated) == 4 * 3 * 8
    assert sum(row.reason == Reason.UNDOABLE for row in generated) == 12
    doubled = [row for row in generated if row.reason == Reason.DUPLICATE]
    assert len(doubled) >= 11
    # What everybody says is kept once, and every later one names it.
    (kept,) = [row.ordinal for row in generated if "weather" in row.text and row.status == "kept"]
    assert all(row.nearest == kept and row.similarity == 1.0 for row in doubled if "weather" in row.text)


def test_demonstrations_are_seeds_and_later_two_of_the_machines_own(engine: Engine):
    run = finish(start(engine, *ROUNDS, recipe="self-instruct", seeds=12), Hands(engine, widened))
    rows = {row.ordinal: row for row in texts(engine, run)}
    for row in (row for row in rows.values() if row.origin == "generated"):
        made = [shown for shown in row.shown if rows[shown].origin == "generated"]
        assert len(row.shown) == len(set(row.shown)) == 8
        # One round is under way while the one before it is filtered.
        assert len(made) == (0 if row.round in (0, 1) else 2)
        assert all((rows[one].round or 0) <= (row.round or 0) - 2 and rows[one].status == "kept" for one in made)


def test_the_same_whatever_the_order_of_answers_and_however_often_it_is_killed(engine: Engine):
    """The second run is answered one task at a time, in random order, and taken up by a new driver at every tick."""
    first = finish(start(engine, *ROUNDS, *TAUGHT, recipe="sedi-instruct", seeds=12), Hands(engine, widened))
    told = (said(engine, first), events(engine, first))
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE runs, calls CASCADE"))
    driver = start(engine, *ROUNDS, *TAUGHT, recipe="sedi-instruct", seeds=12)
    hands = Hands(engine, widened, most=1)
    for _ in range(2000):
        driver.tick()
        if driver.over:
            break
        hands.work()
        driver = adopted(engine)
    assert (said(engine, driver.run), events(engine, driver.run)) == told
    assert_lawful(engine, driver.run)


def said(engine: Engine, run: Run) -> list[tuple[object, ...]]:
    return [(r.ordinal, r.text, r.status, r.reason, r.nearest, r.shown) for r in texts(engine, run)]


def test_batches_are_trained_on_and_the_most_moving_one_supplies_seeds(engine: Engine):
    run = finish(start(engine, *ROUNDS, *TAUGHT, recipe="sedi-instruct", seeds=12), Hands(engine, widened))
    assert_lawful(engine, run)
    with engine.connect() as connection:
        batches = pools.batches_of(connection, run.id)
        learnt = pools.lessons_of(connection, run.id)
    assert [batch.step for batch in batches] == list(range(len(batches)))
    assert len(batches) >= 8 and all(len(batch.members) == 4 for batch in batches)
    assert all(batch.loss == 2.0 and batch.seconds == 0.5 for batch in batches)
    assert len(learnt) == 4 * len(batches)
    for end in (1, 3):
        mine = [event for event in events(engine, run) if event.round == end]
        window = [batch for batch in batches if end - 2 < batch.round <= end]
        top = max(window, key=lambda batch: batch.gradient_norm or 0)
        entered = [event.ordinal for event in mine if event.event == "entered"]
        assert 1 <= len(entered) <= 2 and set(entered) <= set(top.members)
        assert len(entered) == sum(event.event == "left" for event in mine)


def test_a_batch_that_is_no_number_is_marked_and_the_run_goes_on(engine: Engine):
    def sick(payload: Payload, pay: Callable[[str], str]) -> PoolResult:
        result = widened(payload, pay)
        if not isinstance(payload, TrainPayload) or payload.round:
            return result
        assert isinstance(result, TrainResult)
        marked = [Step(batch=s.batch, step=s.step, lessons=(), rejected=Reason.NOT_FINITE) for s in result.steps]
        return TrainResult(steps=tuple(marked))

    run = finish(start(engine, *ROUNDS, *TAUGHT, recipe="sedi-instruct", seeds=12), Hands(engine, sick))
    assert run.status == "done"
    assert_lawful(engine, run)
    with engine.connect() as connection:
        batches = pools.batches_of(connection, run.id)
    assert {batch.reason for batch in batches if batch.round == 0} == {Reason.NOT_FINITE}
    assert all(batch.loss for batch in batches if batch.round)


def test_a_student_that_cannot_be_trained_stops_the_tick_with_the_workers_words(engine: Engine):
    driver = start(engine, *ROUNDS, *TAUGHT, recipe="sedi-instruct", seeds=12)
    hands = Hands(engine, widened)
    fail = text("UPDATE tasks SET state = 'failed', error = 'MachineUnfit: no torch' WHERE kind = 'train'")
    with pytest.raises(UserError, match="training failed: MachineUnfit: no torch"):
        for _ in range(50):
            driver.tick()
            with engine.begin() as connection:
                connection.execute(fail)
            hands.work()
    # Mended and taken up again, it goes on where it stood.
    planted = Seeds(seeds=tuple(Seed(instruction=f"Tell me about topic {n}.") for n in range(12)), duplicates=0)
    config = build("sedi-instruct", [BASE], [*ROUNDS, *TAUGHT])
    with engine.begin() as connection:
        begin(connection, name="night", stem="", config=config, seeds=planted, caps=Caps())
    run = finish(adopted(engine), hands)
    assert run.status == "done"
    assert_lawful(engine, run)


def test_a_generator_that_repeats_itself_for_ever_ends_with_the_reason(engine: Engine):
    def parrot(payload: Payload, pay: Callable[[str], str]) -> PoolResult:
        if isinstance(payload, GeneratePayload):
            same = [Generated(text=text_of(number)) for number in range(8)]
            return GenerateResult(found=tuple(same), calls=(pay("generator"),))
        return widened(payload, pay)

    run = finish(start(engine, "rounds.prompts=3", recipe="self-instruct", seeds=12), Hands(engine, parrot))
    assert run.status == "done"
    assert run.reason and run.reason.startswith("the generator repeats itself: of the last 120 texts 0 were kept")
    assert sum(row.status == "kept" and row.origin == "generated" for row in texts(engine, run)) == 8
    assert_lawful(engine, run)


def test_a_share_of_calls_is_kept_to(engine: Engine):
    run = finish(
        start(engine, "rounds.prompts=3", "rounds.calls=200", recipe="self-instruct", seeds=12), Hands(engine, widened)
    )
    assert run.status == "done"
    assert 180 <= run.spent.calls <= 215


def test_a_cap_ends_generation_and_everything_generated_is_accounted_for(engine: Engine):
    driver = start(engine, "rounds.prompts=3", caps=Caps(calls=90), recipe="self-instruct", seeds=12)
    run = finish(driver, Hands(engine, widened))
    assert (run.status, run.spent.calls <= 90) == ("stopped", True)
    assert run.reason and run.reason.startswith("the cap ended generation after")
    assert_lawful(engine, run)


def test_the_least_cap_that_is_let_through_brings_something(engine: Engine):
    config = build("self-instruct", [BASE])
    assert isinstance(config, PoolConfig)
    least = least_of_pool(config.work, config.rounds.shown)
    run = finish(start(engine, caps=Caps(calls=least.calls), recipe="self-instruct", seeds=12), Hands(engine, widened))
    assert run.status == "stopped"
    assert sum(row.origin == "generated" for row in texts(engine, run)) == 8


def test_lost_completions_and_instances_have_their_reasons(engine: Engine):
    def cut(payload: Payload, pay: Callable[[str], str]) -> PoolResult:
        if isinstance(payload, GeneratePayload) and payload.slot == 0:
            return GenerateResult(rejected=Reason.CUT_OFF, calls=(pay("generator"),))
        if isinstance(payload, InstantiatePayload) and payload.instruction % 2:
            return InstantiateResult(failed=Reason.CALL_FAILED)
        return widened(payload, pay)

    run = finish(start(engine, *ROUNDS, recipe="self-instruct", seeds=12), Hands(engine, cut))
    assert_lawful(engine, run)
    with engine.connect() as connection:
        rounds = pools.rounds_of(connection, run.id)
        failed = (
            connection.execute(text("SELECT DISTINCT reason FROM examples WHERE status = 'failed'")).scalars().all()
        )
    assert [row.prompts_lost for row in rounds] == [{"cut_off": 1}] * 4
    assert failed == ["call_failed"]


def test_rows_name_their_demonstrations_models_and_price(engine: Engine):
    run = finish(start(engine, *ROUNDS, recipe="self-instruct", seeds=12), Hands(engine, widened))
    with engine.connect() as connection:
        rows = rows_of(connection, run)
    assert rows and all(row["output"] and len(row["parent_ids"]) == 8 for row in rows)
    assert {frozenset(row["models"].items()) for row in rows} == {frozenset({("generator", "m"), ("responder", "m")})}
    # Eight texts share a completion, and two calls are its own.
    assert rows[0]["cost"]["tokens_in"] == pytest.approx(10 / 8 + 20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("filter.lexical=1.5",), "filter.lexical = 1.5"),
        (("rounds.made_shown=9",), "made_shown 9 is more than all that is shown"),
        (("feedback.on=true",), "feedback needs training"),
        (("feedback.on=true", 'feedback.signal="random"'), "feedback needs training"),
        (("rounds.promts=3",), "did you mean 'prompts'"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options: Sequence[str], words: str):
    with pytest.raises(ConfigError, match=words):
        build("self-instruct", [BASE], options)
