"""The pure parts of beginning a run: how configurations differ, which caps may be set, which names are names."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from db.errors import ConfigError
from db.records import Caps, Run, Spend
from orchestrator.begin import _NAME, differences
from orchestrator.changing import check_caps
from orchestrator.config import build

BASE = {"endpoints": {"default": {"model": "m"}}}
RUN = Run(
    id=1,
    name="night",
    recipe="idea-mcts",
    config={},
    config_hash="",
    status="paused",
    phase="growing",
    reason=None,
    seeds_given=1,
    seeds_duplicate=0,
    caps=Caps(),
    reserved=Spend(calls=10, tokens=100, nusd=1_000_000),
    spent=Spend(calls=5, tokens=50, nusd=500_000),
    calls_replayed=0,
    owner_token=0,
    driven_s=0.0,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    finished_at=None,
)


def of(*options: str) -> dict[str, object]:
    return build("idea-mcts", [BASE], options).model_dump(mode="json")


def test_equal_configurations_do_not_differ():
    assert differences(of(), of()) == []
    assert build("idea-mcts", [BASE]).digest() == build("idea-mcts", [BASE], ["search.iterations=3"]).digest()


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("search.iterations=5", "search.iterations is 3 there, 5 here"),
        # As a user writes them: the group `work` is our own.
        ("guards.topic=0.4", "guards.topic is 0.1 there, 0.4 here"),
        ("roles.evolver.temperature=1", "roles.evolver.temperature is 0.7 there, 1.0 here"),
        ("endpoints.default.model='n'", "endpoints.default.model is 'm' there, 'n' here"),
        ("judges.reasks=0", "judges.reasks is 1 there, 0 here"),
        ("seed=4", "seed is 0 there, 4 here"),
    ],
)
def test_a_difference_is_named_as_the_user_would_set_it(option: str, line: str):
    assert differences(of(), of(option)) == [line]


def test_all_differences_are_listed_those_of_one_side_only_too():
    other = of("search.iterations=5", "seed=4", "endpoints.big.model='x'")
    lines = differences(of(), other)
    assert len(lines) == 3
    assert any(line.startswith("endpoints.big is None there, {'model': 'x'") for line in lines)


@pytest.mark.parametrize(
    "caps", [Caps(), Caps(calls=15), Caps(tokens=150), Caps(nusd=1_500_000), Caps(calls=99, tokens=999, nusd=10**9)]
)
def test_caps_may_be_set_to_what_is_used_or_more(caps: Caps):
    check_caps(RUN, caps)


@pytest.mark.parametrize(
    ("caps", "message"),
    [
        (Caps(calls=14), "--max-calls 14: run night has already used or reserved 15"),
        (Caps(tokens=149), "--max-tokens 149: run night has already used or reserved 150"),
        (Caps(nusd=1_499_999), "--max-usd: run night has already used or reserved 0.001500"),
    ],
)
def test_a_cap_below_what_is_used_is_refused_in_one_line(caps: Caps, message: str):
    with pytest.raises(ConfigError) as caught:
        check_caps(RUN, caps)
    assert str(caught.value) == message
    check_caps(replace(RUN, reserved=Spend(), spent=Spend()), caps)


@pytest.mark.parametrize("name", ["night", "a", "2026-01-01", "Seeds_v1.2-3", "x" * 100])
def test_names_of_runs(name: str):
    assert _NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", ".hidden", "-x", "a b", "a/b", "../x", "näher", "a\n", "[bold]x", "\x1b[31m", "x" * 101]
)
def test_what_is_no_name(name: str):
    assert not _NAME.fullmatch(name)
