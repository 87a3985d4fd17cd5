"""The figures of a comparison: known answers, and what becomes of seeds that gave little or nothing."""

import random

import pytest

from orchestrator.compare.bootstrap import FEWEST, estimate, interval
from orchestrator.compare.figures import compare, used_range
from orchestrator.compare.outcome import Marks, Outcome, TreeOutcome

ROOT = Marks(search=5.0, held_out=4.0)


def tree(*harvest: tuple[float | None, float | None], root: Marks = ROOT, calls: int = 10) -> TreeOutcome:
    marks = tuple(Marks(search=search, held_out=held_out) for search, held_out in harvest)
    return TreeOutcome(root=root, harvest=marks, calls=calls, scored=len(harvest), rejected=1)


def outcome(recipe: str, *trees: TreeOutcome, seconds: float = 10.0) -> Outcome:
    marks = [marks for one in trees for marks in (one.root, *one.harvest)]
    return Outcome(
        recipe=recipe,
        run=f"x-{recipe}",
        trees=trees,
        rewards={
            "search": tuple(one.search for one in marks if one.search is not None),
            "held_out": tuple(one.held_out for one in marks if one.held_out is not None),
        },
        paid=40,
        replayed=2,
        seconds=seconds,
    )


def test_a_seed_counts_once_however_many_nodes_it_gave() -> None:
    """Means of 10 and 8 on one seed, 6 on the other: 7.5, not 8."""
    found = compare(
        [outcome("beam", tree((10, 9), (8, 7)), tree((6, 5))), outcome("random", tree((6, 5)), tree((6, 5)))]
    )
    beam, plain = found.standings
    assert beam.means["search"] is not None and beam.means["search"].mean == pytest.approx(7.5)
    assert beam.means["held_out"] is not None and beam.means["held_out"].mean == pytest.approx(6.5)
    assert plain.means["search"] is not None and plain.means["search"].mean == 6
    assert (beam.calls, beam.scored, beam.rejected) == (20, 3, 2)
    assert beam.calls_per_s == 4.0
    assert [one.recipe for one in found.ranked()] == ["beam", "random"]


def test_leads_are_paired_by_seed_and_shares_are_of_the_range_in_use() -> None:
    """Seeds differ by far more than recipes do: only pairs can show that one is ahead on every seed."""
    seeds = [float(i) for i in range(20)]
    ahead = outcome("uct", *(tree((seed + 1, seed + 0.5)) for seed in seeds))
    base = outcome("random", *(tree((seed, seed)) for seed in seeds))
    found = compare([base, ahead])
    assert found.baseline == "random"
    assert found.standings[0].leads == {"search": None, "held_out": None}
    lead = found.standings[1].leads["search"]
    assert lead is not None and lead.over.mean == pytest.approx(1.0)
    assert lead.over.interval == pytest.approx((1.0, 1.0))
    used = found.used["search"]
    assert used is not None and lead.share == pytest.approx(1 / (used[1] - used[0]))
    other = found.standings[1].leads["held_out"]
    assert other is not None and other.over.mean == pytest.approx(0.5)


@pytest.mark.parametrize(("recipes", "baseline"), [("random,beam", "random"), ("beam,random", "random")])
def test_the_baseline_is_random_wherever_it_is_named(recipes: str, baseline: str) -> None:
    assert compare([outcome(name, tree((6, 5))) for name in recipes.split(",")]).baseline == baseline


def test_without_random_the_last_recipe_is_the_baseline() -> None:
    assert compare([outcome(name, tree((6, 5))) for name in ("uct", "beam", "greedy")]).baseline == "greedy"


def test_a_seed_that_gave_nothing_counts_as_itself_and_one_that_gave_little_with_that() -> None:
    found = compare([outcome("beam", tree(), tree((9, 8), (9, 8))), outcome("random", tree((6, 5)), tree((6, 5)))])
    beam = found.standings[0]
    assert [seed.values["search"] for seed in beam.seeds] == [5.0, 9.0]
    assert [seed.values["held_out"] for seed in beam.seeds] == [4.0, 8.0]
    assert (beam.bare, beam.shorter(2), beam.shorter(3)) == (1, 0, 1)


def test_what_a_seed_is_worth_to_the_held_out_judge_may_be_known_from_another_recipe_alone() -> None:
    """It scores the seeds that gave something; they are the same seeds for all."""
    blind = Marks(search=5.0)
    found = compare([outcome("beam", tree(root=blind)), outcome("random", tree((6, 5)))])
    assert found.standings[0].seeds[0].values == {"search": 5.0, "held_out": 4.0}


def test_what_nobody_could_score_is_left_out_and_never_a_number() -> None:
    blind = Marks()
    first = outcome("beam", tree((9, None), (7, 6)), tree((9, None)), tree(root=blind))
    second = outcome("random", tree((6, 5)), tree((6, 5)), tree(root=blind))
    beam = compare([first, second]).standings[0]
    assert [seed.values["held_out"] for seed in beam.seeds] == [6.0, None, None]
    assert [seed.values["search"] for seed in beam.seeds] == [8.0, 9.0, None]
    assert beam.unjudged == 2
    mean, lead = beam.means["held_out"], beam.leads["held_out"]
    assert mean is not None and (mean.mean, mean.n) == (6.0, 1)
    assert lead is not None and (lead.over.mean, lead.over.n) == (1.0, 1)


def test_a_recipe_without_any_figure_comes_last_and_has_no_mean() -> None:
    blind = Marks()
    found = compare([outcome("beam", tree(root=blind)), outcome("random", tree((6, 5), root=blind))])
    assert found.standings[0].means == {"search": None, "held_out": None}
    assert found.standings[0].leads == {"search": None, "held_out": None}
    assert [one.recipe for one in found.ranked()] == ["random", "beam"]
    assert found.roots == {"search": None, "held_out": None}


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = compare([outcome("beam", tree((9, 8))), outcome("random", tree((6, 5)), seconds=0.0)])
    assert estimate([9.0]) == found.standings[0].means["search"]
    assert found.standings[0].means["search"] is not None
    assert found.standings[0].means["search"].interval is None
    assert found.standings[1].calls_per_s is None


def test_where_all_are_alike_no_lead_is_a_share_of_nothing() -> None:
    alike = [tree((5, 4)) for _ in range(6)]
    found = compare([outcome("beam", *alike), outcome("random", *alike)])
    lead = found.standings[0].leads["search"]
    assert lead is not None and (lead.over.mean, lead.over.interval, lead.share) == (0.0, (0.0, 0.0), None)
    assert [one.recipe for one in found.ranked()] == ["beam", "random"]  # ties keep the order of the command


def test_the_interval_of_a_known_sample_is_that_of_the_normal_approximation() -> None:
    chance = random.Random(1)
    sample = [chance.gauss(10, 2) for _ in range(400)]
    low, high = interval(sample) or (0.0, 0.0)
    mean = sum(sample) / 400
    assert [mean - low, high - mean] == pytest.approx([0.196, 0.196], rel=0.15)
    assert interval(sample) == (low, high)  # the same draws each time
    assert interval(sample[: FEWEST - 1]) is None and interval(sample[:FEWEST]) is not None


def test_many_seeds_need_no_more_memory_than_few() -> None:
    low, high = interval([float(i % 2) for i in range(3001)]) or (0.0, 0.0)
    assert 0.48 < low < 0.5 < high < 0.52


def test_the_range_in_use_leaves_out_the_odd_ends() -> None:
    assert used_range([float(i) for i in range(101)]) == (5.0, 95.0)
    assert used_range([]) is None
