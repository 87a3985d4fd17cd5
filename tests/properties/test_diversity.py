"""The gate's shortcuts change no decision: each stage against comparing with all, the gate against a list of texts."""

import re
from collections.abc import Collection, Iterable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from orchestrator.diversity import (
    Candidate,
    EmbeddingPool,
    Gate,
    GateSettings,
    LexicalPool,
    Match,
    Verdict,
    all_tokens,
    embedder,
    rouge_tokens,
)

# Few words, so that texts are often near, often permutations, and often exactly at a threshold.
WORDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "Write", "the", "the"])
SPOKEN = st.lists(WORDS, max_size=14).map(" ".join)
ANY = st.text(st.characters(), max_size=40)
MIXED = st.lists(st.sampled_from(["a", "b", "çà", "мир", "войны", "面", "包", "!", "naïve", "สวัสดี"]), max_size=9).map(
    " ".join
)
TEXTS = SPOKEN | MIXED | ANY
THRESHOLDS = st.sampled_from([0.05, 0.3, 0.5, 2 / 3, 0.7, 0.8, 0.85, 6 / 7, 0.9, 0.95, 1.0])
POOLS = st.lists(TEXTS, max_size=12)


def rouge_l(a: list[str], b: list[str]) -> float:
    """rouge-score's F-measure, by its own table and its own arithmetic."""
    if not a or not b:
        return 0.0
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, one in enumerate(a, 1):
        for j, other in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if one == other else max(table[i - 1][j], table[i][j - 1])
    precision, recall = table[-1][-1] / len(b), table[-1][-1] / len(a)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def rouge_split(text: str) -> list[str]:
    """rouge-score's tokenizer, step by step."""
    return [token for token in re.split(r"\s+", re.sub(r"[^a-z0-9]+", " ", text.lower())) if token]


def nearest(
    similarities: Sequence[float], exempt: Collection[int], *, threshold: float, inclusive: bool
) -> Match | None:
    best: Match | None = None
    for position, similarity in enumerate(similarities):
        near = similarity >= threshold if inclusive else similarity > threshold
        if near and position not in exempt and (best is None or similarity > best.similarity):
            best = Match(position=position, similarity=similarity)
    return best


@given(POOLS, TEXTS, THRESHOLDS, st.booleans(), st.sets(st.integers(0, 11)))
def test_the_lexical_stage_decides_as_rouge_score_does(
    pool: list[str], text: str, threshold: float, inclusive: bool, some: set[int]
) -> None:
    exempt = {position for position in some if position < len(pool)}
    ours = LexicalPool(threshold, inclusive=inclusive, split=rouge_tokens)
    ours.add(pool)
    theirs = [rouge_l(rouge_split(other), rouge_split(text)) for other in pool]
    assert ours.near(text, exempt) == nearest(theirs, exempt, threshold=threshold, inclusive=inclusive)


@given(POOLS, TEXTS, THRESHOLDS)
def test_in_every_script_it_is_rouge_l_of_more_tokens(pool: list[str], text: str, threshold: float) -> None:
    ours = LexicalPool(threshold)
    ours.add(pool)
    theirs = [rouge_l(all_tokens(other), all_tokens(text)) for other in pool]
    assert ours.near(text) == nearest(theirs, (), threshold=threshold, inclusive=True)


@given(TEXTS)
def test_rouge_scores_tokens_are_among_ours_and_all_of_them_in_english(text: str) -> None:
    assert rouge_tokens(text) == rouge_split(text)
    ours = all_tokens(text)
    assert [token for token in ours if token.isascii() and token.isalnum()] == rouge_tokens(text)
    if text.isascii() and rouge_tokens(text):
        assert ours == rouge_tokens(text)


def test_decisions_are_those_of_the_package_itself() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    chance = Random(3)
    words = ["write", "Explain", "a", "the", "naïve", "poem", "x1", "it's", "мир", "end.", "re-do", "K", "İ", "_"]
    texts = [" ".join(chance.choices(words, k=chance.randint(0, 20))) for _ in range(150)]
    for threshold in (0.7, 0.85):
        ours = LexicalPool(threshold, split=rouge_tokens)
        for number, text in enumerate(texts):
            theirs = [scorer.score(other, text)["rougeL"].fmeasure for other in texts[:number]]
            assert ours.near(text) == nearest(theirs, (), threshold=threshold, inclusive=True)
            ours.add([text])


@pytest.mark.parametrize("threshold", [0.4, 0.85])
def test_a_pool_that_outgrows_its_room_misses_nothing(threshold: float) -> None:
    """Words become common, then rare again, while the pool doubles twice; texts beyond 255 tokens are among them."""
    chance = Random(5)
    words = [f"w{i}" for i in range(400)]
    texts = []
    for number in range(4200):
        head = words[: 3 + number // 100]
        texts.append(" ".join(chance.choices(head if number % 3 else words, k=chance.randint(1, 12))))
    texts[7] = texts[3000] = " ".join(chance.choices(words[:40], k=700))
    pool = LexicalPool(threshold)
    pool.add(texts)
    asked = [
        *chance.sample(texts, 3),
        texts[1023],
        texts[2047],
        texts[4095],
        " ".join(chance.choices(texts[7].split(), k=300)),
        texts[7],
    ]
    others = [all_tokens(other) for other in texts]
    for text in asked:
        split = all_tokens(text)
        # No table for texts whose lengths alone keep them apart.
        apart = [2 * min(len(other), len(split)) < threshold * (len(other) + len(split)) for other in others]
        similarities = [0.0 if far else rouge_l(other, split) for other, far in zip(others, apart, strict=True)]
        assert pool.near(text) == nearest(similarities, (), threshold=threshold, inclusive=True)


NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 0.0, 0.5, 1.0, 3.0, 1e-20, 1e20])
VECTOR_POOLS = st.sampled_from([1, 3, 40]).flatmap(
    lambda size: st.tuples(
        st.lists(st.lists(NUMBERS, min_size=size, max_size=size), max_size=8),
        st.lists(NUMBERS, min_size=size, max_size=size),
    )
)


def cosines(pool: Iterable[ArrayLike], vector: ArrayLike) -> list[float]:
    def unit(numbers: ArrayLike) -> np.ndarray:
        exact = np.asarray(numbers, dtype=np.float32).astype(np.float64)
        length = np.sqrt((exact * exact).sum())
        return (exact / length if length else exact).astype(np.float32).astype(np.float64)

    asked = unit(vector)
    return [round(float((unit(other) * asked).sum()), 6) for other in pool]


@given(VECTOR_POOLS, st.sampled_from([0.1, 0.5, 0.7, 0.9, 1.0]), st.sets(st.integers(0, 7)))
def test_the_embedding_stage_decides_as_comparing_with_all_does(
    drawn: tuple[list[list[float]], list[float]], threshold: float, some: set[int]
) -> None:
    vectors, vector = drawn
    exempt = {position for position in some if position < len(vectors)}
    pool = EmbeddingPool(threshold, len(vector))
    for other in vectors:
        pool.add(np.asarray(other, dtype=np.float32))
    found = pool.near(np.asarray(vector, dtype=np.float32), exempt)
    assert found == nearest(cosines(vectors, vector), exempt, threshold=threshold, inclusive=True)


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0, 4.0])
def test_a_large_embedding_pool_misses_nothing(spread: float) -> None:
    """From clusters so tight that the first pass lets nearly all through, to vectors that have nothing in common."""
    chance = np.random.default_rng(7)
    centres = chance.normal(size=(9, 256))
    vectors = (centres[chance.integers(9, size=3000)] + spread * chance.normal(size=(3000, 256))).astype(np.float32)
    for threshold in (0.6, 0.9, 0.97):
        pool = EmbeddingPool(threshold, 256)
        for vector in vectors[:2500]:
            pool.add(vector)
        for vector in vectors[2495:2505]:
            expected = nearest(cosines(vectors[:2500], vector), (), threshold=threshold, inclusive=True)
            assert pool.near(vector) == expected


CANDIDATES = st.lists(st.tuples(TEXTS, st.integers(-3, 40)), max_size=14)
SETTINGS = st.builds(
    GateSettings,
    lexical=st.none() | THRESHOLDS,
    inclusive=st.booleans(),
    every_script=st.booleans(),
    embedding=st.none() | st.sampled_from([0.5, 0.8, 0.97]),
)


def grown(drawn: list[tuple[str, int]]) -> list[Candidate]:
    """A forest: each text is a seed, or the child of an earlier one."""
    lines: list[tuple[tuple[int, str], ...]] = []
    for number, (_, parent) in enumerate(drawn):
        lines.append(((0, str(parent)), *lines[parent]) if 0 <= parent < number else ())
    return [
        Candidate(id=(0, str(number)), text=text, ancestors=line)
        for number, ((text, _), line) in enumerate(zip(drawn, lines, strict=True))
    ]


def naive(settings: GateSettings, candidates: list[Candidate]) -> list[tuple[int, str | None]]:
    """Which version each met, and by which stage it was refused: from a list of texts and nothing else."""
    split = all_tokens if settings.every_script else rouge_split
    embed = embedder(settings.embedder)
    taken: list[Candidate] = []
    verdicts: list[tuple[int, str | None]] = []
    for candidate in candidates:
        others = [other for other in taken if other.id not in candidate.ancestors]
        words = [rouge_l(split(other.text), split(candidate.text)) for other in others]
        angles = cosines([embed(other.text) for other in others], embed(candidate.text))
        stage = None
        if settings.lexical and nearest(words, (), threshold=settings.lexical, inclusive=settings.inclusive):
            stage = "lexical"
        elif settings.embedding and nearest(angles, (), threshold=settings.embedding, inclusive=True):
            stage = "embedding"
        verdicts.append((len(taken), stage))
        if stage is None:
            taken.append(candidate)
    return verdicts


def seen(verdicts: list[Verdict]) -> list[tuple[int, str | None]]:
    return [(verdict.version, verdict.near.stage.value if verdict.near else None) for verdict in verdicts]


@given(SETTINGS, CANDIDATES)
def test_the_gate_is_a_list_of_texts(settings: GateSettings, drawn: list[tuple[str, int]]) -> None:
    candidates = grown(drawn)
    gate = Gate(settings)
    assert seen(gate.admit(candidates)) == naive(settings, candidates)
    assert gate.version == sum(stage is None for _, stage in naive(settings, candidates))


@given(SETTINGS, CANDIDATES, st.integers(0, 14))
def test_batches_and_restarts_and_rewinds_change_nothing(
    settings: GateSettings, drawn: list[tuple[str, int]], cut: int
) -> None:
    candidates = grown(drawn)
    whole = Gate(settings).admit(candidates)

    first = Gate(settings)
    before = first.admit(candidates[:cut])
    accepted = [verdict.id for verdict in before if verdict.near is None]
    texts = {candidate.id: candidate.text for candidate in candidates}
    again = Gate(settings)
    again.take((name, texts[name]) for name in accepted)
    assert again.version == first.version
    assert before + again.admit(candidates[cut:]) == whole

    version = first.version
    first.admit(candidates[cut:])
    first.rewind(version)
    assert first.version == version
    assert before + first.admit(candidates[cut:]) == whole
