"""How a run looks while it runs, on hostile names and with figures missing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli import display
from orchestrator.cli.display import duration, eta, one_line, panel, result_line, summarise, usd
from orchestrator.cli.figures import paid

NONE = {"quality": None, "diversity": None, "complexity": None, "reward": None}
MEANS = {"quality": 4.0, "diversity": 2.0, "complexity": 3.0, "reward": 9.0}
FULL: dict[str, Any] = {
    "name": "night-1",
    "recipe": "idea-mcts",
    "status": "running",
    "phase": "growing",
    "reason": None,
    "seeds": 12,
    "trees_done": 4,
    "trees_open": 8,
    "nodes": 130,
    "nodes_scored": 90,
    "nodes_unscored": 3,
    "nodes_rejected": 30,
    "nodes_failed": 0,
    "examples": 0,
    "examples_pending": 0,
    "examples_rejected": 0,
    "examples_failed": 0,
    "calls": 412,
    "calls_replayed": 7,
    "calls_unanswered": {},
    "waiting": None,
    "stalled": False,
    "notices": [],
    "tokens_in": 100_000,
    "tokens_out": 20_000,
    "usd": 0.1234,
    "caps": {"calls": None, "tokens": None, "usd": None, "hours": None},
    "spent": {"calls": 430, "tokens": 1_234_567, "usd": 0.1334, "hours": 0.016},
    "failures": {"copied_demonstration": 20, "thin": 10},
    "mean_seed": MEANS | {"reward": 7.125},
    "mean_evolved": MEANS,
    "mean_harvest": NONE,
    "workers": [{"busy": 3}, {"busy": 1}],
    "rate": {"calls_per_s": 6.25, "tokens_per_s": 900.0, "nodes_per_s": 2.0},
    "elapsed_s": 61.0,
    "driven_s": 59.0,
    "eta_s": {"low": 100.0, "high": 3700.0},
}
NOTHING_YET = FULL | {
    "trees_done": 0,
    "nodes": 0,
    "usd": None,
    "failures": {},
    "mean_seed": NONE,
    "mean_evolved": NONE,
    "workers": [],
    "rate": {"calls_per_s": 0.0, "tokens_per_s": 0.0, "nodes_per_s": 0.0},
    "elapsed_s": 0.0,
    "driven_s": 0.0,
    "eta_s": {"low": None, "high": None},
}
HOSTILE = ["[bold red]x", "[/]", "[/bold]", "a\x1b[2Jb", "a\nb", "a\rb", "\u202eevil", "{0} %s", "x" * 300, "[link=x]y"]


def status(**changes: Any) -> dict[str, Any]:
    return deepcopy(FULL | changes)


def shown(what: object) -> str:
    out = StringIO()
    Console(file=out, width=100, force_terminal=False).print(what)
    return out.getvalue()


def test_a_run_in_one_line():
    assert one_line(status()) == (
        "night-1: running, growing, trees 4/12, nodes 130 (90 scored, 30 rejected), reward 7.12 -> 9.00, "
        "calls 412, 6.2/s, examples 0, about 1 min 40 s to 1 h 01 min left"
    )


def test_what_a_run_came_to_in_one_line():
    light = {"name": "a\x1b[2Jb", "status": "done", "reason": None, "trees_done": 4, "seeds": 12, "examples": 30}
    light["pool"] = None
    assert result_line(light) == "a?[2Jb: done, trees 4/12, examples 30"
    pool = {"target": None, "kept": 120, "rounds_done": 3}
    assert result_line(light | {"name": "p", "pool": pool}) == "p: done, rounds 3, texts kept 120"


def test_what_is_not_known_yet_is_not_shown_as_a_number():
    line = one_line(NOTHING_YET)
    assert "reward - -> -" in line
    assert "left" not in line
    text = shown(panel(NOTHING_YET))
    assert "unknown USD" in text
    assert "left: not known yet" in text
    assert "None" not in line + text


def test_after_growing_the_harvest_is_shown_and_the_time_of_its_answers():
    line = one_line(status(phase="responding", mean_harvest=MEANS | {"reward": 10.5}))
    assert "-> 10.50" in line
    assert line.endswith("about 1 min 40 s to 1 h 01 min left")
    assert "left" not in one_line(status(phase="ended", eta_s={"low": 0.0, "high": 0.0}))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_of_an_endpoint_or_a_channel_do_not_command_the_terminal(words: str):
    notice = {"event": "done", "channel": "webhook", "state": "given_up", "error": words}
    found = status(waiting={"tasks": 3, "cause": f"ServerFault: {words}"}, notices=[notice], reason=words)
    for made in (one_line(found), shown(panel(found)), result_line(found | {"pool": None})):
        assert not {"\x1b", "\r", "\u202e"} & set(made)
    assert "\n" not in one_line(found)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_neither_breaks_nor_styles_nor_commands_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str]
):
    line, text = one_line(status(name=name)), shown(panel(status(name=name)))
    assert "\n" not in line
    summarise(status(name=name))
    for made in (line, text, capsys.readouterr().err):
        assert not {"\x1b", "\r", "\u202e"} & set(made)
        if "[" in name and "\x1b" not in name:
            assert name in made


def test_the_panel_shows_the_figures():
    text = shown(panel(status()))
    for figure in (
        "4 of 12",
        "seeds 7.12",
        "grown 9.00",
        "scored 90",
        "412 (7 replayed)",
        "120,000",
        "0.1234 USD",
        "2 alive",
        "4 tasks in hand",
        "1 min 01 s",
        "turned down: copied_demonstration 20, thin 10",
    ):
        assert figure in text, figure


def test_a_run_that_was_paused_overnight_says_for_how_long_it_was_worked_on():
    night = status(elapsed_s=9 * 3600.0, driven_s=3600.0)
    assert "9 h 00 min, driven for 1 h 00 min" in shown(panel(night))
    assert "9 h 00 min, driven for 1 h 00 min" in paid(night)
    assert "driven" not in shown(panel(status())) + paid(status())


def test_the_panel_counts_responses_once_growing_is_over():
    text = shown(panel(status(phase="responding", examples=5, examples_failed=1, examples_pending=4)))
    assert "responses" in text
    assert "6 of 10" in text
    assert "0 of 0" in shown(panel(status(phase="responding")))


def test_a_narrow_terminal_is_no_error():
    for width in (1, 5, 20):
        Console(file=StringIO(), width=width).print(panel(status()))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3599.6, "1 h 00 min"),
        (3660, "1 h 01 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(None, None, "not known yet"), (0.0, 0.0, "0 s to 0 s"), (59.0, 61.0, "59 s to 1 min 01 s")],
)
def test_the_time_left(low: float | None, high: float | None, words: str):
    assert eta(status(eta_s={"low": low, "high": high})) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "unknown"), (0.0, "0"), (0.12345, "0.1235"), (12.0, "12.0000"), (0.00001, "less than 0.0001")],
)
def test_money_spent_is_never_shown_as_none(value: float | None, words: str):
    assert usd(value) == words


def test_why_a_run_waits_is_shown_on_a_terminal_and_in_a_line():
    waiting = status(waiting={"tasks": 8, "cause": "ConnectionFailed: endpoint 'default' cannot be reached: refused"})
    said = "8 tasks wait: endpoint 'default' cannot be reached: refused"
    assert said in " ".join(shown(panel(waiting)).split()) and said in one_line(waiting)


def test_why_a_run_does_not_go_on_is_shown_on_a_terminal_and_in_a_line():
    refused = "endpoint 'default' answered 401; worker far:7:ab was told so"
    paused = status(status="paused", reason=refused, waiting={"tasks": 8, "cause": f"EndpointBroken: {refused}"})
    light = {"name": "n", "status": "stopped", "reason": "--max-calls 500", "trees_done": 4, "seeds": 12, "examples": 3}
    for text in (one_line(paused), " ".join(shown(panel(paused)).split())):
        assert refused in text and "tasks wait" not in text  # as if they went on by themselves
    assert result_line(light | {"pool": None}) == "n: stopped, trees 4/12, examples 3, --max-calls 500"
    assert one_line(status(status="paused", reason="paused")).count("paused") == 1


def test_what_is_spent_is_shown_beside_its_caps():
    capped = status(caps={"calls": 50_000, "tokens": 2_000_000, "usd": 2.5, "hours": None})
    words = " ".join(shown(panel(capped)).split())
    for cap in ("430 of 50,000 calls", "1,234,567 of 2,000,000 tokens", "0.1334 of 2.5 USD"):
        assert f"cap {cap}" in words
    assert "hours" not in words and " cap " not in shown(panel(status()))


def test_a_stall_and_what_nobody_could_be_told_are_shown():
    failed = {"event": "done", "channel": "webhook", "state": "given_up", "error": "answered 500"}
    shown_of = " ".join(shown(panel(status(stalled=True, notices=[failed]))).split())
    assert "nothing has moved for a while" in shown_of
    assert "telling of `done` by webhook was given up: answered 500" in shown_of
    assert "telling" not in shown(panel(status(notices=[{**failed, "state": "told"}])))
    hanging = status(notices=[{**failed, "state": "waiting", "error": None}])
    assert "telling of `done` by webhook is being tried: no answer yet" in " ".join(shown(panel(hanging)).split())


def test_the_summary_names_calls_that_may_have_been_paid_for_in_vain(capsys: pytest.CaptureFixture[str]):
    summarise(status(status="done", calls_unanswered={"lost": 2, "doubled": 1}))
    assert "3 calls without an answer are counted as spent" in capsys.readouterr().err


def test_the_summary_says_what_came_of_the_run(capsys: pytest.CaptureFixture[str]):
    summarise(status(status="done", mean_harvest=MEANS | {"reward": 10.0}))
    said = capsys.readouterr().err
    assert "night-1: done" in said
    assert "+2.88" in said
    assert "130 nodes (30 rejected, 3 unscored)" in said
    summarise(NOTHING_YET)
    assert "None" not in capsys.readouterr().err


@contextmanager
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now[0])
        yield now


def test_off_a_terminal_a_line_comes_every_five_seconds_when_something_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with clock(monkeypatch) as now, display.display() as show:
        show(status())
        show(status(calls=413))
        now[0] += 5
        show(status(calls=414))
        now[0] += 5
        show(status(calls=414))
        show(status(calls=415, status="done"))
    said = capsys.readouterr()
    assert [line.split("calls ")[1].split(",")[0] for line in said.err.splitlines()] == ["412", "414", "415"]
    assert said.out == ""


def test_what_was_changed_is_shown_with_its_time_no_more_than_the_latest():
    made = [
        {"at": f"2026-01-0{day}T12:00:00+00:00", "what": "max_calls", "from": None, "to": 1000 * day}
        for day in range(1, 8)
    ]
    evil = {"at": made[0]["at"], "what": "endpoints.\x1b[2J.concurrency", "from": 2, "to": None}
    text = shown(panel(status(changes=[*made, evil])))
    assert "max_calls none -> 7,000" in text and "2026-01-07" in text
    assert "max_calls none -> 1,000" not in text and "and 3 before" in text
    assert "\x1b" not in text and "concurrency 2 -> none" in text
    assert "changed" not in shown(panel(status(changes=[])))
