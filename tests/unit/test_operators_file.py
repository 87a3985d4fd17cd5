"""Operators from a user's file: what is read is what was written, and each mistake ends in one line that finds it."""

import tomllib
from pathlib import Path

import pytest

from db.errors import ConfigError
from orchestrator.operators import check_use, default_operators, load_operators, mined_warning, names_fault, to_toml
from workers.bodies.expand import evolve_prompt
from workers.config import EVOL_OPERATORS, CustomOperator, Endpoint, Judges, Origin, Style, WorkSettings
from workers.contracts import Reason
from workers.operators.custom import placeholder_fault
from workers.prompting import operator_of, operators

CHAT = WorkSettings(endpoints={"default": Endpoint(model="m")})
BASE = WorkSettings(
    endpoints={"default": Endpoint(model="m", style=Style.COMPLETION)},
    judges=Judges(quality="expected", complexity="expected"),
)
GOOD = """
[[operators]]
name = "add-rhyme"
intent = "Demand a rhyme."
method = "Change {instruction} so that its answer has to rhyme."
"""
FULL = (
    GOOD
    + """
heading = "The same task in rhyme"
leads = ["Let every line", "Rhyme the"]
demonstrations = [
  { before = "Explain tides.", after = "Explain tides. Let every line rhyme with the one before it, in eight lines." },
  { before = "Praise a shoe.", after = "Praise a shoe. Rhyme the first word of each line with the last one." },
]
"""
)


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path):
    (operator,) = load_operators(written(tmp_path, FULL)).values()
    assert (operator.name, operator.origin, operator.heading) == ("add-rhyme", "user", "The same task in rhyme")
    assert operator.leads == ("Let every line", "Rhyme the")
    assert [shown.before for shown in operator.demonstrations] == ["Explain tides.", "Praise a shoe."]


def test_what_is_read_can_be_written_and_read_again(tmp_path: Path):
    odd = CustomOperator(
        name="mined-odd",
        origin=Origin.MINED,
        intent='Say "no" to \\ and ü.',
        method='First line.\nSecond line with {instruction}\nand {"a": [1, 2]}.',
    )
    found = {**load_operators(written(tmp_path, FULL)), odd.name: odd}
    again = load_operators(written(tmp_path, to_toml(found.values(), "A remark\nof two lines.", "Another one.")))
    assert again == found
    assert list(again) == list(found)


@pytest.mark.parametrize("settings", [CHAT, BASE], ids=["chat", "base"])
def test_a_run_carries_its_operators_and_workers_use_them(tmp_path: Path, settings: WorkSettings):
    """Frozen as JSON and read again, as a worker does."""
    own = settings.model_copy(update={"operators": load_operators(written(tmp_path, FULL))})
    frozen = WorkSettings.model_validate_json(own.model_dump_json())
    assert frozen == own
    prompt = evolve_prompt(operator_of("add-rhyme", frozen), "Name a {tree} {{ 7 * 7 }}.", frozen, "key")
    assert "Name a {tree} {{ 7 * 7 }}." in prompt.text
    if settings is CHAT:
        assert "Method: Change #The Given Prompt# so that its answer has to rhyme." in prompt.text
    else:
        assert prompt.prefix.startswith("Name a {tree} {{ 7 * 7 }}.")
        assert "The same task in rhyme:" in prompt.text
        assert {before for before, _ in prompt.shown} == {"Explain tides.", "Praise a shoe."}


def test_an_operator_that_nobody_has_is_named():
    assert operator_of("add-goal", CHAT) == operators()["add-goal"]
    with pytest.raises(ConfigError, match="'add-rhyme' is neither built in nor part of the run"):
        operator_of("add-rhyme", CHAT)


def with_field(field: str, value: str) -> str:
    """A good file with one field of its operator changed."""
    lines = [line for line in FULL.splitlines() if not line.startswith(f"{field} = ")]
    return "\n".join([*lines[:2], f"{field} = {value}", *lines[2:]])


def without(field: str) -> str:
    return "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{field} = "))


NAMED = "operator 'add-rhyme'"
BAD = [
    ("", ("no operators in it", "[[operators]]")),
    ("operators = []", ("no operators in it",)),
    ("operators = 3", ("no operators in it",)),
    ("[operators.add-rhyme]\nintent = 'x'", ("no operators in it",)),
    ("operators = [3]", ("operator 1", "must be a table")),
    ("[[operator]]\nname = 'x'", ("unknown entry 'operator'", "[[operators]]")),
    ("[[operators]", ("not TOML",)),
    ('[[operators]]\nname = "a\\ud800"', ("not TOML",)),
    (without("name"), ("operator 1, name: is missing",)),
    (without("intent"), (f"{NAMED}, intent: is missing",)),
    (without("method"), (f"{NAMED}, method: is missing",)),
    (GOOD + GOOD, (f"{NAMED}, name", "before it has the same")),
    (GOOD.replace("add-rhyme", "add-goal"), ("operator 'add-goal', name", "built-in")),
    (GOOD.replace("add-rhyme", "concretize"), ("operator 'concretize', name", "built-in")),
    (GOOD.replace("add-rhyme", "Add Rhyme"), ("operator 'Add Rhyme', name: must be small letters",)),
    (GOOD.replace("add-rhyme", "a" * 41), ("name: must be small letters", "40")),
    (GOOD.replace("add-rhyme", "mined-rhyme"), ("operator 'mined-rhyme'", "begin with mined-")),
    (with_field("origin", '"mined"'), (NAMED, "begin with mined-")),
    (with_field("origin", '"general"'), (f"{NAMED}, origin", '"user" or "mined"')),
    (with_field("name", "7"), ("operator 1, name: must be a text",)),
    (with_field("methods", '"x"'), (f"{NAMED}, methods: unknown field", "did you mean 'method'")),
    (with_field("method", "7"), (f"{NAMED}, method: must be a text",)),
    (with_field("method", '" \\n "'), (f"{NAMED}, method: is empty",)),
    (with_field("method", f'"{"x" * 2001}"'), (f"{NAMED}, method: has 2001 characters", "2000")),
    (
        with_field("method", '"Rewrite {prompt}."'),
        (f"{NAMED}, method: unknown placeholder {{prompt}}", "{instruction}"),
    ),
    (with_field("method", '"Rewrite { instruction }."'), ("unknown placeholder { instruction }",)),
    (with_field("method", '"Rewrite {}."'), ("unknown placeholder {}",)),
    (with_field("method", '"Rewrite {0.__class__}."'), ("unknown placeholder {0.__class__}",)),
    (with_field("method", '"Rewrite {{ instruction }}."'), ("method: {{ belongs to a template language",)),
    (with_field("method", '"{% for x in y %}"'), ("method: {% belongs to a template language",)),
    (with_field("method", '"Rewrite {instruction."'), ("method: a { without its }",)),
    (with_field("method", '"Rewrite instruction}."'), ("method: a } without its {",)),
    (with_field("method", '"End it: >>> obey me"'), ("method: must not hold >>>",)),
    (with_field("method", '"a\\u0000b"'), ("method: holds a control character",)),
    (with_field("intent", '""'), (f"{NAMED}, intent: is empty",)),
    (with_field("intent", '"a\\nb"'), (f"{NAMED}, intent: must be one line",)),
    (with_field("heading", '"Rhyme: now"'), (f"{NAMED}, heading: must not hold a colon",)),
    (with_field("heading", '""'), (NAMED, "demonstrations need a heading")),
    (with_field("leads", '"Let"'), (f"{NAMED}, leads: must be a list",)),
    (with_field("leads", '["Let", ""]'), (f"{NAMED}, leads: is empty",)),
    (with_field("leads", str(["x"] * 9)), (f"{NAMED}, leads: there are 9",)),
    (GOOD + 'heading = "h"\ndemonstrations = [{ before = "a" }]', ("demonstrations[1].after: is missing",)),
    (GOOD + 'heading = "h"\ndemonstrations = ["a"]', ("demonstrations[1]: must be a table",)),
    (GOOD + 'heading = "h"\ndemonstrations = [{ before = "a", after = "a" }]', ("demonstrations[1]", "the same")),
    (GOOD + 'heading = "h"\ndemonstrations = [{ before = "a", after = "b\\nc" }]', ("[1].after: must be one line",)),
    ("".join(GOOD.replace("rhyme", f"rhyme{i}") for i in range(65)), ("65 operators", "at most 64")),
    ("x = '" + "y" * 1_000_001 + "'", ("larger than",)),
]


@pytest.mark.parametrize(("text", "says"), BAD)
def test_a_mistake_ends_in_one_line_with_file_operator_and_field(tmp_path: Path, text: str, says: tuple[str, ...]):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_operators(path)
    line = str(caught.value)
    assert line.startswith(f"{path}")
    assert "\n" not in line
    assert all(part in line for part in says), line


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file of operators"):
        load_operators(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_operators(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = 'caf\xe9'")
    with pytest.raises(ConfigError, match="not TOML"):
        load_operators(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    "method",
    [
        "Plain words.",
        "Use {instruction} twice: {instruction}.",
        'Give the input as JSON such as {"a": {"b": [1, 2]}}.',
        "Ask for 50 % more, not less.",
    ],
)
def test_braces_that_are_no_placeholders_are_text(method: str):
    assert placeholder_fault(method) is None


def test_a_base_model_must_be_shown_what_is_meant(tmp_path: Path):
    path = written(tmp_path, GOOD)
    own = load_operators(path)
    check_use(path, own, ["add-goal", "add-rhyme"], Style.CHAT)
    check_use(path, own, ["add-goal"], Style.COMPLETION)
    with pytest.raises(ConfigError, match=r"operator 'add-rhyme', demonstrations: .*'completion'"):
        check_use(path, own, ["add-goal", "add-rhyme"], Style.COMPLETION)
    check_use(path, load_operators(written(tmp_path, FULL)), ["add-rhyme"], Style.COMPLETION)


def test_mined_operators_are_used_by_name_only(tmp_path: Path):
    mined = GOOD.replace("add-rhyme", "mined-rhyme") + 'origin = "mined"\n'
    own = load_operators(written(tmp_path, GOOD + mined))
    assert default_operators(("add-goal",), own) == ("add-goal", "add-rhyme")
    assert names_fault(["add-goal", "mined-rhyme"], own) is None
    assert "did you mean 'mined-rhyme'" in (names_fault(["mined-ryme"], own) or "")
    warned = mined_warning(["add-goal", "mined-rhyme"])
    assert warned is not None and "contaminated" in warned and warned.endswith("in use: mined-rhyme")
    assert mined_warning(default_operators(("add-goal",), own)) is None
    assert "none twice" in (names_fault(["add-goal", "add-goal"], own) or "")
    assert "at least one" in (names_fault([], own) or "")


def test_the_page_on_operators_shows_a_file_that_is_read_and_names_every_rule(tmp_path: Path):
    page = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
    if not page.is_file():
        pytest.skip("the documents are not beside an installed wheel")
    text = page.read_text(encoding="utf-8")
    (operator,) = load_operators(written(tmp_path, text.partition("```toml\n")[2].partition("```")[0])).values()
    assert operator.for_base_models
    assert all(f"`{name}`" in text for name in EVOL_OPERATORS)
    rules = (Reason.EQUAL, Reason.SORRY, Reason.STOP_WORDS, Reason.TEMPLATE_WORDS)
    assert all(f"| `{reason}` |" in text for reason in rules)


def test_settings_refuse_operators_under_another_or_a_built_in_name():
    rhyme = tomllib.loads(GOOD)["operators"][0]
    for name, entry in (("rhyme", rhyme), ("add-goal", {**rhyme, "name": "add-goal"})):
        with pytest.raises(ValueError, match=r"filed under|built in"):
            WorkSettings.model_validate({"endpoints": {}, "operators": {name: entry}})
