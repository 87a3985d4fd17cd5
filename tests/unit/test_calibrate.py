"""Calibration: the figures against hand-computed ones, and whole calibrations by judges of known behaviour."""

import asyncio
import json
import re
from math import log
from zlib import crc32

import pytest

from db.errors import ConfigError
from workers.asking import Answer
from workers.calibrate import Calibration, Cost, Item, calibrate, drift, items, lost, ranking
from workers.config import Bench, Endpoint, Judges, Role, Style, WorkSettings
from workers.judges.figures import auc, average, change, kendall, line, noise, place_bias, shift
from workers.llm.errors import CallRefused
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


def calibrated(settings: WorkSettings, judge: object, *, repeats: int = 0, bench: Bench = "search") -> Calibration:
    return asyncio.run(calibrate(settings, judge, repeats=repeats, judge=bench))  # type: ignore[arg-type]


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


# -- noise, bias and cost


def test_noise_is_of_one_item_and_leaves_a_shift_of_all_out():
    assert noise([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]) == 0.0
    assert shift([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]) == 1.0
    # Differences of +1, -1, 0 about their mean of 0: each judgement is off by 0.5, 0.5, 0; 2 * 0.5 over 2 free.
    assert noise([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0]]) == pytest.approx(0.5**0.5)
    assert noise([[1.0, None, 3.0], [2.0, 1.0, None]]) is None
    assert noise([[1.0, 2.0]]) is None
    assert shift([[1.0]]) is None


def test_the_line_to_the_grades_is_the_nearest():
    assert line([(1, 2.0), (3, 3.0), (5, 4.0)]) == pytest.approx((-3.0, 2.0))
    assert line([(5, 2.0), (3, 3.0), (1, 4.0)]) is None
    assert line([(1, 2.0), (3, 2.0), (5, 2.0)]) is None


def test_a_place_earns_what_the_same_items_gain_by_it():
    places = [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]
    bias, error = place_bias([[5.0, 3.0, 1.0], [4.0, 3.0, 2.0]], places)
    assert bias == pytest.approx(1.0)
    assert error == pytest.approx(0.0)
    assert place_bias([[5.0, 3.0, 1.0]], places[:1]) == (None, None)
    assert place_bias([[5.0], [4.0]], [[0.0], [0.0]]) == (None, None)


def test_a_change_of_a_figure_has_the_error_of_a_mean_of_differences():
    before, after = [(1, 1.0), (2, 2.0), (3, 3.0)], [(1, 2.0), (2, 3.0), (3, 7.0)]
    # Differences 1, 1, 4: mean 2, standard deviation 3 ** 0.5, over the root of 3.
    moved, error = change(average, before, after)
    assert moved == pytest.approx(2.0)
    assert error == pytest.approx(1.0)
    assert change(auc, before[:1], after[:1]) == (None, None)


class Noisy:
    """A chat judge that knows our grades, prefers the first place, and is off by up to `jitter` at any time."""

    def __init__(self, *, vanity: float = 0.0, jitter: float = 0.0, day: int = 0, deaf: str = "") -> None:
        self._vanity, self._jitter, self._day, self._deaf = vanity, jitter, day, deaf
        self.calls = 0

    async def __call__(self, role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        self.calls += 1
        quoted = re.findall(r"\[([A-Z])\]\n<<<\n(.*?)\n>>>", prompt.text, re.DOTALL)
        last = max(len(quoted) - 1, 1)
        scores = []
        for place, (letter, text) in enumerate(quoted):
            item = GRADES[" ".join(text.split())]
            chance = crc32(f"{self._day} {sample} {text}".encode()) / 2**31 - 1
            off = self._vanity * (0.5 - place / last) + self._jitter * chance
            grades = {name: 1.5 + 0.5 * item.grade(name) + off for name in ("quality", "complexity")}
            if self._deaf:
                grades[self._deaf] = 3.0
            scores.append({"id": letter, **grades})
        made = json.dumps({"scores": scores})
        return Answer(text=made, outcome="ok", call=f"c{self.calls}", replayed=0)


def test_position_bias_is_found_and_is_not_taken_for_noise_of_the_judge():
    made = calibrated(CHAT, Noisy(vanity=0.8), repeats=1)
    assert made.judgements == 2
    for one in made.rankings:
        assert one.bias == pytest.approx(0.8, abs=0.02)
        assert one.bias_error == pytest.approx(0.0, abs=0.02)
        assert one.repeated == "siblings in another order"
    fair = calibrated(CHAT, Noisy(), repeats=1)
    assert [(one.bias, one.noise, one.shift) for one in fair.rankings] == [(0.0, 0.0, 0.0)] * 2


def test_without_a_repeat_there_is_no_noise_to_tell():
    for one in calibrated(CHAT, Noisy()).rankings:
        assert (one.noise, one.bias, one.shift, one.repeated) == (None, None, None, None)


def test_a_judge_that_is_asked_about_one_at_a_time_has_no_position_bias():
    for one in calibrated(BASE, knowing_base, repeats=1).rankings:
        assert (one.bias, one.noise, one.repeated) == (None, 0.0, "demonstrations in another order")


def test_cost_is_for_one_score():
    async def priced() -> Calibration:
        judge = Noisy()
        return await calibrate(CHAT, judge, price=lambda calls: Cost(calls=len(set(calls)), tokens_in=1360, nusd=136))

    for one in asyncio.run(priced()).rankings:
        # 14 calls for 68 items in two dimensions.
        assert one.cost == {"calls": 14 / 136, "tokens": 10.0, "usd": pytest.approx(1e-9)}
        assert one.seconds is not None


def test_a_judge_whose_calls_are_refused_scores_nothing_and_says_why():
    async def refuses(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        raise CallRefused("400")

    for one in calibrated(CHAT, refuses, repeats=1).rankings:
        assert (one.unscored, one.auc, one.reasons) == (len(items()), None, {"call_failed": len(items())})


def test_the_held_out_judge_is_calibrated_as_the_examiner():
    roles: set[Role] = set()

    async def ask(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        roles.add(role)
        return await knowing(role, prompt)

    made = calibrated(CHAT, ask, bench="held_out")
    assert roles == {Role.EXAMINER}
    assert made.judge == "held_out"
    assert [one.auc for one in made.rankings] == [1.0, 1.0]


# -- drift


def test_a_calibration_is_read_as_it_was_written():
    made = calibrated(CHAT, Noisy(vanity=0.5), repeats=1)
    assert Calibration.from_json(made.as_json()) == made
    with pytest.raises(ConfigError, match="is not what `instructree calibrate --out` writes"):
        Calibration.from_json('{"rankings": []}')
    other = json.loads(made.as_json()) | {"items_digest": "0"}
    with pytest.raises(ConfigError, match="another set of instructions"):
        Calibration.from_json(json.dumps(other))


def test_the_same_judge_has_not_moved():
    before, after = calibrated(CHAT, Noisy(vanity=0.5), repeats=1), calibrated(CHAT, Noisy(vanity=0.5), repeats=1)
    assert [one for one in drift(before, after) if one.moved] == []
    assert lost(before, after) == []


def test_noise_alone_is_no_drift_and_more_noise_is():
    before = calibrated(CHAT, Noisy(jitter=0.6), repeats=1)
    # Of 12 figures one in twenty passes two standard errors by chance.
    other_day = [one for one in drift(before, calibrated(CHAT, Noisy(jitter=0.6, day=1), repeats=1)) if one.moved]
    assert len(other_day) <= 1
    louder = drift(before, calibrated(CHAT, Noisy(jitter=1.4, day=1), repeats=1))
    assert {one.dimension for one in louder if one.moved and one.figure == "noise"} == {"quality", "complexity"}


def test_a_judge_that_no_longer_ranks_is_named():
    before, after = calibrated(CHAT, Noisy(), repeats=1), calibrated(CHAT, Noisy(deaf="quality"), repeats=1)
    assert lost(before, after) == ["quality"]
    moved = {(one.dimension, one.figure) for one in drift(before, after) if one.moved}
    assert ("quality", "AUC") in moved
    assert all(dimension == "quality" for dimension, _ in moved)
    assert lost(after, before) == []


def test_a_judge_that_no_longer_answers_has_moved():
    before, after = calibrated(CHAT, Noisy()), calibrated(CHAT, silent)
    assert lost(before, after) == ["quality", "complexity"]
    unscored = [one for one in drift(before, after) if one.figure == "unscored"]
    assert [(one.before, one.after, one.moved) for one in unscored] == [(0.0, float(len(items())), True)] * 2
