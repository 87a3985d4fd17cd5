"""Recipes side by side, end to end: equal calls, same seeds, a judge that no search saw; one line for bad input."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import Done, House, Model, at_once, scripted, until, write_seeds

RECIPES = ("idea-mcts", "paced-front")
SHARE = 30
CALLS_OF = "SELECT count(*) FROM calls c JOIN runs r ON r.id = c.run_id WHERE r.name = :run AND c.role = :role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison that went well: its command, what it said, and its object."""

    command: tuple[object, ...]
    out: Path
    done: Done
    found: dict[str, Any]


def command(
    seeds: Path, name: str, *options: object, recipes: str = ",".join(RECIPES), share: int = SHARE
) -> list[object]:
    count = len(seeds.read_text(encoding="utf-8").splitlines())
    plain = ["compare", seeds, "--recipes", recipes, "--max-calls", share * count, "--name", name]
    return [*plain, "--out", seeds.parent / name, *options]


@pytest.fixture(scope="module")
def compared(house: House, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    seeds = write_seeds(tmp_path_factory.mktemp("compare") / "seeds.jsonl", 3, "a comparison")
    # Rewards of the scripted model soon pass the threshold at which idea-mcts grows no further.
    given = command(seeds, "duel", "--set", "idea-mcts.search.stop_reward=18")
    done = house.cli(*given, "--json")
    assert done.code == 0, done.err
    return Compared(command=tuple(given), out=seeds.parent / "duel", done=done, found=json.loads(done.out))


def test_it_prints_one_object_and_writes_three_files(compared: Compared) -> None:
    assert compared.done.out.count("\n") == 1
    assert {path.name for path in compared.out.iterdir()} == {"compare.json", "compare.md", "compare.svg"}
    assert json.loads((compared.out / "compare.json").read_text()) == compared.found
    assert "compare.svg" in (compared.out / "compare.md").read_text()
    picture = ElementTree.fromstring((compared.out / "compare.svg").read_text())
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 2 * len(RECIPES)
    assert "Traceback" not in compared.done.err and str(compared.out / "compare.md") in compared.done.err


def test_every_recipe_had_the_same_calls_for_every_seed(compared: Compared) -> None:
    found = compared.found
    assert (found["seeds"], found["calls_per_seed"], found["top"]) == (3, SHARE, 5)
    assert [one["recipe"] for one in found["recipes"]] == list(RECIPES)
    for one in found["recipes"]:
        assert len(one["per_seed"]) == 3
        assert [seed["calls"] for seed in one["per_seed"] if not 0.7 * SHARE <= seed["calls"] <= SHARE] == []
        assert one["calls"] == sum(seed["calls"] for seed in one["per_seed"])
        assert one["scored"] > 0 and one["seconds"] > 0


def test_the_figures_are_those_of_the_rows(compared: Compared, house: House) -> None:
    for one in compared.found["recipes"]:
        assert house.status(one["run"])["status"] == "done" and house.verified(one["run"])
        for bench, query in MEANS.items():
            mean = house.number(query, run=one["run"])
            assert one[bench]["mean"]["value"] == pytest.approx(mean)
        assert house.number(CALLS_OF, run=one["run"], role="responder") == 0
    assert compared.found["baseline"] == "paced-front"  # the last, for none is called random
    seeds = compared.found["mean_seed"]
    assert seeds["search"]["value"] < compared.found["recipes"][0]["search"]["mean"]["value"]


_HARVEST = """
    SELECT avg(of_tree) FROM (
        SELECT avg({value}) AS of_tree FROM examples e JOIN runs r ON r.id = e.run_id
        JOIN nodes n ON n.tree_id = e.tree_id AND n.key = e.node_key {join}
        WHERE r.name = :run AND e.status = 'accepted' GROUP BY e.tree_id
    ) AS trees
"""
MEANS = {
    "search": _HARVEST.format(value="n.reward", join=""),
    "held_out": _HARVEST.format(
        value="j.reward",
        join="JOIN judgements j ON j.tree_id = n.tree_id AND j.node_key = n.key AND j.judge = 'held_out'",
    ),
}


def test_with_three_seeds_there_is_no_interval_and_it_is_said(compared: Compared) -> None:
    assert compared.found["recipes"][0]["search"]["mean"]["low"] is None
    said = " ".join(compared.found["notes"])
    assert "fewer than 5 seeds" in said and "Not claimed" in said and "scripted" in said


def test_the_same_command_again_asks_nothing_and_shows_the_same(compared: Compared, house: House, model: Model) -> None:
    paid = model.paid
    again = house.cli(*compared.command)
    assert again.code == 0, again.err
    assert model.paid == paid
    assert again.err.count("has ended already (done)") == 2
    for one in compared.found["recipes"]:
        assert one["recipe"] in again.out and f"{one['held_out']['mean']['value']:.2f}" in again.out
    assert "Not claimed" in again.out
    assert json.loads((compared.out / "compare.json").read_text()) == compared.found


def test_a_name_that_another_comparison_has_is_refused_before_anything_is_begun(
    compared: Compared, house: House, model: Model, tmp_path: Path
) -> None:
    paid, seeds = model.paid, write_seeds(tmp_path / "seeds.jsonl", 3, "a comparison")
    done = house.cli(*command(seeds, "duel", recipes="random,paced-front", share=SHARE + 9))
    assert done.code == 2 and model.paid == paid
    for words in (
        "'duel-paced-front' exists with another configuration",
        "search.calls is 30 there, 39 here",
        "--name",
    ):
        assert words in done.complaint
    assert house.number("SELECT count(*) FROM runs WHERE name = 'duel-random'") == 0


@pytest.fixture(scope="module")
def pools(house: House, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """The published gate against a looser one, in small rounds."""
    seeds = write_seeds(tmp_path_factory.mktemp("pools") / "seeds.jsonl", 12, "two pools")
    arms = ",".join(POOLS)
    given = ["compare", seeds, "--recipes", arms, "--max-calls", POOL_CALLS, "--name", "pools"]
    given += [
        "--set",
        "self-instruct@loose.filter.lexical=0.85",
        "--set",
        "rounds.prompts=2",
        "--set",
        "rounds.ahead=0",
    ]
    given += ["--out", seeds.parent / "pools"]
    done = house.cli(*given, "--json")
    assert done.code == 0, done.err
    return Compared(command=tuple(given), out=seeds.parent / "pools", done=done, found=json.loads(done.out))


POOLS, POOL_CALLS = ("self-instruct", "self-instruct@loose"), 150
_OF_RUN = "FROM instructions i JOIN runs r ON r.id = i.run_id WHERE r.name = :run AND i.origin = 'generated'"
_GOOD = (
    "SELECT count(DISTINCT e.ordinal) FROM examples e JOIN runs r ON r.id = e.run_id "
    "WHERE r.name = :run AND e.status = 'accepted'"
)
_CALLS = (
    "SELECT sum(o.prompts) + (SELECT sum(cardinality(i.instance_calls)) FROM instructions i WHERE i.run_id = r.id) "
    "FROM rounds o JOIN runs r ON r.id = o.run_id WHERE r.name = :run GROUP BY r.id"
)


def test_two_pools_had_equal_calls_within_a_round_and_the_figures_are_those_of_the_rows(
    pools: Compared, house: House
) -> None:
    assert [one["arm"] for one in pools.found["arms"]] == list(POOLS)
    assert [one["run"] for one in pools.found["arms"]] == ["pools-self-instruct", "pools-self-instruct-loose"]
    for one in pools.found["arms"]:
        run = one["run"]
        assert one["ended_early"] is None and house.verified(run)
        assert one["calls"] == house.number(_CALLS, run=run)
        assert abs(one["calls"] - POOL_CALLS) <= one["calls"] / one["rounds"]
        assert one["generated"] == house.number(f"SELECT count(*) {_OF_RUN}", run=run)
        assert one["after_gate"]["count"] == house.number(f"SELECT count(*) {_OF_RUN} AND i.status = 'kept'", run=run)
        assert one["with_instance"]["count"] == house.number(_GOOD, run=run) > 0
        each = one["cost"]["with_instance"]["calls"]["each"]["value"]
        assert each == pytest.approx(one["calls"] / one["with_instance"]["count"])
    strict, loose = pools.found["arms"]
    assert pools.found["baseline"] == "self-instruct" and strict["cost"]["after_gate"]["calls"]["over_baseline"] is None
    assert loose["replayed"] > 0  # its first prompts are the other's, and cost it what they cost the other
    assert loose["stages"][0]["tokens"] > 0 and loose["cost"]["after_gate"]["tokens"]["over_baseline"]["value"] < 1


def test_pools_are_shown_in_tables_and_a_picture(pools: Compared, house: House, model: Model) -> None:
    paid = model.paid
    again = house.cli(*pools.command)
    assert again.code == 0, again.err
    assert model.paid == paid and json.loads((pools.out / "compare.json").read_text()) == pools.found
    for words in (*POOLS, "By stage", "filter.lexical is 0.7 there, 0.85 here", "Not claimed"):
        assert words in again.out, words
    assert "compare.svg" in (pools.out / "compare.md").read_text()
    picture = ElementTree.fromstring((pools.out / "compare.svg").read_text())
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 2 * len(POOLS)


@pytest.mark.slow
def test_ctrl_c_pauses_it_and_the_same_command_goes_on(house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 2, "an interruption")
    with scripted("slow", "--latency", "250") as model:
        slow = house.at(model.env)
        given = command(seeds, "broken-off", recipes="beam,random", share=24)
        with slow.running(*given, folder=tmp_path) as running:
            scored = "SELECT count(*) FROM nodes n JOIN trees t ON t.id = n.tree_id JOIN runs r ON r.id = t.run_id"
            query = f"{scored} WHERE r.name = 'broken-off-beam' AND n.depth > 0"
            until(lambda: "run broken-off-beam" in running.err.read_text() and slow.number(query), "it grows")
            running.interrupt()
            stopped = running.ended(30)
        assert stopped.code == 130 and stopped.out == ""
        assert "interrupted; go on with: instructree compare ... --name broken-off" in stopped.err
        assert slow.status("broken-off-beam")["status"] == "paused"
        assert not (tmp_path / "broken-off").exists()
        done = slow.cli(*given)
    assert done.code == 0, done.err
    assert "continuing run broken-off-beam" in done.err and "run broken-off-random: 2 seeds" in done.err
    assert (tmp_path / "broken-off" / "compare.svg").exists()
    assert house.verified("broken-off-beam") and house.verified("broken-off-random")


REFUSED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "one recipe": (("--recipes", "random", "--max-calls", "90"), ("at least two", "idea-mcts")),
    "a recipe twice": (("--recipes", "random,random", "--max-calls", "90"), ("'random' is named twice",)),
    "an unknown recipe": (("--recipes", "random,idea-mtcs", "--max-calls", "90"), ("did you mean 'idea-mcts'",)),
    "too few calls": (
        ("--recipes", "random,idea-mcts", "--max-calls", "20"),
        ("--max-calls 20", "3 seeds get 6 calls each", "at least"),
    ),
    "no calls": (("--recipes", "random,beam", "--max-calls", "0"), ("--max-calls 0", "above 0")),
    "none of the best": (("--recipes", "random,beam", "--max-calls", "90", "--top", "0"), ("--top 0", "above 0")),
    "a name that cannot be one": (
        ("--recipes", "random,beam", "--max-calls", "90", "--name", "a/b"),
        ("'a/b", "letters"),
    ),
    "an option that one recipe does not have": (
        ("--recipes", "random,idea-mcts", "--max-calls", "90", "--set", "search.children=2"),
        ("recipe random", "search.children"),
    ),
    "an option that it sets itself": (
        ("--recipes", "random,beam", "--max-calls", "90", "--set", "harvest.held_out=false"),
        ("harvest.held_out", "alike"),
    ),
    "pools and trees": (
        ("--recipes", "random,self-instruct", "--max-calls", "90"),
        ("random grows trees", "self-instruct widens a pool", "compare them apart"),
    ),
    "a label without options": (
        ("--recipes", "self-instruct,self-instruct@b", "--max-calls", "90"),
        ("self-instruct@b is self-instruct once more", "--set self-instruct@b."),
    ),
    "too few calls for a round": (
        ("--recipes", "self-instruct,sedi-instruct", "--max-calls", "20"),
        ("--max-calls 20", "at least 24"),
    ),
    "an option of a label that is not there": (
        ("--recipes", "random,beam", "--max-calls", "90", "--set", "beam@a.search.width=8"),
        ("beam@a is not among --recipes",),
    ),
    "a folder that is a file": (
        ("--recipes", "random,beam", "--max-calls", "90", "--out", "seeds.jsonl"),
        ("--out seeds.jsonl", "not a folder"),
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Done]:
    """What each is told on a machine where nothing runs; nothing is started for it."""
    folder = tmp_path_factory.mktemp("refused")
    write_seeds(folder / "seeds.jsonl", 3, "nothing")
    house = House(home=folder / "home", system=folder, env={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    jobs = {name: partial(house.cli, "compare", "seeds.jsonl", *given) for name, (given, _) in REFUSED.items()}
    found = at_once(jobs)
    assert [path.name for path in folder.iterdir()] == ["seeds.jsonl"]
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_told_in_one_line(name: str, answers: Mapping[str, Done]) -> None:
    done = answers[name]
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert [words for words in REFUSED[name][1] if words not in done.complaint] == [], done.complaint
