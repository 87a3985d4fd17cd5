"""Configuration: layers, `--set`, and what a user is told about a mistake."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from db.errors import ConfigError
from orchestrator.begin import differences
from orchestrator.config import RECIPES, TreeConfig, build, of_recipe, read_file
from orchestrator.local import local_settings
from orchestrator.recipes import IdeaMctsSearch
from workers.config import Endpoint

BASE = {"endpoints": {"default": {"model": "m"}}}


def config(*options: str, layer: dict[str, Any] | None = None) -> TreeConfig:
    return of_trees("idea-mcts", [BASE, layer or {}], options)


def of_trees(recipe: str, layers: Sequence[dict[str, Any]], options: Sequence[str] = ()) -> TreeConfig:
    found = build(recipe, layers, options)
    assert isinstance(found, TreeConfig)
    return found


def test_the_defaults_are_the_published_constants():
    search = config().search
    assert isinstance(search, IdeaMctsSearch)
    assert (search.exploration, search.children, search.iterations) == (1.0, 5, 3)
    assert (search.max_depth, search.stop_reward, len(search.operators)) == (4, 10.0, 12)
    assert config().harvest.mode == "paths"
    assert config().work.roles.evolver.temperature == 0.7


def test_later_layers_and_set_options_win():
    found = config("search.iterations=2", "seed=5", layer={"search": {"iterations": 9, "children": 4}})
    assert isinstance(found.search, IdeaMctsSearch)
    assert (found.search.iterations, found.search.children, found.seed) == (2, 4, 5)


def test_a_word_needs_no_quotes():
    assert config("harvest.mode=score").harvest.mode == "score"
    assert config("endpoints.default.model=gpt-x").work.endpoints["default"].model == "gpt-x"


def test_the_local_settings_fit():
    assert build("idea-mcts", [local_settings()]).work.priced


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["search.iteratons=2"], "unknown option 'search.iteratons'; did you mean 'iterations'"),
        (["serch.iterations=2"], "unknown option 'serch'; did you mean 'search'"),
        (["endpoints.judge (eu).model=m"], r"endpoint 'judge \(eu\)' has ' \(' in its name: choose one without it"),
        (["search.iterations=0"], r"search.iterations = 0: input should be greater than or equal to 1"),
        (["search.iterations=many"], r"search.iterations = 'many': input should be a valid integer"),
        (["harvest.mode=best"], r"harvest.mode = 'best': input should be 'paths', 'score' or 'estimate'"),
        (["search.operators=['add-goal', 'fly']"], "unknown operator 'fly'"),
        (["roles.judg.temperature=1"], "unknown option 'roles.judg'; did you mean 'judge'"),
        (["roles.judge.endpoint=other"], "role judge names endpoint 'other'; configured: default"),
        (["endpoints.default.style=completion"], "the rubric judge needs a chat endpoint"),
        (["novalue"], "expected key=value"),
        (["search.operators=[]"], "needs at least one operator"),
        (["search.nodes=5"], "unknown option 'search.nodes'"),
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


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("search.depth=deep", "search.depth: 'deep' must be 'learnt', or a number from 1 to 64"),
        ("search.depth=0", "search.depth: 0 must be 'learnt', or a number from 1 to 64"),
        ("search.nodes=0", "search.nodes = 0: input should be greater than or equal to 1"),
        ("search.siblings=9", "search.siblings = 9: input should be less than or equal to 6"),
        ("search.iterations=3", "unknown option 'search.iterations'"),
        ("harvest.per_tree=0", "harvest.per_tree = 0"),
        ("diversity.lexical=2", "diversity.lexical = 2"),
    ],
)
def test_an_impossible_parameter_of_a_policy_is_named(option: str, message: str):
    with pytest.raises(ConfigError) as error:
        build("paced-front", [BASE], [option])
    assert message in str(error.value)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_survives_being_frozen(recipe: str):
    chosen = build(recipe, [BASE])
    assert of_recipe(recipe).model_validate(chosen.model_dump(mode="json")) == chosen


def test_operators_of_a_file_are_frozen_with_the_run_and_used(tmp_path: Path):
    (tmp_path / "own.toml").write_text("""
        [[operators]]
        name = "as-haiku"
        intent = "Ask for a haiku."
        method = "Ask that the answer be given as a haiku, with a reason for the form."
    """)
    (tmp_path / "config.toml").write_text('operators_file = "own.toml"')
    chosen = of_trees("paced-front", [BASE, read_file(tmp_path / "config.toml")])
    assert chosen.search.operators[-1] == "as-haiku" and chosen.work.operators["as-haiku"].intent == "Ask for a haiku."
    only = of_trees("uct", [BASE], [f"operators_file={tmp_path / 'own.toml'}", "search.operators=['as-haiku']"])
    assert only.search.operators == ("as-haiku",)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_option_that_is_set_leaves_the_rest_of_its_group_as_the_recipe_has_it(recipe: str):
    plain = build(recipe, [BASE]).model_dump(mode="json")
    for group, values in plain.items():
        for name, value in values.items() if isinstance(values, dict) and group not in ("work",) else ():
            if isinstance(value, int | float | str):
                again = build(recipe, [BASE], [f"{group}.{name}={json.dumps(value)}"]).model_dump(mode="json")
                assert again[group] == values, (group, name)
