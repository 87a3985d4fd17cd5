"""Pools side by side: known answers, intervals, and tables, document, picture and JSON that are whole and honest."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from db.pool_costs import Calls, RoundYield
from db.records import BatchRow
from orchestrator.compare.bootstrap import FEWEST, RESAMPLES
from orchestrator.compare.pools.figures import Comparison, compare
from orchestrator.compare.pools.gather import rounds_of
from orchestrator.compare.pools.outcome import PoolOutcome, PoolSetting, RoundOutcome
from orchestrator.compare.pools.picture import picture
from orchestrator.compare.pools.record import as_json
from orchestrator.compare.pools.table import markdown, terminal
from orchestrator.compare.pools.wording import notes
from orchestrator.compare.table import escape
from orchestrator.generation.stages import Counts, Spend, Stage

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'm"><script>alert(1)</script>|[x](javascript:1)\u202e\x1b[31m `*_&amp;'
SETTING = PoolSetting(
    generator="small-1",
    responder="small-1",
    embedder="lexical",
    student="tiny",
    seeds=175,
    max_calls=160,
    baseline="self-instruct",
    differs={"sedi-instruct": ("filter.lexical is 0.7 there, 0.85 here",)},
)


def one_round(generated: int, heuristics: int, gate: int, good: int, *, nusd: int | None = 500) -> RoundOutcome:
    return RoundOutcome(
        prompts=8,
        answered=8,
        lost=0,
        counts=Counts(generated=generated, after_heuristics=heuristics, after_gate=gate, with_instance=good),
        spent={
            Stage.GENERATE: Spend(calls=8, tokens=800, nusd=nusd, seconds=4.0),
            Stage.FILTER: Spend(seconds=0.01),
            Stage.EMBED: Spend(seconds=0.02),
            Stage.INSTANCE: Spend(calls=2 * gate, tokens=100 * gate, nusd=nusd, seconds=2.0),
            Stage.TRAIN: Spend(seconds=1.0),
        },
    )


def batch(step: int, diversity: float, *, loss: float | None = 2.0, reason: str | None = None) -> BatchRow:
    return BatchRow(
        round=step,
        ordinal=0,
        members=(1, 2),
        arrangement="diverse",
        diversity=diversity,
        diversity_random=0.5,
        step=step,
        gradient_norm=None if reason else 1.0 + step,
        loss=loss,
        seconds=1.0,
        reason=reason,
    )


def outcome(
    arm: str, rounds: Sequence[RoundOutcome], batches: Sequence[BatchRow] = (), reason: str | None = None
) -> PoolOutcome:
    return PoolOutcome(
        arm=arm,
        run=f"x-{arm}",
        rounds=tuple(rounds),
        batches=tuple(batches),
        seeds=175,
        entered=4 if batches else 0,
        left=3 if batches else 0,
        trained=2 if batches else 0,
        guessed=0,
        paid=100,
        replayed=9,
        seconds=30.0,
        reason=reason,
    )


def comparison(rounds: int = 6) -> Comparison:
    strict = [one_round(20, 18, 10 - i % 2, 8 - i % 3) for i in range(rounds)]
    loose = [one_round(20, 18, 16 - i % 2, 14 - i % 3) for i in range(rounds)]
    steps = [batch(i, 0.6 + i / 100, loss=4.0 - i / 2) for i in range(rounds)]
    return compare([outcome("self-instruct", strict), outcome("sedi-instruct", loose, steps)])


FOUND = comparison()


def test_shares_and_costs_are_ratios_of_sums_not_means_of_ratios() -> None:
    arm = compare([outcome("a", [one_round(10, 10, 8, 4), one_round(30, 20, 12, 6)]), outcome("b", [])]).standings[0]
    shares = {name: found.mean for name, found in arm.shares.items() if found}
    assert shares == {"after_heuristics": 30 / 40, "after_gate": 20 / 40, "with_instance": 10 / 40}
    kept, passed = ({unit: cost.each for unit, cost in arm.costs[basis].items()} for basis in ("instance", "gate"))
    assert {unit: found.mean for unit, found in kept.items() if found} == {"calls": 5.6, "tokens": 360, "nusd": 200}
    assert {unit: found.mean for unit, found in passed.items() if found} == {"calls": 2.8, "tokens": 180, "nusd": 100}
    assert arm.calls == 56 and arm.counts.generated == 40
    whole = arm.stages[-1]
    assert whole.each is not None and (whole.each.calls, whole.each.tokens) == (5.6, 360)


def test_differences_are_parts_of_the_baselines_cost() -> None:
    found = compare(
        [
            outcome("sedi-instruct", [one_round(20, 20, 16, 16)] * 6),
            outcome("self-instruct", [one_round(20, 20, 8, 8)] * 6),
        ]
    )
    assert found.baseline == "self-instruct"
    sedi, plain = found.standings
    tokens, base = sedi.costs["instance"]["tokens"], plain.costs["instance"]["tokens"]
    assert base.over is None and tokens.over is not None
    assert tokens.over.mean == pytest.approx(2400 / 16 / (1600 / 8) - 1)
    assert tokens.over.interval == pytest.approx((tokens.over.mean, tokens.over.mean))  # all rounds are alike


@pytest.mark.parametrize(
    ("arms", "base"), [("a,b", "a"), ("b,self-instruct", "self-instruct"), ("self-instruct@x,b", None)]
)
def test_the_baseline_is_plain_self_instruct_else_the_first(arms: str, base: str | None) -> None:
    names = arms.split(",")
    assert compare([outcome(name, []) for name in names]).baseline == (base or names[0])


def test_intervals_are_over_rounds_and_hold_the_figure() -> None:
    for standing in FOUND.standings:
        for found in (*standing.shares.values(), *(cost.each for cost in standing.costs["instance"].values())):
            assert found is not None and found.interval is not None and found.n == 6
            low, high = found.interval
            assert low <= found.mean <= high
    over = FOUND.standings[1].costs["instance"]["tokens"].over
    assert over is not None and over.interval is not None and over.interval[1] < 0  # cheaper, beyond doubt
    assert comparison() == FOUND  # the same draws each time


def test_fewer_rounds_have_figures_and_no_interval() -> None:
    few = comparison(FEWEST - 1)
    assert all(cost.each and not cost.each.interval for one in few.standings for cost in one.costs["gate"].values())
    said = " ".join(notes(few, SETTING))
    assert "None for self-instruct, sedi-instruct: fewer than 5 rounds" in said
    assert 'class="bar' not in picture(few, SETTING)


def test_a_cost_that_may_be_endless_has_no_interval() -> None:
    """Of six rounds one kept something: a third of all resamples has none."""
    rounds = [one_round(20, 18, 10, 6 if i == 0 else 0) for i in range(6)]
    cost = compare([outcome("a", rounds), outcome("b", rounds)]).standings[1].costs["instance"]["tokens"]
    assert cost.each is not None and cost.each.interval is None
    assert cost.over is not None and cost.over.interval is None


def test_an_unknown_price_stays_unknown_and_what_kept_nothing_has_no_cost() -> None:
    dear = [one_round(20, 18, 10, 8, nusd=None if i else 5) for i in range(6)]
    found = compare([outcome("a", dear), outcome("b", [one_round(20, 18, 0, 0)] * 6)])
    assert found.standings[0].costs["instance"]["nusd"].each is None
    assert found.standings[0].costs["instance"]["tokens"].each is not None
    assert [cost.each for cost in found.standings[1].costs["gate"].values()] == [None] * 3
    said, shown = " ".join(notes(found, SETTING)), markdown(found, SETTING)
    assert "price of a model is not known" in said and "nothing can be divided by it: b" in said
    assert "unknown" in shown and "nothing kept" in picture(found, SETTING)
    assert json.loads(as_json("x", found, SETTING))["arms"][0]["cost"]["with_instance"]["usd"]["each"] is None


def test_batches_are_held_against_random_ones_batch_by_batch() -> None:
    inside = FOUND.standings[1].inside
    assert inside is not None and FOUND.standings[0].inside is None
    assert inside.batches.mean == pytest.approx(0.625) and inside.batches.n == 6
    assert inside.random is not None and inside.random.mean == pytest.approx(0.5)
    assert inside.gain is not None and inside.gain.mean == pytest.approx(0.125)
    assert inside.gain.interval is not None and 0.1 < inside.gain.interval[0] < 0.125 < inside.gain.interval[1]


def test_losses_are_means_of_the_first_and_last_quarter_without_marked_steps() -> None:
    steps = [batch(i, 0.6, loss=10.0 - i) for i in range(8)] + [batch(8, 0.6, loss=None, reason="not_finite")]
    training = compare([outcome("a", [], steps), outcome("b", [])]).standings[0].training
    assert training is not None
    assert (training.steps, training.marked) == (9, 1)
    assert (training.first_loss, training.last_loss, training.norm) == (9.5, 3.5, 4.5)


def counted(ordinal: int, *, prompts: int = 4, lost: int = 0, answered: int = 0) -> RoundYield:
    return RoundYield(
        ordinal=ordinal,
        prompts=prompts,
        lost=lost,
        lost_answered=answered,
        generated=20,
        after_heuristics=18,
        after_gate=10,
        with_instance=8,
        filter_s=0.5,
        embed_s=0.25,
    )


def test_a_lost_completion_costs_what_those_that_were_paid_for_cost() -> None:
    rows = [counted(0, lost=2, answered=1), counted(1, lost=1, answered=1)]
    used = {(i, "generate"): Calls(calls=3 - i, tokens=300, nusd=30, seconds=3.0) for i in range(2)}
    found = rounds_of(rows, used, Calls(calls=2, tokens=500, nusd=None, seconds=1.0), [batch(1, 0.6)])
    first = found[0].spent[Stage.GENERATE]
    assert (first.calls, first.tokens, first.nusd, first.seconds) == (4, 550, None, 3.5)
    assert [one.answered for one in found] == [3, 4]  # one was never answered
    assert [one.calls for one in found] == [4, 3]
    assert [one.spent[Stage.TRAIN].seconds for one in found] == [0, 1.0]
    guessed = rounds_of(rows[:1], {(0, "generate"): Calls(calls=3, tokens=300, nusd=30, seconds=3.0)}, Calls(), [])
    assert guessed[0].spent[Stage.GENERATE] == Spend(calls=4, tokens=400, nusd=40, seconds=4.0)
    blank = rounds_of([counted(0, prompts=1, lost=1, answered=1)], {}, Calls(), [])
    assert blank[0].spent[Stage.GENERATE] == Spend(calls=1, tokens=0, nusd=None)


def shown(found: Comparison, width: int) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        for table in terminal(found, SETTING, width):
            console.print(table)
    return capture.get()


def test_the_terminal_shows_every_arm_and_narrow_ones_the_main_figures() -> None:
    wide, narrow = shown(FOUND, 132), shown(FOUND, 100)
    for text in (wide, narrow):
        assert "sedi-instruct" in text and "baseline" in text and "2 pools, 175 seeds, 160 calls each" in text
    assert "gradient norm" in wide and "gradient norm" not in narrow


def test_the_document_has_all_tables_the_picture_and_the_notes() -> None:
    text = markdown(FOUND, SETTING)
    for title in ("Texts that were kept", "one kept instruction", "past the gate", "By stage", "Batches and training"):
        assert title in text, title
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "](compare.svg)" in text and f"{RESAMPLES:,} resamples" in text and "Not claimed" in text
    assert "filter.lexical is 0.7 there, 0.85 here" in text
    assert "Tokens for a kept instruction, against self-instruct: sedi-instruct −" in text


def test_without_training_no_batches_are_shown_and_it_is_said() -> None:
    plain = compare([outcome("a", [one_round(20, 18, 10, 8)] * 6), outcome("b", [one_round(20, 18, 12, 8)] * 6)])
    text = markdown(plain, SETTING)
    assert "Batches and training" not in text and "| train |" not in text and "there are no batches" in text
    assert "Diversity inside" not in picture(plain, SETTING)


def test_what_was_not_equal_and_what_ended_early_is_said() -> None:
    short = outcome("self-instruct", [one_round(20, 18, 10, 8)], reason="the generator repeats | itself")
    short = replace(short, guessed=2, rounds=(replace(short.rounds[0], lost=3),))
    found = compare([short, outcome("sedi-instruct", [one_round(20, 18, 9, 8)] * 6)])
    said = " ".join(notes(found, SETTING, escape))
    assert "self-instruct 28, sedi-instruct 156. That is not quite equal: self-instruct." in said
    assert "self-instruct ended early: the generator repeats \\| itself." in said
    assert "thrown away whole, their calls counted: self-instruct 3 of 8" in said
    assert "tokens are taken for a mean: self-instruct 2" in said


def test_the_picture_is_one_well_formed_drawing_with_a_row_an_arm() -> None:
    root = ElementTree.fromstring(picture(FOUND, SETTING))
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    dots = [dot.get("class") for dot in root.iter(f"{SVG}circle")]
    assert dots == ["kept"] * 4 + ["chance", "kept"]  # cost, share, and what one arm's batches are
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for dot in root.iter(f"{SVG}circle"):
        assert 0 < float(dot.get("cx", "")) < width and 0 < float(dot.get("cy", "")) < height
    told = root.findtext(f"{SVG}desc") or ""
    assert "self-instruct: Tokens for one kept instruction" in told and "no batches" in told
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}


def test_names_from_outside_cannot_become_markup_anywhere() -> None:
    setting = replace(SETTING, generator=HOSTILE, responder=HOSTILE, student=HOSTILE, differs={"b": (HOSTILE,)})
    text = markdown(FOUND, setting)
    for place in (text, picture(FOUND, setting)):
        assert "<script" not in place and "\u202e" not in place and "\x1b" not in place
    assert "[x](" not in text.replace("\\[x\\](", "")
    ElementTree.fromstring(picture(FOUND, setting))
    assert json.loads(as_json("x", FOUND, setting))["models"]["generator"] == HOSTILE


def test_arms_without_any_round_are_listed_all_the_same() -> None:
    empty = compare([outcome("a", []), outcome("b", [])])
    assert "nothing kept" in picture(empty, SETTING) and "–" in shown(empty, 132)
    assert json.loads(as_json("x", empty, SETTING))["arms"][0]["rounds"] == 0 and markdown(empty, SETTING)


def test_the_json_holds_the_figures_of_every_arm() -> None:
    found = json.loads(as_json("x", FOUND, SETTING))
    assert [one["arm"] for one in found["arms"]] == ["self-instruct", "sedi-instruct"]
    sedi = found["arms"][1]
    assert sedi["cost"]["with_instance"]["tokens"]["over_baseline"]["value"] < 0
    assert sedi["cost"]["after_gate"]["usd"]["each"]["value"] == pytest.approx(6000 / 93 / 1e9)
    assert [row["stage"] for row in sedi["stages"]] == ["generate", "filter", "embed", "instance", "train", "all"]
    assert sedi["inside"]["gain"]["value"] == pytest.approx(0.125) and sedi["training"]["steps"] == 6
    assert sedi["seed_pool"] == {"given": 175, "entered": 4, "left": 3}
