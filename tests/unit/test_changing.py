"""The pure parts of changing a run: what users write, and the configuration with the changes applied."""

from copy import deepcopy
from dataclasses import replace

import pytest

from db.changes import config_now, name_of, trait_of
from db.errors import ConfigError
from db.records import Caps, Change
from orchestrator.changing import cap_changes, caps_of, wanted_of
from tests.unit.report_story import START, run

CONFIG = {"seed": 1, "work": {"endpoints": {"default": {"concurrency": 32}, "gpu.2": {"concurrency": 4}}}}


def changed(what: str, after: float | None) -> Change:
    return Change(at=START, what=what, before=None, after=after)


def test_the_last_change_of_a_trait_counts_and_what_was_frozen_stays():
    frozen = deepcopy(CONFIG)
    made = (
        changed("endpoints.default.concurrency", 8),
        changed("max_calls", 5),
        changed("endpoints.gpu.2.requests_per_minute", 60),
        changed("endpoints.default.concurrency", 2),
    )
    now = config_now(replace(run(1), config=frozen, changes=made))
    assert now["work"]["endpoints"] == {
        "default": {"concurrency": 2},
        "gpu.2": {"concurrency": 4, "requests_per_minute": 60},
    }
    assert now["seed"] == 1 and frozen == CONFIG
    assert config_now(replace(run(1), config=frozen)) is frozen


@pytest.mark.parametrize("endpoint", ["default", "gpu.2", "a.b.c"])
def test_a_trait_is_found_in_its_name_whatever_the_endpoint_is_called(endpoint: str):
    assert trait_of(name_of(endpoint, "concurrency")) == (endpoint, "concurrency")
    assert trait_of("max_calls") is None


def test_what_users_write_becomes_numbers():
    wanted = wanted_of(
        {"max_calls": "1000", "max_tokens": None, "max_usd": " 0.5 ", "max_hours": "None"},
        ["endpoints.default.concurrency=64", "endpoints.default.requests_per_minute=none", "endpoints.x.y=1.5"],
    )
    assert wanted == {
        "max_calls": 1000,
        "max_usd": 0.5,
        "max_hours": None,
        "endpoints.default.concurrency": 64,
        "endpoints.default.requests_per_minute": None,
        "endpoints.x.y": 1.5,
    }
    assert type(wanted["max_calls"]) is int


@pytest.mark.parametrize("value", ["many", "", "true", "[1]", "'none of it'", "12 000"])
def test_what_is_no_number_is_refused_with_its_name(value: str):
    with pytest.raises(ConfigError, match=r"^endpoints\.default\.concurrency .*expected a number, or none"):
        wanted_of({}, [f"endpoints.default.concurrency={value}"])


def test_caps_that_are_not_named_stay_and_only_what_differs_is_a_change():
    before = Caps(calls=100, nusd=5_000_000_000, seconds=7200.0)
    after = caps_of({"max_calls": 200, "max_usd": None, "max_hours": 2}, onto=before)
    assert after == Caps(calls=200, seconds=7200.0)
    assert cap_changes(before, after) == {"max_calls": (100, 200), "max_usd": (5.0, None)}


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), 10**13])
def test_a_cap_out_of_its_range_is_refused(value: float):
    with pytest.raises(ConfigError, match=r"--max-calls .*: must be above 0 and at most 1,000,000,000,000"):
        caps_of({"max_calls": value})


@pytest.mark.parametrize("dollars", [2.01, 0.07, 1.1, 19.99, 1e-9])
def test_a_cap_on_money_is_what_was_said(dollars: float):
    after = caps_of({"max_usd": dollars})
    assert cap_changes(Caps(), after) == {"max_usd": (None, dollars)}
