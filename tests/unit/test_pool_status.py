"""How a run that widens a pool looks while it runs, and how long it is said to take."""

from copy import deepcopy
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli.display import one_line, panel, summarise
from orchestrator.generation.stages import Counts, Spend, Stage, table
from orchestrator.pool_status import stage_json
from tests.unit.test_status_display import FULL, HOSTILE, NONE

COUNTS = Counts(generated=431, after_heuristics=300, after_gate=214, with_instance=180, trained=96)
SPENT = {
    Stage.GENERATE: Spend(calls=112, tokens=60_000, nusd=9_000_000, seconds=200.0),
    Stage.FILTER: Spend(seconds=0.4),
    Stage.EMBED: Spend(seconds=2.0),
    Stage.INSTANCE: Spend(calls=400, tokens=120_000, nusd=27_000_000, seconds=800.0),
    Stage.TRAIN: Spend(seconds=30.0),
}
POOL: dict[str, Any] = {
    "rounds": 7,
    "rounds_done": 5,
    "target": 1000,
    "prompts": 56,
    "prompts_lost": {},
    "generated": 431,
    "kept": 214,
    "kept_share": 0.4965,
    "with_instance": 180,
    "seeds_now": 175,
    "seeds_entered": 8,
    "seeds_left": 8,
    "steps": 12,
    "steps_marked": {},
    "loss": 3.0817,
    "gradient_norm": 2.2011,
    "brings": 0.8412,
    "diversity_within": 0.7214,
    "diversity_random": 0.6801,
    "stages": [stage_json(row) for row in table(COUNTS, SPENT)],
}
RUNNING = FULL | {
    "name": "wide-1",
    "recipe": "sedi-instruct",
    "seeds": 175,
    "trees_done": 0,
    "trees_open": 0,
    "nodes": 0,
    "calls": 512,
    "examples": 240,
    "rate": {"calls_per_s": 4.1, "tokens_per_s": 900.0, "nodes_per_s": 0.0},
    "mean_seed": NONE,
    "mean_evolved": NONE,
    "mean_harvest": NONE,
    "pool": POOL,
}
BEGUN = RUNNING | {
    "eta_s": {"low": None, "high": None},
    "usd": None,
    "pool": POOL
    | dict.fromkeys(("rounds", "rounds_done", "generated", "kept", "with_instance", "steps"), 0)
    | dict.fromkeys(("kept_share", "loss", "gradient_norm", "brings", "diversity_within", "diversity_random", "target"))
    | {
        "seeds_entered": 0,
        "seeds_left": 0,
        "stages": [
            stage_json(row) for row in table(Counts(generated=0, after_heuristics=0, after_gate=0, with_instance=0), {})
        ],
    },
}


def status(**changes: Any) -> dict[str, Any]:
    return deepcopy(RUNNING | changes)


def shown(what: object) -> str:
    out = StringIO()
    Console(file=out, width=100, force_terminal=False).print(what)
    return out.getvalue()


def test_a_run_in_one_line():
    assert one_line(status()) == (
        "wide-1: running, round 7, texts 431 (214 kept, 50 %), with instances 180, seeds 175 (+8 -8), "
        "step 12 loss 3.1 norm 2.2, calls 512, 4.1/s, about 1 min 40 s to 1 h 01 min left"
    )


def test_what_is_not_known_yet_is_not_shown_as_a_number(capsys: pytest.CaptureFixture[str]):
    line, text = one_line(BEGUN), shown(panel(BEGUN))
    summarise(BEGUN)
    said = line + text + capsys.readouterr().err
    assert "texts 0 (0 kept, -)" in line and "seeds 175," in line and "step" not in line and "left" not in line
    assert "left: not known yet" in text and "unknown USD" in text
    assert "None" not in said


def test_marked_steps_are_told():
    assert "norm 2.2, 2 of the steps marked" in one_line(status(pool=POOL | {"steps_marked": {"not_finite": 2}}))


def test_why_a_run_waits_is_in_its_line():
    waiting = {"tasks": 8, "cause": "ConnectionFailed: endpoint 'default' cannot be reached: refused"}
    assert "8 tasks wait: endpoint 'default' cannot be reached: refused" in one_line(status(waiting=waiting))


def test_the_panel_shows_the_figures_of_pool_and_student_and_none_of_trees():
    text = shown(panel(status()))
    for figure in (
        "214 of 1000",
        "generated 431",
        "kept 214 (50 %)",
        "good 240",
        "now 175 of 175",
        "entered 8, left 8",
        "loss 3.08, norm 2.20, brings 0.84",
        "batches 0.72",
        "random ones 0.68",
        "2.84 calls a kept instruction",
        "copied_demonstration 20",
    ):
        assert figure in text, figure
    assert "trees" not in text and "nodes" not in text and "reward" not in text


def test_the_summary_is_a_table_of_stages_with_the_cost_of_a_kept_instruction(capsys: pytest.CaptureFixture[str]):
    summarise(status(status="done"))
    said = capsys.readouterr().err
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert rows["generate"][1:6] == ["431", "300", "70", "%", "112"]
    assert rows["filter"][1:5] == ["300", "214", "71", "%"]
    assert rows["train"][1:5] == ["180", "96", "53", "%"]
    assert rows["total"][-3:] == ["2.84", "1,000", "0.0002"]
    assert "harvest" not in said
    assert "431 texts (214 kept), 180 kept instructions with 240 instances, seeds 175 (+8 -8)" in said


def test_a_stage_that_nothing_went_through_is_no_row(capsys: pytest.CaptureFixture[str]):
    stages = [
        stage | {"entered": 0, "kept": 0, "seconds": 0.0} for stage in POOL["stages"] if stage["stage"] == "train"
    ]
    summarise(status(status="done", pool=POOL | {"stages": [*POOL["stages"][:4], *stages, POOL["stages"][-1]]}))
    assert "train" not in {line.split()[0] for line in capsys.readouterr().err.splitlines() if line.strip()}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_neither_breaks_nor_styles_nor_commands_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str]
):
    line, text = one_line(status(name=name)), shown(panel(status(name=name)))
    assert "\n" not in line
    summarise(status(name=name))
    for made in (line, text, capsys.readouterr().err):
        assert not {"\x1b", "\r", "\u202e"} & set(made)


def test_a_narrow_terminal_is_no_error():
    for width in (1, 5, 20):
        Console(file=StringIO(), width=width).print(panel(status()))


def test_one_stage_as_json_says_what_one_kept_instruction_cost():
    total = POOL["stages"][-1]
    assert (total["stage"], total["entered"], total["kept"], total["share"]) == ("total", 431, 180, 0.4176)
    assert (total["calls"], total["usd"], total["calls_each"], total["usd_each"]) == (512, 0.036, 2.8444, 0.0002)
    unknown = table(COUNTS, {**SPENT, Stage.INSTANCE: Spend(calls=400, nusd=None)})
    assert stage_json(unknown[-1])["usd"] is None and stage_json(unknown[-1])["usd_each"] is None
    assert BEGUN["pool"]["stages"][-1]["calls_each"] is None
