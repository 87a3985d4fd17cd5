"""Which harvested instructions become examples."""

from random import Random

import pytest

from orchestrator.choosing import Candidate, Choice, Verdict, rank_of
from workers.contracts import Reason

TEXTS = [
    "Explain how bread rises in the mountains.",
    "List the moons of Jupiter by size.",
    "Write a letter to a lighthouse keeper.",
    "Plan a garden for a windy balcony.",
    "Why do cats purr when they are ill?",
]


def candidates(texts: list[str]) -> list[Candidate]:
    return [
        Candidate(tree_id=10 + i, tree=i, key=f"key{i}", parent=f"seed{i}", text=text, worth=float(i))
        for i, text in enumerate(texts)
    ]


def chosen(texts: list[str], *, seeds: tuple[str, ...] = (), size: int = 100, seed: int = 0) -> list[Verdict]:
    choice = Choice(seeds, size=size, duplicate=0.9)
    choice.take(sorted(candidates(texts), key=rank_of("paths", seed)))
    return choice.verdicts


def accepted(verdicts: list[Verdict]) -> list[str]:
    return [verdict.candidate.text for verdict in verdicts if verdict.rejected is None]


def test_different_instructions_are_all_accepted():
    assert sorted(accepted(chosen(TEXTS))) == sorted(TEXTS)


def test_of_near_copies_one_is_accepted_and_the_other_is_named_a_duplicate():
    verdicts = chosen([*TEXTS, "explain how Bread rises, in the mountains!"])
    assert len(accepted(verdicts)) == len(TEXTS)
    assert [v.rejected for v in verdicts if "ountain" in v.candidate.text].count(Reason.DUPLICATE) == 1


def test_a_copy_of_a_seed_is_refused_even_from_another_tree():
    verdicts = chosen(TEXTS, seeds=("EXPLAIN how bread rises in the mountains",))
    assert sorted(accepted(verdicts)) == sorted(TEXTS[1:])


def test_no_more_than_the_size_is_accepted_and_the_rest_gets_no_verdict():
    verdicts = chosen(TEXTS, size=2)
    assert len(verdicts) == 2
    assert all(verdict.rejected is None for verdict in verdicts)
    assert chosen(TEXTS, size=0) == []


def test_duplicates_do_not_use_up_the_size():
    verdicts = chosen([TEXTS[0]] * 5 + TEXTS[1:3], size=3)
    assert sorted(accepted(verdicts)) == sorted(TEXTS[:3])


def test_the_order_depends_on_the_runs_seed_alone():
    shuffled, order = candidates(TEXTS), rank_of("paths", 5)
    Random(7).shuffle(shuffled)
    assert sorted(shuffled, key=order) == sorted(candidates(TEXTS), key=order)
    assert any(chosen(TEXTS, seed=seed) != chosen(TEXTS, seed=5) for seed in range(5))


def test_every_candidate_has_about_the_same_chance():
    counts = dict.fromkeys(TEXTS, 0)
    for seed in range(400):
        for text in accepted(chosen(TEXTS, size=1, seed=seed)):
            counts[text] += 1
    assert all(50 <= count <= 110 for count in counts.values()), counts


@pytest.mark.parametrize("mode", ["score", "estimate"])
def test_otherwise_the_best_come_first(mode: str):
    assert [candidate.worth for candidate in sorted(candidates(TEXTS), key=rank_of(mode, 5))] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("text", ["", "?!", "…"])
def test_texts_without_a_letter_neither_crash_nor_pass_twice(text: str):
    assert len(accepted(chosen([text, text, TEXTS[0]]))) == 2
