"""Configuration: layers, `--set`, and what a user is told about a mistake."""

from pathlib import Path
from typing import Any

import pytest

from db.errors import ConfigError
from orchestrator.begin import differences
from orchestrator.config import RunConfig, build, read_file
from orchestrator.local import local_settings
from workers.config import Endpoint

BASE = {"endpoints": {"default": {"model": "m"}}}


def config(*options: str, layer: dict[str, Any] | None = None) -> RunConfig:
    return build("idea-mcts", [BASE, layer or {}], options)


def test_the_defaults_are_the_published_constants():
    search = config().search
    assert (search.exploration, search.children, search.iterations) == (1.0, 5, 3)
    assert (search.max_depth, search.stop_reward, len(search.operators)) == (4, 10.0, 12)
    assert config().harvest.mode == "paths"
    assert config().work.roles.evolver.temperature == 0.7


def test_later_layers_and_set_options_win():
    found = config("search.iterations=2", "seed=5", layer={"search": {"iterations": 9, "children": 4}})
    assert (found.search.iterations, found.search.children, found.seed) == (2, 4, 5)


def test_a_word_needs_no_quotes():
    assert config("harvest.mode=best-per-tree").harvest.mode == "best-per-tree"
    assert config("endpoints.default.model=gpt-x").work.endpoints["default"].model == "gpt-x"


def test_the_local_settings_fit():
    assert build("idea-mcts", [local_settings()]).work.priced


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["search.iteratons=2"], "unknown option 'search.iteratons'; did you mean 'iterations'"),
        (["serch.iterations=2"], "unknown option 'serch'; did you mean 'search'"),
        (["search.iterations=0"], r"search.iterations = 0: input should be greater than or equal to 1"),
        (["search.iterations=many"], r"search.iterations = 'many': input should be a valid integer"),
        (["harvest.mode=best"], r"harvest.mode = 'best': input should be 'paths' or 'best-per-tree'"),
        (["search.operators=['add-goal', 'fly']"], "unknown operator 'fly'"),
        (["roles.judg.temperature=1"], "unknown option 'roles.judg'; did you mean 'judge'"),
        (["roles.judge.endpoint=other"], "role judge names endpoint 'other'; configured: default"),
        (["endpoints.default.style=completion"], "the rubric judge needs a chat endpoint"),
        (["judges.quality=expected"], "needs an endpoint of style 'completion'"),
        (["novalue"], "expected key=value"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(options: list[str], message: str):
    with pytest.raises(ConfigError, match=message) as error:
        config(*options)
    assert "\n" not in str(error.value)


def test_an_unknown_recipe_is_named():
    with pytest.raises(ConfigError, match="did you mean 'idea-mcts'"):
        build("idea-mtcs", [BASE])


def test_addresses_stay_out_of_the_frozen_configuration(tmp_path: Path):
    path = tmp_path / "c.toml"
    path.write_text('[endpoints.default]\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\napi_key_env = "SECRET"\n')
    frozen = str(build("idea-mcts", [read_file(path)]).model_dump())
    assert "127.0.0.1" not in frozen
    assert "SECRET" not in frozen


@pytest.mark.parametrize(("text", "message"), [("a = ", "not TOML"), ("endpoints.default = 3", "must be a table")])
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_file(path)
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_file(tmp_path / "none.toml")


def test_what_differs_between_two_configurations_is_named():
    there, here = (
        config("search.iterations=2").model_dump(mode="json"),
        config("guards.min_words=7").model_dump(mode="json"),
    )
    assert list(differences(there, here)) == [
        "search.iterations is 2 there, 3 here",
        "guards.min_words is 4 there, 7 here",
    ]


def test_the_digest_is_of_everything():
    assert config().digest() == config().digest() != config("seed=1").digest()


def test_prices_are_whole_nano_dollars_rounded_up():
    endpoint = Endpoint(model="m", usd_per_million_in=0.15, usd_per_million_out=0.6)
    assert endpoint.nusd(1_000_000, 0) == 150_000_000
    assert endpoint.nusd(1, 1) == 750
    assert Endpoint(model="m", usd_per_million_in=0.0001, usd_per_million_out=0).nusd(1, 0) == 1
    assert Endpoint(model="m").nusd(1, 1) is None
