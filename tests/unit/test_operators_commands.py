"""What `instructree operators` refuses before it looks at any endpoint."""

from pathlib import Path

import pytest

from db.errors import UserError
from orchestrator.cli.improving import improve_into, mine_into
from workers.operators.decide import Plan, Rule

OPERATOR = '[[operators]]\nname = "add-rhyme"\nintent = "Rhyme."\nmethod = "Make the answer to {prompt} rhyme."\n'
COMPLETION = (
    *("endpoints.default.style=completion", "judges.quality=expected", "judges.complexity=expected"),
    "endpoints.default.model=m",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files to work on, and an endpoint that nobody must ask: nobody listens on port 1."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (tmp_path / "sample.txt").write_text("".join(f"Explain craft {i} to a child.\n" for i in range(30)))
    (tmp_path / "few.txt").write_text("Name a tree.\n")
    (tmp_path / "bad.toml").write_text(OPERATOR)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mined(sample: str = "sample.txt", out: str = "m.toml", options: tuple[str, ...] = ()) -> None:
    mine_into(Path(out), Path(sample), None, None, options, 4, 10)


def improved(
    name: str = "add-goal",
    sample: str = "sample.txt",
    own: str | None = None,
    options: tuple[str, ...] = (),
    most: int = 200,
) -> None:
    plan = Plan(batch=10, dev=20, proposals=3, rule=Rule.PAPER, max_calls=most)
    improve_into(Path("m.toml"), name, Path(sample), None, Path(own) if own else None, None, options, plan)


def complaint(folder: Path, *, of: object) -> str:
    assert callable(of)
    with pytest.raises(UserError) as caught:
        of()
    assert not (folder / "m.toml").exists()
    return str(caught.value)


def test_a_sample_that_is_not_there(folder: Path):
    assert complaint(folder, of=lambda: mined("none.txt")) == "none.txt: no such file"


def test_a_place_that_cannot_be_written_to(folder: Path):
    assert "no such folder for --out" in complaint(folder, of=lambda: mined(out="no/m.toml"))
    assert "is there already" in complaint(folder, of=lambda: mined(out="sample.txt"))


def test_an_operator_that_cannot_be_improved(folder: Path):
    assert "did you mean 'add-goal'" in complaint(folder, of=lambda: improved("add-gaol"))
    assert "brand-new cannot be improved" in complaint(folder, of=lambda: improved("brand-new"))


def test_a_sample_that_is_too_small_to_measure_on(folder: Path):
    assert "few.txt: 1 instructions; improving needs 6" in complaint(folder, of=lambda: improved(sample="few.txt"))


def test_a_limit_on_calls_that_is_too_low(folder: Path):
    assert "may take 183 calls and --max-calls is 20" in complaint(folder, of=lambda: improved(most=20))
    judged = complaint(folder, of=lambda: improved(options=("guards.eliminate=true",)))
    assert "may take 273 calls" in judged


def test_a_file_of_operators_that_is_wrong_or_not_there(folder: Path):
    wrong = complaint(folder, of=lambda: improved(own="bad.toml"))
    assert wrong.startswith("bad.toml, operator 'add-rhyme', method: unknown placeholder {prompt}")
    assert "none.toml: no such file" in complaint(folder, of=lambda: improved(own="none.toml"))


def test_base_models_are_asked_for_no_operators(folder: Path):
    for of in (lambda: mined(options=COMPLETION), lambda: improved(options=COMPLETION)):
        assert "needs an evolver that can chat" in complaint(folder, of=of)


def test_an_endpoint_that_is_not_there(folder: Path):
    assert "cannot be reached" in complaint(folder, of=mined)
