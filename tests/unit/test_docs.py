"""What the documents tell a user to type exists, and what they show is the program's."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from orchestrator.cli import app
from orchestrator.compare.arms import arms_in, arms_of
from orchestrator.compare.terms import PoolTerms
from orchestrator.config import BestHarvest, DiversitySettings, build, read_file
from orchestrator.recipes import SEARCHES
from workers.config import BUILT_IN_OPERATORS, Settings
from workers.prompting import operators

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "README.md").is_file():
    pytest.skip("the documents are not beside an installed wheel", allow_module_level=True)

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def lines(start: str) -> list[str]:
    whole = (block.replace("\\\n", " ") for path in DOCUMENTS for block in blocks(path))
    found = [line.split(" #")[0].strip() for block in whole for line in block.splitlines()]
    return [line for line in found if line.startswith(start)]


@pytest.mark.parametrize("line", lines("instructree "))
def test_every_command_line_is_one_of_ours(line: str):
    _, name, *arguments = shlex.split(line)
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_every_command_that_a_sentence_names_is_one_of_ours():
    for path in DOCUMENTS:
        named = set(re.findall(r"`instructree ([a-z]+)", path.read_text()))
        assert named <= COMMANDS.keys(), path.name


@pytest.mark.parametrize("line", [line for line in lines("instructree compare") if "--set" in line])
def test_every_comparison_shown_can_be_made(line: str):
    words = shlex.split(line)
    given = {words[at]: words[at + 1] for at in range(len(words) - 1) if words[at] in ("--recipes", "--max-calls")}
    options = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    arms = arms_in(given["--recipes"])
    terms = PoolTerms(max_calls=int(given["--max-calls"]))
    made = arms_of(arms, "shown", [{"endpoints": {"default": {"model": "m"}}}], options, terms)
    assert [arm.name for arm in made] == list(arms)


@pytest.mark.parametrize("line", lines("make "))
def test_every_make_target_is_in_the_makefile(line: str):
    target = line.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_link_leads_to_a_file():
    for path in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_example_configuration_is_accepted():
    path = ROOT / "examples" / "config.toml"
    config = build("idea-mcts", [read_file(path)])
    assert config.work.priced
    assert set(tomllib.loads(path.read_text())["endpoints"]["default"]) >= {"base_url", "api_key_env"}


def test_the_operators_are_the_ones_we_have_prompts_for():
    assert set(BUILT_IN_OPERATORS) == set(operators())
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert all(f"| `{name}` |" in text for name in BUILT_IN_OPERATORS)


@pytest.mark.parametrize("model", [*SEARCHES.values(), BestHarvest, DiversitySettings])
def test_the_recipe_page_names_every_option_with_its_default(model: type[Settings]):
    text = (ROOT / "docs" / "recipes.md").read_text().lower()
    for name, field in model.model_fields.items():
        rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        plain = "none" if field.default == {} else str(field.default).lower().removesuffix(".0")
        default = "all twelve|its own six" if name == "operators" else plain
        assert any(re.search(rf"\b({default})\b", row) for row in rows), (name, default)


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in COMMANDS if f"instructree {name}" not in readme and f"`{name} " not in readme]
    assert missing == []
