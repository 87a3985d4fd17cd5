"""Draws, batches, signals, the seed pool and its accounts, by example."""

import math
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from db.errors import ConfigError, ServiceError
from orchestrator.diversity import embedder
from orchestrator.generation.batches import arranged
from orchestrator.generation.contrast import contrast
from orchestrator.generation.draws import demonstrations, some
from orchestrator.generation.feedback import FeedbackRules, due, feedback
from orchestrator.generation.floor import keeps_too_little
from orchestrator.generation.seedpool import Event, SeedPool, replayed
from orchestrator.generation.signal import BatchSignal, brought, corrected, plain
from orchestrator.generation.stages import Counts, Spend, Stage, table
from orchestrator.generation.vectors import vectors_of, within

SEEDS = tuple(range(175))


# -- draws


def test_eight_demonstrations_are_six_seeds_and_two_machine_written():
    shown = demonstrations(SEEDS, (200, 201, 202, 203), shown=8, made_shown=2, seed=1, round=0, slot=0)
    assert len(shown) == 8
    assert sum(one >= 200 for one in shown) == 2


def test_before_anything_was_made_all_eight_are_seeds():
    shown = demonstrations(SEEDS, (), shown=8, made_shown=2, seed=1, round=0, slot=0)
    assert len(shown) == 8 and set(shown) <= set(SEEDS)


def test_slots_and_rounds_show_different_ones_and_the_same_place_the_same():
    def of(round: int, slot: int) -> tuple[int, ...]:
        return demonstrations(SEEDS, (), shown=8, made_shown=0, seed=1, round=round, slot=slot)

    assert of(3, 2) == of(3, 2)
    assert len({of(3, 2), of(3, 1), of(2, 2)}) == 3


def test_machine_written_ones_stand_anywhere_in_the_prompt():
    prompts = [demonstrations(SEEDS, (200,), shown=8, made_shown=1, seed=1, round=0, slot=n) for n in range(200)]
    assert {shown.index(200) for shown in prompts} == set(range(8))


def test_a_made_instruction_that_became_a_seed_is_shown_once():
    shown = demonstrations((1, 200), (200,), shown=8, made_shown=2, seed=1, round=0, slot=0)
    assert sorted(shown) == [1, 200]


def test_some_is_uniform():
    counts = np.zeros(5)
    for place in range(5000):
        counts[some(range(5), 2, 7, place)] += 1
    assert np.abs(counts / 5000 - 0.4).max() < 0.03


# -- vectors


def test_distances_of_a_batch():
    assert within(np.array([[1.0, 0.0], [2.0, 0.0]])) == pytest.approx(0)
    assert within(np.array([[1.0, 0.0], [0.0, 3.0]])) == pytest.approx(1)
    assert within(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])) == pytest.approx((2 + 1 + 1) / 3)
    assert within(np.array([[1.0, 0.0]])) == 0


def test_texts_become_rows():
    rows = vectors_of(["Bake bread.", "Bake bread!"], embedder("lexical"))
    assert rows.shape == (2, 256) and within(rows) == pytest.approx(0)
    assert vectors_of([], embedder("lexical")).shape == (0, 256)


class Odd:
    """An embedder whose answers are what it is told."""

    size = 2

    def __init__(self, **answers: list[float]) -> None:
        self._answers = answers

    def __call__(self, text: str) -> np.ndarray:
        return np.array(self._answers[text], dtype=np.float32)


@pytest.mark.parametrize(
    ("vector", "words"), [([1.0, 2.0, 3.0], "3 numbers"), ([], "0 numbers"), ([math.nan, 1.0], "not finite")]
)
def test_an_embedder_that_changes_its_dimension_or_says_nothing_is_refused(vector: list[float], words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        vectors_of(["a", "b"], Odd(a=[1.0, 0.0], b=vector))
    assert "\n" not in str(caught.value)


# -- batches


def on_circle(*degrees: float) -> np.ndarray:
    return np.array([[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees])


@pytest.mark.parametrize("arrangement", ["diverse", "swapped"])
def test_every_batch_has_one_of_each_kind(arrangement):
    if arrangement == "diverse":
        pytest.importorskip("sklearn")
    vectors = on_circle(0, 1, 2, 120, 121, 122, 240, 241, 242)
    made = arranged(vectors, size=3, arrangement=arrangement, seed=1, round=0)
    assert made.waiting == ()
    assert [sorted(place // 3 for place in batch) for batch in made.batches] == [[0, 1, 2]] * 3


@pytest.mark.parametrize("arrangement", ["diverse", "swapped", "random"])
def test_what_fills_no_batch_waits_or_goes_last(arrangement):
    if arrangement == "diverse":
        pytest.importorskip("sklearn")
    vectors = on_circle(*range(0, 70, 10))
    waiting = arranged(vectors, size=3, arrangement=arrangement, seed=1, round=0)
    assert len(waiting.batches) == 2 and waiting.waiting == (6,)
    last = arranged(vectors, size=3, arrangement=arrangement, seed=1, round=0, last=True)
    assert last.batches == (*waiting.batches, (6,)) and last.waiting == ()
    few = arranged(vectors[:2], size=3, arrangement=arrangement, seed=1, round=0)
    assert (few.batches, few.waiting) == ((), (0, 1))


def test_fewer_different_texts_than_clusters_are_no_trouble():
    pytest.importorskip("sklearn")
    vectors = np.array([[1.0, 0.0]] * 5 + [[0.0, 0.0]] * 3)
    made = arranged(vectors, size=4, arrangement="diverse", seed=1, round=0)
    assert sorted(place for batch in made.batches for place in batch) == list(range(8))


def test_without_scikit_learn_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ServiceError, match=r"instructree\[train\]"):
        arranged(on_circle(0, 1, 2, 3), size=2, arrangement="diverse", seed=1, round=0)


def clustered(seed: int, count: int) -> np.ndarray:
    """Uneven clusters: half of all is of one kind."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(6, 16))
    kinds = np.where(chance.random(count) < 0.5, 0, chance.integers(6, size=count))
    return centres[kinds] + 0.4 * chance.normal(size=(count, 16))


def test_diverse_batches_beat_random_ones_and_swapped_ones_beat_both():
    pytest.importorskip("sklearn")
    vectors = clustered(3, 120)
    found = {
        name: contrast(vectors, arranged(vectors, size=8, arrangement=name, seed=1, round=0).batches, seed=1, round=0)
        for name in ("diverse", "swapped", "random")
    }
    diverse, swapped, random = found["diverse"], found["swapped"], found["random"]
    assert diverse and swapped and random
    assert diverse.gain_interval[0] > 0 and diverse.beaten == 1
    assert swapped.arranged > diverse.arranged
    assert 0 < random.beaten < 1
    assert random.interval[0] < random.random < random.interval[1]


def test_there_is_no_contrast_without_pairs():
    assert contrast(on_circle(0, 90), [(0,), (1,)], seed=1, round=0) is None


# -- signals


def signal(
    ordinal: int,
    *members: int,
    norm: float | None = 1.0,
    loss: float | None = 2.0,
    round: int = 0,
    norms: Mapping[int, float | None] | None = None,
    tokens: int = 100,
) -> BatchSignal:
    return BatchSignal(
        round=round,
        ordinal=ordinal,
        members=members or (ordinal,),
        step=ordinal,
        tokens=tokens,
        loss=loss,
        gradient_norm=norm,
        norms=norms or {},
    )


def test_a_batch_without_a_finite_norm_is_left_out():
    assert plain([signal(0, norm=None), signal(1, norm=math.nan), signal(2, norm=math.inf), signal(3)]) == [
        None, None, None, 1.0,
    ]  # fmt: skip
    assert corrected([signal(0, norm=None), signal(1, loss=math.nan), signal(2, norm=0.0), signal(3)])[:3] == [None] * 3


def test_few_batches_are_ordered_by_their_norms():
    few = corrected([signal(0, norm=1.0), signal(1, norm=4.0), signal(2, norm=2.0), signal(3, norm=None)])
    assert few[3] is None
    assert few[0] < few[2] < few[1]  # type: ignore[operator]


def made_up(count: int) -> list[BatchSignal]:
    """Norms as they come about: short answers, early steps and high losses raise them; every fifth batch is noise."""
    chance = np.random.default_rng(11)
    found = []
    for one in range(count):
        tokens = int(chance.integers(80, 800))
        loss = chance.normal(4.5 if one % 5 == 0 else 2.2, 0.2)
        norm = math.exp(0.7 * loss - 0.5 * math.log(tokens) - 0.2 * math.log1p(one) + chance.normal(0, 0.1))
        found.append(signal(one, norm=norm, loss=loss, tokens=tokens))
    return found


def test_noise_wins_by_the_plain_norm_and_not_by_the_corrected_one():
    signals = made_up(100)

    def noise_of_the_first_twenty(values: list[float | None]) -> int:
        order = sorted(range(100), key=lambda one: -(values[one] or 0.0))
        return sum(one % 5 == 0 for one in order[:20])

    assert noise_of_the_first_twenty(plain(signals)) > 15
    assert noise_of_the_first_twenty(corrected(signals)) < 10
    assert noise_of_the_first_twenty(corrected(signals, ("length", "step"))) > 15, "it is the loss that tells noise"


def test_what_its_instructions_bring_nothing_to_is_no_signal():
    norms = [signal(one, norm=float(9 - one), tokens=100 + one) for one in range(6)]
    measured = [replace(one, brings=nats) for one, nats in zip(norms, (-0.4, 0.0, 0.1, None, 1.0, -2.0), strict=True)]
    found = corrected(measured)
    assert [value is None for value in found] == [True, True, False, False, False, True]
    assert [one for one in found if one is not None] == corrected(norms[2:5])
    assert plain(measured) == plain(norms), "the paper's signal is left as it is"


def test_what_a_batch_brings_is_a_mean_over_its_tokens():
    assert brought([(30, 1.0), (10, -1.0), (500, None), (500, math.nan)]) == 0.5
    assert brought([(30, None)]) is None and brought([]) is None


# -- the seed pool


def test_the_pool_is_its_history():
    events = [Event(kind="entered", instruction=9, reason="new"), Event(kind="left", instruction=2, reason="weak")]
    assert replayed((1, 2, 3), events).members == (1, 3, 9)
    with pytest.raises(ValueError, match="2 cannot have left: it was outside"):
        replayed((1, 2, 3), [*events, events[1]])


TEXTS = {one: f"Describe the {word} of a small town in spring." for one, word in enumerate("abcdefghij")} | {
    20: "Describe the a of a small town in spring, please.",
    21: "Sort these numbers from the largest down.",
    22: "Which of these two proofs is wrong?",
}
# Seeds 0 and 1 made what is in the moving batch, 2 and 3 what is in the other.
PARENTS = {20: (0, 1), 21: (0,), 22: (1,), 30: (2, 3), 31: (2,)}
WINDOW = [
    signal(0, 20, 21, 22, norm=5.0, norms={20: 9.0, 21: 1.0, 22: None}),
    signal(1, 30, 31, norm=1.0),
    signal(2, 40, norm=math.inf),
]


def after(rules: FeedbackRules, *, members: int = 10, batches: list[BatchSignal] = WINDOW, round: int = 9):
    pool = SeedPool(members=tuple(range(members)))
    said = feedback(pool, batches, parents=PARENTS, texts=TEXTS, rules=rules, seed=1, round=round)
    return said, replayed(pool.members, said.events)


def test_the_most_moving_batch_supplies_seeds_and_weak_seeds_leave():
    said, pool = after(FeedbackRules())
    assert said.suppliers == ((0, 0),)
    assert said.scores == {0: 5.0, 1: 5.0, 2: 1.0, 3: 1.0}
    assert set(pool.members) == {0, 1, 4, 5, 6, 7, 8, 9, 21, 22}, (
        "the two unlike any seed are in; 4 to 9 are not judged"
    )
    assert [event.kind for event in said.events] == ["entered", "entered", "left", "left"]
    assert "batch 0 of round 0" in said.events[0].reason


def test_who_enters_by_its_own_norm():
    said, _ = after(FeedbackRules(pick="norm", enter=1))
    assert [event.instruction for event in said.events if event.kind == "entered"] == [20]


def test_without_a_fixed_size_the_pool_stops_at_its_least():
    _, pool = after(FeedbackRules(fixed_size=False, enter=0, leave=2, least=9))
    assert len(pool.members) == 9
    _, pool = after(FeedbackRules(fixed_size=False, enter=3, leave=0))
    assert len(pool.members) == 13
    _, pool = after(FeedbackRules(), members=4)
    assert len(pool.members) == 4


def test_only_the_window_counts():
    said, pool = after(FeedbackRules(every=10), round=19)
    assert said.events == () and said.signals == {} and len(pool.members) == 10
    assert [round for round in range(31) if due(round, FeedbackRules())] == [9, 19, 29]


def test_chance_as_the_signal_is_chance():
    many = [signal(0, one, norm=100.0 if one == 20 else 1.0, round=one) for one in (20, 21, 22)]
    firsts = {
        feedback(
            SeedPool(members=tuple(range(10))), many, parents=PARENTS, texts=TEXTS,
            rules=FeedbackRules(signal="random"), seed=seed, round=25,
        ).suppliers[0]
        for seed in range(30)
    }  # fmt: skip
    assert len(firsts) == 3


# -- the floor and the accounts


def test_a_generator_that_repeats_itself_is_told_after_a_whole_window():
    assert not keeps_too_little([10, 0, 0], [20, 20, 20], floor=0.05, window=4)
    assert not keeps_too_little([10, 0, 0], [20, 20, 20], floor=0.05, window=3)
    assert keeps_too_little([10, 0, 0, 0], [20, 20, 20, 20], floor=0.05, window=3)
    assert keeps_too_little([0, 0], [0, 0], floor=0.05, window=2)
    assert not keeps_too_little([0, 0], [20, 20], floor=0, window=2)


def test_the_accounts_of_a_run():
    counts = Counts(generated=200, after_heuristics=160, after_gate=80, with_instance=40, trained=32)
    spent = {
        Stage.GENERATE: Spend(calls=20, tokens=8000, nusd=4_000_000, seconds=30.0),
        Stage.INSTANCE: Spend(calls=160, tokens=16_000, nusd=8_000_000, seconds=60.0),
        Stage.TRAIN: Spend(seconds=100.0),
    }
    rows = {row.stage: row for row in table(counts, spent)}
    assert [rows[stage].share for stage in Stage] == [0.8, 0.5, 1.0, 0.5, 0.8]
    total = rows[None]
    assert (total.entered, total.kept, total.share) == (200, 40, 0.2)
    assert total.each is not None
    assert (total.each.calls, total.each.tokens, total.each.nusd, total.each.seconds) == (4.5, 600, 300_000, 4.75)
    by_gate = table(counts, spent, basis="gate")[-1].each
    assert by_gate is not None and by_gate.calls == 2.25


def test_an_unknown_price_stays_unknown_and_nothing_kept_has_no_cost():
    counts = Counts(generated=2, after_heuristics=0, after_gate=0, with_instance=0)
    total = table(counts, {Stage.GENERATE: Spend(calls=1, nusd=None)})[-1]
    assert total.spend.nusd is None and total.each is None and total.share == 0
