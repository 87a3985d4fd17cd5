"""The diversity gate as a run meets it."""

import numpy as np
import pytest

from db.errors import ConfigError
from orchestrator.diversity import (
    Candidate,
    EmbeddingPool,
    Gate,
    GateSettings,
    LexicalPool,
    Stage,
    TextId,
    Verdict,
    all_tokens,
    embedder,
    rouge_tokens,
)
from workers.contracts import Reason

BREAD = "Explain how bread rises in the mountains, where the air is thin and water boils early."
CHILD = BREAD + " Do not use the word yeast, and end with a table of three altitudes."
COPY = "explain how Bread rises in the mountains - where the air is thin, and water boils early"
MOONS = "List the moons of Jupiter by size, and say who discovered each of them and when."
SWAPPED = "And say who discovered each of them and when, the moons of Jupiter; list by size."
BOTH = GateSettings()
WORDS_ONLY = GateSettings(embedding=None)
BREAD_ID, MOONS_ID = (1, "bread"), (2, "moons")


def candidate(key: str, text: str, *ancestors: TextId, tree: int = 1) -> Candidate:
    return Candidate(id=(tree, key), text=text, ancestors=ancestors)


def begun(settings: GateSettings = BOTH) -> Gate:
    gate = Gate(settings)
    gate.take([(BREAD_ID, BREAD), (MOONS_ID, MOONS)])
    return gate


def one(gate: Gate, key: str, text: str, *ancestors: TextId) -> Verdict:
    return gate.admit([candidate(key, text, *ancestors)])[0]


def test_a_new_text_is_accepted_and_counted():
    gate = begun()
    verdict = one(gate, "x", "Plan a garden for a windy balcony.")
    assert (verdict.reason, verdict.near, verdict.version) == (None, None, 2)
    assert gate.version == 3


def test_a_near_copy_is_refused_with_what_it_is_near_to():
    gate = begun()
    verdict = one(gate, "x", COPY)
    assert verdict.reason is Reason.DUPLICATE
    assert verdict.near is not None
    assert (verdict.near.stage, verdict.near.id, verdict.near.similarity) == (Stage.LEXICAL, BREAD_ID, 1.0)
    assert gate.version == 2


def test_the_same_words_in_another_order_are_for_the_second_stage():
    assert one(begun(WORDS_ONLY), "x", SWAPPED).reason is None
    near = one(begun(), "x", SWAPPED).near
    assert near is not None
    assert (near.stage, near.id) == (Stage.EMBEDDING, MOONS_ID)


def test_a_child_may_resemble_its_line_and_nothing_else():
    settings = GateSettings(lexical=0.6)
    assert one(begun(settings), "child", CHILD).reason is Reason.DUPLICATE
    gate = begun(settings)
    assert one(gate, "child", CHILD, BREAD_ID).reason is None
    grandchild = CHILD + " Write it for bakers."
    assert one(gate, "grandchild", grandchild, (1, "child"), BREAD_ID).reason is None
    cousin = one(gate, "cousin", BREAD + " Do not use the word yeast, end with a list of three altitudes.", BREAD_ID)
    assert cousin.near is not None
    assert cousin.near.id == (1, "child")


def test_keys_of_other_trees_are_no_ancestors():
    gate = begun()
    assert one(gate, "x", COPY, (2, "bread")).reason is Reason.DUPLICATE


def test_each_accepted_text_stands_in_the_way_of_the_next_of_its_batch():
    first, second = Gate(WORDS_ONLY).admit([candidate("x", BREAD), candidate("y", COPY)])
    assert (first.reason, second.reason) == (None, Reason.DUPLICATE)
    assert (first.version, second.version) == (0, 1)


def test_what_is_told_twice_is_taken_once():
    gate = begun()
    told = candidate("x", "Plan a garden for a windy balcony.")
    first = gate.admit([told])
    assert gate.admit([told, told]) == first * 2
    gate.take([(told.id, told.text)])
    assert gate.version == 3


def test_both_stages_off_accept_everything():
    gate = begun(GateSettings(lexical=None, embedding=None))
    assert one(gate, "x", BREAD).reason is None
    assert gate.version == 3


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("объясни, почему хлеб поднимается в горах быстрее", "Объясни: почему хлеб поднимается в горах быстрее?"),
        ("请解释为什么面包在山里发得更快", "请解释，为什么面包在山里发得更快？"),
        ("อธิบายว่าทำไมขนมปังถึงขึ้นฟูเร็วกว่าบนภูเขา", "อธิบายว่าทำไมขนมปังถึงขึ้นฟูเร็วกว่าบนภูเขา?"),
        ("اشرح لماذا يرتفع الخبز في الجبال أسرع", "اشرح: لماذا يرتفع الخبز في الجبال أسرع؟"),
        ("🙂🙂🙂", "🙂🙂🙂"),
    ],
)  # fmt: skip
def test_near_copies_in_other_scripts_are_seen_unless_exactly_rouge_score_is_asked_for(text: str, other: str):
    gate = Gate(WORDS_ONLY)
    assert [v.reason for v in gate.admit([candidate("x", text), candidate("y", other)])] == [None, Reason.DUPLICATE]
    strict = Gate(GateSettings(embedding=None, every_script=False))
    assert [v.reason for v in strict.admit([candidate("x", text), candidate("y", other)])] == [None, None]


@pytest.mark.parametrize("text", ["", " \n", "\x00", "\ud800", "?!", "…", "a", "é" * 5000, "\u0301"])
def test_odd_texts_neither_crash_nor_block_others(text: str):
    gate = begun()
    one(gate, "odd", text)
    one(gate, "odd again", text)
    assert one(gate, "x", "Plan a garden for a windy balcony.").reason is None


def test_very_long_texts_are_compared_whole():
    words = [f"word{i}" for i in range(3000)] + ["again"] * 400
    long, changed = " ".join(words), " ".join([*words[:2900], *(["other"] * 100), *words[3000:]])
    gate = begun()
    assert one(gate, "x", long).reason is None
    near = one(gate, "y", changed).near
    assert near is not None
    assert near.similarity == pytest.approx(3300 / 3400)
    assert one(gate, "z", " ".join(reversed(words[:3000]))).near is None or near.stage is Stage.LEXICAL


def test_at_the_threshold_the_run_decides():
    a, b = "one two three four five six seven x y z", "one two three four five six seven p q r"
    for inclusive in (True, False):
        pool = LexicalPool(0.7, inclusive=inclusive)
        pool.add([a])
        assert (pool.near(b) is not None) is inclusive


def test_of_equally_near_texts_the_first_is_named():
    pool = LexicalPool(0.5)
    pool.add(["p q", "a b c x", "a b c y"])
    match = pool.near("a b c z")
    assert match is not None
    assert (match.position, match.similarity) == (1, 0.75)
    other = pool.near("a b c z", {1})
    assert other is not None
    assert other.position == 2


def test_accents_are_dropped_by_rouge_score_and_kept_by_us():
    assert rouge_tokens("Naïve K. No-1") == ["na", "ve", "k", "no", "1"]
    assert all_tokens("Naïve K. No-1") == ["na", "ï", "ve", "k", "no", "1"]
    assert all_tokens("面包 rises") == ["面", "包", "rises"]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold: float):
    with pytest.raises(ValueError, match="threshold"):
        LexicalPool(threshold)
    with pytest.raises(ValueError, match="threshold"):
        EmbeddingPool(threshold, 8)


def test_an_embedder_that_changes_its_size_is_an_error_and_nothing_is_taken():
    pool = EmbeddingPool(0.9, 3)
    pool.add(np.ones(3, dtype=np.float32))
    for call in (pool.add, pool.near):
        with pytest.raises(ConfigError, match="4 numbers where this run's have 3"):
            call(np.ones(4, dtype=np.float32))
    assert len(pool) == 1


def test_vectors_that_say_nothing_are_near_to_nothing():
    pool = EmbeddingPool(0.1, 2)
    for numbers in ([0, 0], [float("nan"), 1], [float("inf"), 1]):
        vector = np.asarray(numbers, dtype=np.float32)
        pool.add(vector)
        assert pool.near(vector) is None


def test_an_unknown_embedder_is_named():
    with pytest.raises(ConfigError, match="unknown embedder 'wordlama': known: lexical, wordllama"):
        Gate(GateSettings(embedder="wordlama"))


def test_the_embedder_of_letters_sees_letters_not_their_order():
    embed = embedder("lexical")

    def cosine(a: str, b: str) -> float:
        x, y = embed(a).astype(float), embed(b).astype(float)
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    assert cosine(MOONS, SWAPPED) == pytest.approx(1)
    assert cosine(BREAD, MOONS) < 0.5
    assert not embed("?!").any()


def test_wordllama_gives_a_text_the_same_vector_every_time():
    pytest.importorskip("wordllama")
    embed = embedder("wordllama")
    assert embed(BREAD).shape == (embed.size,)
    first = embed(BREAD)
    embed(MOONS)
    assert np.array_equal(embed(BREAD), first)
