"""`instructree operators weigh` on the rows of a run that a tiny student measures."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from orchestrator.cli import app
from orchestrator.config import TreeConfig, build, read_file
from orchestrator.export import rows_of
from tests.integration.night import BASE, Hands, finish, start
from tests.tiny_student import make_tiny_student
from workers.training import student


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTRUCTREE_DATABASE_URL", database_url)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason="the extra `train` is not installed")
    return make_tiny_student(tmp_path / "tiny")


def weigh(*options: object) -> Result:
    return CliRunner().invoke(app, ["operators", "weigh", "night", *map(str, options)])


def told(*options: object) -> dict[str, Any]:
    done = weigh("--json", *options)
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def refusal(*options: object) -> str:
    said = str(weigh(*options).exception)
    assert "\n" not in said
    return said


def test_a_run_is_weighed_and_another_takes_the_priors(engine: Engine, tiny: Path, tmp_path: Path) -> None:
    driver = start(engine, f"student.model={str(tiny)!r}", "student.device=cpu")
    run = finish(driver, Hands(engine))
    with engine.connect() as connection:
        last = [row["operators"][-1] for row in rows_of(connection, run)]
    out = tmp_path / "priors.toml"
    found = told("--out", out, "--points", 2)
    assert (found["signal"], found["examples"], found["skipped"]) == ("brings", len(last), 0)
    assert {one["operator"]: one["examples"] for one in found["operators"]} == {name: last.count(name) for name in last}
    assert set(found["priors"]) == {name for name in last if last.count(name) >= 3}
    assert all(one["low"] <= one["mean"] <= one["high"] for one in found["operators"])
    config = build("paced-front", [BASE, read_file(out)])
    assert isinstance(config, TreeConfig)
    assert config.search.model_dump()["operator_priors"] == found["priors"]
    assert "is there already" in refusal("--out", out)

    most = len(last) - 1
    loss = told("--signal", "loss", "--limit", most)
    assert loss == told("--signal", "loss", "--limit", most)
    assert loss["examples"] == most
    assert all(one["mean"] > 0 for one in loss["operators"])

    table = weigh("--points", 2).stdout
    for name, prior in found["priors"].items():
        (row,) = [line.split() for line in table.splitlines() if line.split()[:1] == [name]]
        assert (int(row[1]), float(row[-1])) == (last.count(name), prior)
    assert "no operator of run 'night' has 3 examples" in refusal("--limit", 2)


def test_the_extra_is_named_where_it_is_missing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(start(engine), Hands(engine))
    monkeypatch.setattr(student, "missing_packages", lambda: ["torch"])
    assert refusal() == "training needs pip install 'instructree[train]' (torch missing)"


@pytest.mark.parametrize("points", ["0", "-1", "10.1", "nan", "inf"])
def test_points_out_of_their_range(points: str) -> None:
    assert "must be above 0 and at most 10" in refusal("--points", points)


def test_runs_that_cannot_be_weighed(engine: Engine) -> None:
    assert "no run 'night'" in refusal()
    driver = start(engine, "harvest.responses=false")
    assert refusal() == "run 'night' is running: weigh its operators when it has ended"
    finish(driver, Hands(engine))
    assert refusal() == "run 'night' has no example with an output: weigh one that wrote responses"


def test_a_pool_has_no_operators(engine: Engine) -> None:
    start(engine, "rounds.most=1", recipe="self-instruct")
    assert "widened a pool (self-instruct), without operators" in refusal()
