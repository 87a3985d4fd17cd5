"""Calibration: the figures against hand-computed ones, and whole calibrations by judges of known behaviour."""

import asyncio
import json
import re
from math import log

import pytest

from workers.asking import Answer
from workers.calibrate import Calibration, Item, auc, calibrate, items, kendall, ranking
from workers.config import Endpoint, Judges, Role, Style, WorkSettings
from workers.prompting import Prompt

CHAT = WorkSettings(endpoints={"default": Endpoint(model="m")})
BASE = WorkSettings(
    endpoints={"default": Endpoint(model="m", style=Style.COMPLETION)},
    judges=Judges(quality="expected", complexity="expected"),
)
GRADES = {" ".join(item.instruction.split()): item for item in items()}


@pytest.mark.parametrize(
    ("pairs", "value"),
    [
        ([(1, 1.0), (6, 2.0)], 1.0),
        ([(1, 2.0), (6, 1.0)], 0.0),
        ([(1, 1.0), (6, 1.0)], 0.5),
        # Upper 3 and 5 (grades 4, 6) against lower 2, 4 (grades 1, 3): won 3>2, 5>2, 5>4, lost 3<4.
        ([(1, 2.0), (3, 4.0), (4, 3.0), (6, 5.0)], 0.75),
        # Grade 3 is of the lower half, 4 of the upper.
        ([(3, 1.0), (4, 2.0)], 1.0),
        ([(1, 1.0), (2, 5.0)], None),
        ([(5, 1.0)], None),
        ([], None),
    ],
)
def test_auc(pairs: list[tuple[int, float]], value: float | None):
    assert auc(pairs) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("pairs", "value"),
    [
        ([(1, 1.0), (2, 2.0), (3, 3.0)], 1.0),
        ([(1, 3.0), (2, 2.0), (3, 1.0)], -1.0),
        # Of three pairs two agree and one does not: (2 - 1) / 3.
        ([(1, 1.0), (2, 3.0), (3, 2.0)], 1 / 3),
        # Tau-b: pairs (1,1)-(1,2) tied in grade; two agree; 2 / sqrt((3 - 1) * (3 - 0)).
        ([(1, 1.0), (1, 2.0), (2, 3.0)], 2 / 6**0.5),
        ([(1, 5.0), (2, 5.0)], None),
        ([(1, 5.0)], None),
        ([], None),
    ],
)
def test_kendalls_tau_b(pairs: list[tuple[int, float]], value: float | None):
    assert kendall(pairs) == (None if value is None else pytest.approx(value))


def test_a_ranking_counts_what_was_not_scored_and_leaves_it_out():
    found = [Item(instruction="go " * n, quality=q, complexity=1) for n, q in ((4, 1), (3, 2), (2, 5), (1, 6))]
    made = ranking("quality", found, [1.0, None, 4.0, 5.0])
    assert (made.items, made.unscored, made.auc, made.words_auc) == (4, 1, 1.0, 0.0)
    assert made.spread == pytest.approx(2.0817, abs=1e-4)
    assert made.ranks
    silent = ranking("quality", found, [None] * 4)
    assert (silent.unscored, silent.auc, silent.tau, silent.spread) == (4, None, None, None)
    assert not silent.ranks


def test_a_judge_that_ranks_worse_than_seven_in_ten_does_not_rank():
    found = [Item(instruction="go", quality=q, complexity=1) for q in (1, 1, 6, 6)]
    assert not ranking("quality", found, [2.0, 4.0, 1.0, 3.0]).ranks


def calibrated(settings: WorkSettings, judge: object) -> Calibration:
    return asyncio.run(calibrate(settings, judge))  # type: ignore[arg-type]


def answer(text: str, first_token: dict[str, float] | None = None) -> Answer:
    return Answer(text=text, outcome="ok", call="c", replayed=False, first_token=first_token)


async def knowing(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
    """A chat judge that gives our own grades."""
    quoted = re.findall(r"\[([A-Z])\]\n<<<\n(.*?)\n>>>", prompt.text, re.DOTALL)
    found = {letter: GRADES[" ".join(text.split())] for letter, text in quoted}
    scores = [{"id": key, "quality": item.quality, "complexity": item.complexity} for key, item in found.items()]
    return answer(json.dumps({"scores": scores}))


async def knowing_base(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
    """A base model whose next token is our grade, turned round for quality."""
    *_, task = re.findall(r"Task: (.*)\n(Quality|Complexity):", prompt.text)
    item = GRADES[task[0]]
    grade = 7 - item.quality if task[1] == "Quality" else item.complexity
    return answer("", {f" {grade}": log(0.9), " 1": log(0.05)} if grade != 1 else {" 1": log(0.95)})


async def silent(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
    return answer("They are all lovely.")


def test_a_judge_that_knows_the_grades_is_calibrated_perfectly():
    made = calibrated(CHAT, knowing)
    assert [r.dimension for r in made.rankings] == ["quality", "complexity"]
    assert all((r.auc, r.unscored, r.items) == (1.0, 0, len(items())) for r in made.rankings)
    assert all(r.tau == pytest.approx(1.0) for r in made.rankings)


def test_a_judge_that_has_it_the_wrong_way_round_is_found_out():
    quality, complexity = calibrated(BASE, knowing_base).rankings
    assert quality.auc == 0.0
    assert not quality.ranks
    assert complexity.auc == 1.0


def test_a_judge_that_says_nothing_readable_gets_no_figures():
    for made in calibrated(CHAT, silent).rankings:
        assert (made.unscored, made.auc, made.ranks) == (len(items()), None, False)


def test_the_set_tells_judging_from_counting_words():
    for made in calibrated(CHAT, knowing).rankings:
        assert made.words_auc is not None
        assert made.words_auc < 0.75
