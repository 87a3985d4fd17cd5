"""`instructree operators`: from a sample to a file that a run could use, against a scripted model; without a stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.operators import load_operators
from tests.e2e.house import House, Model, scripted, write_seeds
from workers.config import Origin

GOOD = '[[operators]]\nname = "add-rhyme"\nintent = "Rhyme."\nmethod = "Make the answer to {instruction} rhyme."\n'


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Model]:
    """It refuses some of what it is asked, so that operators fail at times."""
    with scripted("canary-operators", "--refusal-share", "0.15") as model:
        yield model


@pytest.fixture
def house(endpoint: Model, tmp_path: Path) -> House:
    return House(home=tmp_path / "home", system=tmp_path / "system", env=endpoint.env)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return write_seeds(tmp_path / "sample.jsonl", 36, "operators")


def test_operators_are_mined_with_a_warning_and_can_be_loaded(house: House, sample: Path, tmp_path: Path):
    out = tmp_path / "mined.toml"
    done = house.cli("operators", "mine", sample, "--out", out, "--count", 4)
    assert done.code == 0, done.err
    found = load_operators(out)
    assert len(found) == 4
    assert all(name.startswith("mined-") and found[name].origin is Origin.MINED for name in found)
    assert all(f"{name}: " in done.out for name in found)
    for told in (done.err, out.read_text(encoding="utf-8")):
        assert "contaminated" in told
    assert "template language" in done.err
    assert "spent " in done.err.splitlines()[-1]
    assert "{{" not in "".join(operator.method for operator in found.values())


def test_an_operator_is_improved_or_left_and_the_figures_are_shown(house: House, sample: Path, tmp_path: Path):
    out = tmp_path / "better.toml"
    done = house.cli("operators", "improve", "add-goal", sample, "--out", out, "--batch", 8, "--dev", 12)
    assert done.code == 0, done.err
    assert done.out.startswith("batch: ")
    assert "spent " in done.err.splitlines()[-1]
    if "kept as" in done.out:
        (operator,) = load_operators(out).values()
        assert operator.name == "add-goal-improved"
        assert "12 (" in done.out and "items mended" in done.out
    else:
        assert not out.exists()
        assert "left as it is" in done.out


def test_a_users_own_operator_can_be_improved(house: House, sample: Path, tmp_path: Path):
    own = tmp_path / "own.toml"
    own.write_text(GOOD)
    out = tmp_path / "better.toml"
    options = ("--operators", own, "--batch", 2, "--dev", 4, "--proposals", 1, "--rule", "repository")
    done = house.cli("operators", "improve", "add-rhyme", sample, "--out", out, *options)
    assert done.code == 0, done.err
    assert "batch: " in done.out


def test_the_limit_on_calls_holds(house: House, endpoint: Model, sample: Path, tmp_path: Path):
    paid = endpoint.paid
    done = house.cli("operators", "mine", sample, "--out", tmp_path / "m.toml", "--count", 30, "--max-calls", 2)
    assert done.code == 3
    assert "--max-calls was reached" in done.err
    assert endpoint.paid - paid <= 2


def test_bad_input_ends_in_one_line_before_anything_is_spent(
    house: House, endpoint: Model, sample: Path, tmp_path: Path
):
    own = tmp_path / "own.toml"
    own.write_text(GOOD.replace("{instruction}", "{prompt}"))
    paid = endpoint.paid
    out = tmp_path / "m.toml"
    done = house.cli("operators", "improve", "add-rhyme", sample, "--out", out, "--operators", own)
    assert done.code == 2
    assert done.complaint == (
        f"{own}, operator 'add-rhyme', method: unknown placeholder {{prompt}}; the only one is {{instruction}}"
    )
    assert (endpoint.paid, out.exists()) == (paid, False)
