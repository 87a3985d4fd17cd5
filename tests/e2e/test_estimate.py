"""`instructree estimate`: a small run of the kind that is wanted, and what the whole one then comes to."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.house import House, scripted, write_seeds

FEW = ("--sample", "10")


def _estimated(house: House, *arguments: object) -> dict[str, Any]:
    done = house.cli("estimate", *arguments, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_whole_run_comes_to_about_what_its_estimate_says(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 40, "an estimate")
    with scripted("k") as model:
        house = own_house.at(model.env)
        found = _estimated(house, seeds, *FEW, "--max-calls", "300")
        assert (found["of"], found["unit"], found["seeds"], found["usd"]) == (10, "seeds", 40, None)
        assert found["spent"]["calls"] == model.paid < 300
        assert house.status(found["run"])["seeds"] == 10 and house.verified(found["run"])
        assert house.run(seeds, "whole").code == 0
        whole = house.status("whole")
    used = whole["calls"] + whole["calls_replayed"]
    assert 0.9 * found["calls"]["low"] < used < 1.1 * found["calls"]["high"]
    assert 0.6 * found["rows"]["low"] < whole["examples"] < 1.4 * found["rows"]["high"]
    assert 0 <= found["hours"]["low"] <= found["hours"]["high"]
    assert found["caps"] == [
        f"--max-calls 300 ends it early, at the worst after {300 / found['calls']['high']:.0%} of it"
    ]


def test_the_same_estimate_again_is_paid_by_nobody(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 40, "an estimate twice")
    with scripted("k") as model:
        house = own_house.at(model.env)
        first, paid = _estimated(house, seeds, *FEW), model.paid
        second = _estimated(house, seeds, *FEW)
        assert model.paid == paid
    assert first["run"] != second["run"] and second["spent"]["calls"] == 0
    assert second["calls"] == first["calls"] and second["hours"]["high"] is None


def test_a_pool_is_estimated_by_some_rounds_of_it(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 20, "the estimate of a pool")
    with scripted("k") as model:
        house = own_house.at(model.env)
        done = house.cli("estimate", seeds, "--recipe", "self-instruct", "--sample", "5", "--set", "rounds.prompts=4")
        assert done.code == 0, done.err
        status = house.status("seeds-estimate-1")
        assert model.paid == status["calls"]
    assert status["pool"]["rounds_done"] == 5
    each = status["calls"] / status["pool"]["kept"]
    (calls,) = (line.split()[1:] for line in done.out.splitlines() if line.strip().startswith("calls"))
    assert int(calls[1].replace(",", "")) == round(each * 1000)


def test_what_cannot_be_estimated_is_told_in_one_line(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 30, "no estimate")
    with scripted("k") as model:
        house = own_house.at(model.env)
        many = house.cli("estimate", seeds, "--sample", "30")
        assert (many.code, model.paid) == (2, 0)
        assert "30 seeds are no more than the 30 of a small run" in many.complaint
        capped = house.cli("estimate", seeds, *FEW, "--max-calls", "40")
        assert capped.code == 2 and model.paid <= 40
        assert "says nothing of a whole one" in capped.complaint and "raise the cap" in capped.complaint
        assert house.cli("estimate", seeds, "--sample", "4").code == 2
