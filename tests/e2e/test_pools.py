"""Pools end to end: generation from seeds, training of a student, kills, and what a user is told."""

import importlib.util
import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.house import House, rows, scripted, until, write_seeds

SMALL = ("--set", "rounds.prompts=4", "--set", "rounds.most=3")
TRAINS = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft", "gguf"))
needs_training = pytest.mark.skipif(not TRAINS, reason="the extra `train` is not installed: make test-train")


def test_self_instruct_makes_a_data_set_whose_rows_name_where_they_come_from(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 20, "a pool")
    with scripted("k") as model:
        house = own_house.at(model.env)
        done = house.run(seeds, "plain", "--recipe", "self-instruct", *SMALL)
        assert done.code == 0, done.err
        assert model.paid == house.status("plain")["calls"]
    made = rows(tmp_path / "plain" / "dataset.jsonl")
    status = house.status("plain")
    assert len(made) == status["examples"] > 20
    assert all(row["output"] and row["parent_ids"] and row["cost"]["calls"] >= 2 for row in made)
    assert (status["seeds"], status["nodes"], status["pool"]["rounds_done"]) == (20, 0, 3)
    assert (
        status["pool"]["kept"]
        + sum(
            status["failures"].get(reason, 0)
            for reason in ("duplicate", "undoable", "program", "odd_start", "too_short")
        )
        == status["pool"]["generated"]
    )
    assert "duplicate" in (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
    assert house.verified("plain")


def test_a_generator_that_repeats_itself_is_stopped_and_named(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 20, "a parrot")
    with scripted("k", "--generator", "repeats") as model:
        house = own_house.at(model.env)
        done = house.run(seeds, "parrot", "--recipe", "self-instruct", "--set", "rounds.prompts=4")
    assert done.code == 0, done.err
    assert "the generator repeats itself" in str(house.status("parrot")["reason"])
    assert house.verified("parrot")


def test_a_cap_ends_a_pool_with_its_data_set_written(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 20, "a capped pool")
    with scripted("k") as model:
        house = own_house.at(model.env)
        done = house.run(seeds, "capped", "--recipe", "self-instruct", "--max-calls", "60")
        assert (done.code, model.paid <= 60) == (3, True), done.err
    assert rows(tmp_path / "capped" / "dataset.jsonl")
    assert house.verified("capped")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "generation.variant=alpaca", "--set", "rounds.shown=3"), "has no output"),
        (("--set", "filter.lexical=0"), "filter.lexical"),
        (("--max-calls", "10"), "the first step may need up to 15"),
        (("--no-responses",), "leave it out"),
    ],
)
def test_bad_input_is_one_line(own_house: House, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 5, "bad input")
    with scripted("k") as model:
        done = own_house.at(model.env).run(seeds, "bad", "--recipe", "self-instruct", *options)
    assert done.code == 2 and words in done.complaint


@pytest.mark.skipif(TRAINS, reason="the extra `train` is installed")
def test_training_without_its_extra_is_refused_before_anything_is_spent(own_house: House, tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds.jsonl", 5, "no training")
    with scripted("k") as model:
        done = own_house.at(model.env).run(seeds, "taught", "--recipe", "sedi-instruct")
        assert (done.code, model.paid) == (2, 0)
    assert "pip install 'instructree[train]'" in done.complaint


@needs_training
def test_a_student_is_trained_killed_and_goes_on_without_repeating_a_step(own_house: House, tmp_path: Path) -> None:
    from tests.tiny_student import make_tiny_student

    seeds = write_seeds(tmp_path / "seeds.jsonl", 20, "a student")
    student = make_tiny_student(tmp_path / "student")
    chosen = (f'student.model="{student}"', "feedback.every=2", "batches.size=4", "rounds.most=4", "rounds.prompts=4")
    options = ("--recipe", "sedi-instruct", *(part for option in chosen for part in ("--set", option)))
    with scripted("k") as model:
        house = own_house.at(model.env)
        with house.running(
            "run", seeds, "--name", "taught", "--out", tmp_path / "taught", *options, folder=tmp_path
        ) as running:
            until(lambda: _steps(house) >= 2, "two steps of training", patience_s=200)
            found = house.processes()
            for number in (*found["worker-1"], *found["worker-2"]):
                os.kill(number, signal.SIGKILL)
            running.interrupt()
            running.ended()
        done = house.run(seeds, "taught", *options)
    assert done.code == 0, done.err
    assert house.verified("taught")
    status = house.status("taught")["pool"]
    steps = sorted((own_house.home / "students").glob("*/step-*"))
    trained = house.number("SELECT count(*) FROM batches WHERE trained_at IS NOT NULL")
    assert len(steps) == status["steps"] == trained >= 8
    assert house.number("SELECT count(*) FROM batches WHERE loss IS NULL OR gradient_norm IS NULL") == 0
    assert status["seeds_entered"] == status["seeds_left"] > 0
    held_out = tmp_path / "held-out.jsonl"
    items = [{"instruction": f"Name a thing that begins with {c}.", "output": f"{c}aa"} for c in "bcdfg"]
    held_out.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    told = json.loads(house.cli("evaluate", "taught", "--held-out", held_out, "--json").out)
    assert told["items"] == 5 and told["before"] != told["after"]
    with scripted("k") as model:
        judging = ("--judge", "--limit", 2, "--answer-tokens", 8, "--json")
        done = own_house.at(model.env).cli("evaluate", "taught", "--held-out", held_out, *judging)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["judged"]["items"] == 2 and 1 <= told["judged"]["before"] <= 6
    assert 0 < told["judged"]["spent"]["calls"] <= 2 * 4 * 2


def _steps(house: House) -> int:
    try:
        return len(list((house.home / "students").glob("*/step-*")))
    except OSError:
        return 0
