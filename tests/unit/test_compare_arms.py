"""What is compared: the same seeds, calls, judge and harvest for every recipe, or one clear line."""

from collections.abc import Sequence
from typing import Any

import pytest

from db.errors import ConfigError
from db.records import NodeRow
from orchestrator.compare.arms import Arm, are_pools, arms_in, arms_of, default_name, setting_of
from orchestrator.compare.gather import calls_of, tree_outcome
from orchestrator.compare.outcome import Marks
from orchestrator.compare.terms import PoolTerms, Terms
from orchestrator.config import PoolConfig, TreeConfig
from workers.config import Role

LAYERS: list[dict[str, Any]] = [{"endpoints": {"default": {"model": "m"}}}]
TERMS = Terms(max_calls=90, seeds=3, top=4)


def arms(recipes: str = "idea-mcts,random", terms: Terms = TERMS, options: Sequence[str] = ()) -> tuple[Arm, ...]:
    return arms_of(arms_in(recipes), "x", LAYERS, options, terms)


def trees(found: Sequence[Arm]) -> list[TreeConfig]:
    return [arm.config for arm in found if isinstance(arm.config, TreeConfig)]


def pools(recipes: str, *options: str, max_calls: int = 300) -> list[PoolConfig]:
    found = arms_of(arms_in(recipes), "x", LAYERS, options, PoolTerms(max_calls=max_calls))
    return [arm.config for arm in found if isinstance(arm.config, PoolConfig)]


def test_every_arm_has_the_same_terms_and_a_run_of_its_own() -> None:
    found = arms(options=["seed=7"])
    assert [arm.run for arm in found] == ["x-idea-mcts", "x-random"]
    for config in trees(found):
        harvest = config.harvest
        assert (config.search.calls, config.seed) == (30, 7)
        assert (harvest.mode, harvest.per_tree, harvest.size) == ("estimate", 4, 12)
        assert harvest.held_out and not harvest.responses
    assert found[0].config.work == found[1].config.work
    assert trees(found)[0].search.model_dump()["iterations"] == 30  # its calls end it, not its iterations


def test_an_option_may_be_for_one_recipe_alone() -> None:
    found = arms("idea-mcts,beam", options=["idea-mcts.search.stop_reward=18", "beam.search.width=8"])
    assert [config.search.model_dump().get("stop_reward") for config in trees(found)] == [18.0, None]
    assert [config.search.model_dump().get("width") for config in trees(found)] == [None, 8]


def test_the_layers_of_one_arm_are_not_changed_for_the_next() -> None:
    layers: list[dict[str, Any]] = [*LAYERS, {"harvest": {"noise": 0.7}}]
    found = arms_of(("random", "beam"), "x", layers, ["harvest.again=1"], TERMS)
    assert [(config.harvest.noise, config.harvest.again) for config in trees(found)] == [(0.7, 1)] * 2
    assert layers[1] == {"harvest": {"noise": 0.7}}


def test_the_same_recipe_under_a_label_is_an_arm_with_options_of_its_own() -> None:
    options = ["beam@wide.search.width=8", "beam.search.width=3", "harvest.noise=0.7"]
    found = arms("beam,beam@wide,random", options=options)
    assert [arm.name for arm in found] == ["beam", "beam@wide", "random"]
    assert [arm.run for arm in found] == ["x-beam", "x-beam-wide", "x-random"]
    assert [config.search.model_dump().get("width") for config in trees(found)] == [3, 8, None]
    assert [config.recipe for config in trees(found)] == ["beam", "beam", "random"]
    assert {config.harvest.noise for config in trees(found)} == {0.7}


def test_pools_have_equal_calls_and_no_other_end() -> None:
    plain, loose = pools("self-instruct,self-instruct@loose", "self-instruct@loose.filter.lexical=0.85", "seed=7")
    assert (plain.filter.lexical, loose.filter.lexical) == (0.7, 0.85)
    for config in (plain, loose):
        assert (config.rounds.calls, config.rounds.target, config.seed) == (300, 10_000_000, 7)
        assert config.rounds.most == 100_000
    assert are_pools(["sedi-instruct@x"]) and not are_pools(["random"])


REFUSED_POOLS = {
    "pools and trees": ("self-instruct,random", (), 300, ("random grows trees", "judges score", "compare them apart")),
    "no calls": ("self-instruct,sedi-instruct", (), 0, ("--max-calls 0", "above 0")),
    "too few calls": ("self-instruct,sedi-instruct", (), 20, ("--max-calls 20", "8 prompts", "24 or more")),
    "too few for one": (
        "self-instruct,sedi-instruct",
        ("sedi-instruct.rounds.prompts=20",),
        30,
        ("one round of sedi-instruct, 20 prompts", "at least 60"),
    ),
    "calls of its own": (
        "self-instruct,sedi-instruct",
        ("sedi-instruct.rounds.calls=9",),
        300,
        ("rounds.calls", "alike"),
    ),
    "a target": ("self-instruct,sedi-instruct", ("rounds.target=9",), 300, ("rounds.target", "compare sets it itself")),
    "no option of its own": (
        "self-instruct,self-instruct@b",
        (),
        300,
        ("self-instruct@b is self-instruct once more", "--set self-instruct@b."),
    ),
    "an option of an arm that is not there": (
        "self-instruct,self-instruct@b",
        ("self-instruct@c.seed=1",),
        300,
        ("self-instruct@c is not among --recipes", "self-instruct, self-instruct@b"),
    ),
    "an option of the plain one, which is not there": (
        "self-instruct@a,self-instruct@b",
        ("self-instruct.seed=1",),
        300,
        ("self-instruct is not among --recipes",),
    ),
    "feedback without training": (
        "self-instruct,sedi-instruct@b",
        ("sedi-instruct@b.train=false",),
        300,
        ("recipe sedi-instruct@b", "feedback needs training"),
    ),
}


@pytest.mark.parametrize("name", REFUSED_POOLS)
def test_pools_that_cannot_be_compared_are_refused_in_one_line(name: str) -> None:
    recipes, options, calls, says = REFUSED_POOLS[name]
    with pytest.raises(ConfigError) as refusal:
        pools(recipes, *options, max_calls=calls)
    assert [words for words in says if words not in str(refusal.value)] == [], refusal.value
    assert "\n" not in str(refusal.value)


def test_without_calls_for_instances_a_smaller_number_is_enough() -> None:
    assert pools("self-instruct,sedi-instruct", 'generation.variant="alpaca"', max_calls=8)


REFUSED = {
    "one recipe": ({"recipes": "random"}, ("'random'", "at least two", "idea-mcts")),
    "no recipe": ({"recipes": " , "}, ("at least two",)),
    "one twice": ({"recipes": "random,beam, random"}, ("'random' is named twice",)),
    "an unknown one": ({"recipes": "random,bean"}, ("'bean'", "did you mean 'beam'")),
    "a label that is empty": ({"recipes": "random,beam@"}, ("nothing follows the @ of 'beam@'", "letters, digits")),
    "a label that is none": ({"recipes": "random,beam@a b"}, ("'a b' is no label", "letters, digits and '-'")),
    "two labels": ({"recipes": "random,beam@a@b"}, ("'a@b' is no label",)),
    "a label twice": ({"recipes": "beam@a,beam@a"}, ("'beam@a' is named twice", "another label")),
    "an unknown recipe with a label": ({"recipes": "random,bean@a"}, ("'bean'", "did you mean 'beam'")),
    "an option of a label that is not there": ({"options": ["beam@a.seed=8"]}, ("beam@a is not among --recipes",)),
    "no calls": ({"terms": Terms(max_calls=0, seeds=3, top=5)}, ("--max-calls 0", "above 0")),
    "none to harvest": ({"terms": Terms(max_calls=90, seeds=3, top=0)}, ("--top 0", "above 0")),
    "too few calls": (
        {"terms": Terms(max_calls=20, seeds=3, top=5)},
        ("--max-calls 20", "3 seeds get 6 calls each", "idea-mcts takes 7", "at least 21"),
    ),
    "an option that is not everybody's": (
        {"options": ["search.children=3"]},
        ("recipe random", "unknown option 'search.children'"),
    ),
    "an option of a recipe that is not there": ({"options": ["beam.search.width=8"]}, ("beam is not among --recipes",)),
    "nothing but a recipe": ({"options": ["random=8"]}, ("recipe random",)),
    "an option of the comparison for one alone": ({"options": ["random.search.calls=8"]}, ("search.calls", "alike")),
    "an option of the comparison": ({"options": ['harvest.mode="paths"']}, ("harvest.mode", "compare sets it itself")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused_in_one_line(name: str) -> None:
    given, says = REFUSED[name]
    with pytest.raises(ConfigError) as refusal:
        arms(**given)  # type: ignore[arg-type]  # of the parameters' types, each
    assert [words for words in says if words not in str(refusal.value)] == [], refusal.value
    assert "\n" not in str(refusal.value)


def test_a_name_that_no_run_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="letters"):
        arms_of(("random", "beam"), "a/b", LAYERS, [], TERMS)


@pytest.mark.parametrize(
    ("stem", "name"), [("seeds", "compare-seeds"), ("my tasks (1)", "compare-my-tasks-1"), ("…", "compare-seeds")]
)
def test_without_a_name_it_is_named_after_its_seeds(stem: str, name: str) -> None:
    assert default_name(stem) == name


def test_models_and_judges_are_put_in_words() -> None:
    layers = [
        {
            "endpoints": {"default": {"model": "m"}, "far": {"model": "n"}},
            "roles": {"examiner": {"endpoint": "far"}},
            "judges": {"quality": "expected"},
        }
    ]
    options = ["beam.search.width=8"]
    judged = arms_of(("random", "beam"), "x", layers, options, Terms(max_calls=90, seeds=3, top=4))
    work = judged[0].config.work
    found = setting_of(judged, TERMS)
    assert (found.judge, found.examiner, found.same_model) == ("m", work.endpoint(Role.EXAMINER).model, False)
    assert found.judged_by == "quality by expected score, complexity by rubric, diversity by tags"
    assert found.differs == {"random": (), "beam": ("search.width is 4 there, 8 here",)}
    assert setting_of(arms(), TERMS).same_model


def test_a_base_model_has_options_of_its_own_too() -> None:
    layers = [
        {
            "endpoints": {"default": {"model": "m", "style": "completion"}},
            "judges": dict.fromkeys(("quality", "complexity"), "expected"),
        }
    ]
    found = setting_of(arms_of(("random", "beam"), "x", layers, ["beam.search.width=8"], TERMS), TERMS)
    assert found.differs["beam"] == ("search.width is 4 there, 8 here",)


def row(key: str, parent: str | None, *calls: str, status: str = "scored", iteration: int = 0) -> NodeRow:
    return NodeRow(
        tree_id=1,
        key=key,
        parent_key=parent,
        ordinal=0,
        depth=0 if parent is None else 1,
        operator=None,
        origin="seed" if parent is None else "expansion",
        iteration=iteration,
        status=status,
        reward=float(len(key)) if status == "scored" else None,
        calls=calls,
    )


def test_a_call_that_judged_a_litter_is_one_and_a_replayed_one_is_another() -> None:
    litter = [row("a", "r", "evolve-1", "judge-1"), row("b", "r", "evolve-2", "judge-1")]
    assert calls_of(litter) == 3
    again = row("c", "r", "evolve-1", "judge-1", iteration=1)  # the same answers once more, from the ledger
    assert calls_of([*litter, again]) == 5


def test_a_tree_is_what_was_harvested_of_it_and_what_it_took() -> None:
    rows = [
        row("seed", None, "judge-0"),
        row("aa", "seed", "e1", "j1"),
        row("bbb", "seed", "e2", "j1"),
        row("c", "aa", "e3", status="rejected"),
        row("d", "aa", "e4", status="failed"),
    ]
    found = tree_outcome(rows, {"bbb"}, {(1, "bbb"): 2.5, (1, "seed"): 1.5})
    assert found.root == Marks(search=4.0, held_out=1.5)
    assert found.harvest == (Marks(search=3.0, held_out=2.5),)
    assert (found.calls, found.scored, found.rejected, found.lost) == (5, 2, 1, 1)


def test_a_tree_that_was_never_opened_is_empty() -> None:
    found = tree_outcome([], set(), {})
    assert (found.root, found.harvest, found.calls) == (Marks(), (), 0)
