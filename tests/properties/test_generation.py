"""What holds of generation's pure parts whatever they are given."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.generation.batches import Arrangement, arranged
from orchestrator.generation.draws import demonstrations, some
from orchestrator.generation.feedback import FeedbackRules, feedback
from orchestrator.generation.seedpool import Event, SeedPool, replayed
from orchestrator.generation.signal import TERMS, BatchSignal, corrected, plain
from orchestrator.generation.swaps import swapped
from orchestrator.generation.vectors import Rows, units, within

ORDINALS = st.lists(st.integers(0, 40), max_size=30)
SMALL = st.integers(0, 12)
# Few numbers, so that vectors are often equal, opposite or zero.
VECTORS = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 1.0, 1e-20, 1e20]), min_size=3, max_size=3), max_size=24)
ARRANGEMENTS = st.sampled_from(["swapped", "random", "diverse"])


@given(ORDINALS, ORDINALS, SMALL, SMALL, st.integers(), SMALL, SMALL)
def test_a_prompt_shows_no_ordinal_twice_and_as_many_as_there_are(
    seeds: list[int], made: list[int], shown: int, made_shown: int, seed: int, round: int, slot: int
) -> None:
    place = {"shown": shown, "made_shown": made_shown, "seed": seed, "round": round, "slot": slot}
    found = demonstrations(seeds, made, **place)
    others = set(made) - set(seeds)
    own = min(len(others), made_shown, shown)
    assert len(found) == len(set(found)) == own + min(len(set(seeds)), shown - own)
    assert len(set(found) & others) == own and set(found) <= set(seeds) | others
    assert found == demonstrations(tuple(seeds), tuple(made), **place)


@given(st.lists(st.integers()), st.integers(0, 40), st.integers())
def test_some_are_of_the_items_without_replacement(items: list[int], count: int, seed: int) -> None:
    found = some(range(len(items)), count, seed, "x")
    assert len(found) == len(set(found)) == min(count, len(items))
    assert set(found) <= set(range(len(items)))


def rows(drawn: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(drawn, dtype=np.float64).reshape(-1, 3)


@given(VECTORS, st.integers(1, 7), ARRANGEMENTS, st.integers(0, 5), st.booleans())
@settings(deadline=None)
def test_every_item_is_in_one_batch_or_waits(
    drawn: list[list[float]], size: int, arrangement: Arrangement, seed: int, last: bool
) -> None:
    if arrangement == "diverse":
        pytest.importorskip("sklearn")
    made = arranged(rows(drawn), size=size, arrangement=arrangement, seed=seed, round=2, last=last)
    placed = [place for batch in made.batches for place in batch]
    assert sorted((*placed, *made.waiting)) == list(range(len(drawn)))
    assert all(len(batch) == size for batch in made.batches[: len(drawn) // size])
    assert not (last and made.waiting) and len(made.waiting) < size
    assert made == arranged(rows(drawn), size=size, arrangement=arrangement, seed=seed, round=2, last=last)


def mean_within(vectors: np.ndarray, order: Sequence[int], size: int) -> float:
    return float(np.mean([within(vectors[list(order[at : at + size])]) for at in range(0, len(order), size)]))


@given(VECTORS, st.integers(2, 5))
def test_swapping_never_lowers_the_distance_inside(drawn: list[list[float]], size: int) -> None:
    full = len(drawn) - len(drawn) % size
    if not full:
        return
    vectors = units(rows(drawn)[:full])
    order = list(range(full))
    found = swapped(vectors, order, size)
    assert sorted(found) == order
    assert mean_within(vectors, found, size) >= mean_within(vectors, order, size) - 1e-9


@given(VECTORS)
def test_the_distance_inside_is_the_mean_over_pairs(drawn: list[list[float]]) -> None:
    unit = units(rows(drawn))
    pairs = [1 - float(unit[i] @ unit[j]) for i in range(len(unit)) for j in range(i)]
    assert within(rows(drawn)) == pytest.approx(np.mean(pairs) if pairs else 0, abs=1e-9)


def clustered(seed: int, kinds: int, size: int) -> Rows:
    """Texts for twelve batches, of so many kinds."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(kinds, 12))
    return centres[chance.integers(kinds, size=12 * size)] + 0.2 * chance.normal(size=(12 * size, 12))


def gain(vectors: Rows, size: int, arrangement: Arrangement, seed: int) -> float:
    """How much more diverse its batches are inside than random ones are on the average."""
    made = arranged(vectors, size=size, arrangement=arrangement, seed=seed, round=0).batches
    chance = np.random.default_rng(seed)
    random = [mean_within(vectors, chance.permutation(len(vectors)).tolist(), size) for _ in range(20)]
    return float(np.mean([within(vectors[list(batch)]) for batch in made]) - np.mean(random))


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 8))
@settings(deadline=None, max_examples=20)
def test_swapped_batches_are_never_less_diverse_than_random_ones(seed: int, kinds: int, size: int) -> None:
    assert gain(clustered(seed, kinds, size), size, "swapped", seed) > 0


def test_batches_of_one_from_each_cluster_are_the_more_diverse_on_average() -> None:
    """Not each time: k-means may find other clusters than there are."""
    pytest.importorskip("sklearn", reason="the extra `train` is not installed")
    gains = [gain(clustered(seed, 4, 6), 6, "diverse", seed) for seed in range(30)]
    assert np.mean(gains) > 2 * np.std(gains) / len(gains) ** 0.5


SIGNALS = st.lists(
    st.builds(
        BatchSignal,
        round=st.integers(0, 12),
        ordinal=st.integers(0, 100),
        members=st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True).map(tuple),
        step=st.integers(0, 50),
        tokens=st.integers(0, 300),
        loss=st.none() | st.floats(allow_nan=True),
        gradient_norm=st.none() | st.floats(allow_nan=True),
        norms=st.dictionaries(st.integers(0, 40), st.none() | st.floats(0, 9), max_size=5),
    ),
    max_size=12,
    unique_by=lambda one: (one.round, one.ordinal),
)


@given(SIGNALS, st.lists(st.sampled_from(TERMS), unique=True))
def test_a_signal_is_finite_or_absent(signals: list[BatchSignal], terms: list) -> None:
    for values in (plain(signals), corrected(signals, terms)):
        assert len(values) == len(signals)
        assert all(value is None or np.isfinite(value) for value in values)


RULES = st.builds(
    FeedbackRules,
    every=st.integers(1, 10),
    top_batches=st.integers(1, 3),
    enter=st.integers(0, 5),
    pick=st.sampled_from(["farthest", "norm", "random"]),
    fixed_size=st.booleans(),
    leave=st.integers(0, 9),
    least=st.integers(0, 12),
    signal=st.sampled_from(["norm", "corrected", "loss", "random"]),
)
TEXTS = {one: f"w{one % 7} w{one % 3} w{one % 5} x" for one in range(41)}


@given(
    st.lists(st.integers(0, 40), unique=True),
    SIGNALS,
    st.dictionaries(st.integers(0, 40), st.lists(st.integers(0, 40), max_size=4)),
    RULES,
    st.integers(0, 12),
)
def test_feedback_keeps_the_laws_of_the_pool(
    start: list[int], signals: list[BatchSignal], parents: dict[int, list[int]], rules: FeedbackRules, round: int
) -> None:
    pool = SeedPool(members=tuple(start))
    said = feedback(pool, signals, parents=parents, texts=TEXTS, rules=rules, seed=3, round=round)
    assert said == feedback(pool, signals, parents=parents, texts=TEXTS, rules=rules, seed=3, round=round)
    after = replayed(start, said.events)
    entered = [event.instruction for event in said.events if event.kind == "entered"]
    left = {event.instruction for event in said.events if event.kind == "left"}
    assert set(after.members) == (set(start) | set(entered)) - left
    assert len(entered) <= rules.enter and not set(entered) & set(start)
    assert left <= set(said.scores) <= set(start)
    if rules.fixed_size:
        assert len(after.members) == len(start)
    else:
        assert len(left) <= rules.leave
        assert len(after.members) >= min(len(start), rules.least)


@given(st.lists(st.integers(0, 8), unique=True), st.lists(st.integers(0, 8), max_size=20))
def test_a_pool_is_its_start_and_its_events(start: list[int], toggled: list[int]) -> None:
    members, events = list(start), []
    for one in toggled:
        if one in members:
            members.remove(one)
            events.append(Event(kind="left", instruction=one, reason="weak"))
        else:
            members.append(one)
            events.append(Event(kind="entered", instruction=one, reason="new"))
    assert replayed(start, events).members == tuple(members)
    with pytest.raises(ValueError, match="cannot have"):
        replayed(start, [*events, Event(kind="left", instruction=99, reason="never was")])
