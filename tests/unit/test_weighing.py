"""Priors of operators: how they follow from a signal, and what a configuration takes of them. Runs without PyTorch."""

import random
from pathlib import Path

import pytest

from db.errors import ConfigError
from orchestrator.config import TreeConfig, build, read_file
from orchestrator.recipes import MOST_PRIOR
from orchestrator.search.choice import Thompson
from orchestrator.search.stepwise import Stepwise
from orchestrator.weighing import priors_of, to_layer, weigh

BASE = {"endpoints": {"default": {"model": "m"}}}


def examples(**values: list[float]) -> list[tuple[str, float]]:
    return [(operator.replace("_", "-"), value) for operator, many in values.items() for value in many]


def tree_config(recipe: str, *options: str) -> TreeConfig:
    config = build(recipe, [BASE], options)
    assert isinstance(config, TreeConfig)
    return config


def test_the_formula() -> None:
    """Mean 2, standard deviation 1: ten examples are half shrunken, five by two thirds."""
    weights = weigh(examples(add_goal=[1.0] * 10, deepen=[3.0] * 10), points=2.0)
    assert [(one.operator, one.examples, one.mean, one.prior) for one in weights] == [
        ("deepen", 10, 3.0, 1.0),
        ("add-goal", 10, 1.0, -1.0),
    ]
    few = weigh(examples(add_goal=[1.0] * 5, deepen=[3.0] * 5), points=2.0)
    assert priors_of(few) == {"deepen": 0.6667, "add-goal": -0.6667}


def test_fewer_than_three_examples_give_no_prior_but_count_for_the_mean() -> None:
    weights = weigh(examples(a=[1.0, 1.0, 1.0], b=[5.0, 5.0]), points=1.0)
    assert {one.operator: one.prior is None for one in weights} == {"a": False, "b": True}
    assert priors_of(weights)["a"] < 0


def test_examples_all_alike_and_no_examples_at_all() -> None:
    assert priors_of(weigh(examples(a=[0.1] * 3, b=[0.1] * 4), points=5.0)) == {"a": 0.0, "b": 0.0}
    assert weigh([], points=1.0) == ()


def test_priors_stay_within_what_a_configuration_takes() -> None:
    found = priors_of(weigh(examples(a=[0.0] * 400, b=[1.0] * 4), points=MOST_PRIOR))
    assert found["b"] == MOST_PRIOR
    assert tree_config("uct", "search.operators=['add-goal']", f"search.operator_priors.add-goal={found['b']}")


def test_noise_gives_small_priors_and_a_difference_large_ones() -> None:
    chance = random.Random(1)
    noise = {name: [chance.gauss(1, 0.3) for _ in range(40)] for name in "abcdef"}
    assert max(abs(prior) for prior in priors_of(weigh(examples(**noise), points=1.0)).values()) < 0.4
    noise["a"] = [value + 0.6 for value in noise["a"]]
    best, *others = weigh(examples(**noise), points=1.0)
    assert best.operator == "a"
    assert best.prior is not None and best.prior > 0.8
    assert best.low < best.mean < best.high
    assert best.low > max(one.high for one in others)


def test_the_layer_is_one_that_a_run_takes(tmp_path: Path) -> None:
    file = tmp_path / "priors.toml"
    file.write_text(to_layer({"add-goal": 0.25, "emotion": -1e-4}, "made by hand"))
    config = build("paced-front", [BASE, read_file(file)])
    assert isinstance(config, TreeConfig)
    again = TreeConfig.model_validate({**config.model_dump(), "search": config.search})
    policy = again.search.policy()
    assert isinstance(policy, Stepwise)
    assert policy.choice == Thompson(unit=10.0, priors=(("add-goal", 0.25), ("emotion", -0.0001)))


def test_without_priors_the_choice_is_as_ever() -> None:
    policy = tree_config("gradient-front").search.policy()
    assert isinstance(policy, Stepwise)
    assert policy.choice == Thompson(unit=10.0)


@pytest.mark.parametrize(
    ("recipe", "option", "said"),
    [
        (
            "uct",
            "search.operator_priors.add-gaol=1",
            "operator_priors name 'add-gaol', which is not in search.operators",
        ),
        ("uct", "search.operator_priors.add-goal=10.5", "less than or equal to 10"),
        ("uct", "search.operator_priors.add-goal=-11", "greater than or equal to -10"),
        ("uct", "search.operator_priors.add-goal=nan", "search.operator_priors.add-goal = nan"),
        ("uct", "search.operator_priors.add-goal=-inf", "search.operator_priors.add-goal = -inf"),
        ("uct", "search.operator_priors=3", "search.operator_priors = 3"),
        ("greedy", "search.operator_priors.add-goal=1", "need operator_choice = 'thompson', not 'rotate'"),
        ("random", "search.operator_priors.add-goal=1", "need operator_choice = 'thompson', not 'uniform'"),
        ("idea-mcts", "search.operator_priors.add-goal=1", "unknown option 'search.operator_priors'"),
    ],
)
def test_priors_that_have_no_use_are_refused_in_one_line(recipe: str, option: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(recipe, [BASE], [option])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
