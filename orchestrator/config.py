"""Configuration: defaults, the user's file, `--set` options, in that order; checked once, then frozen with the run."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from db.errors import ConfigError
from db.records import Json, Run
from orchestrator.search import IdeaMcts
from orchestrator.search.select import Uct
from workers.config import Endpoint, Role, Settings, Style, WorkSettings

RECIPES = ("idea-mcts",)

GENERAL_OPERATORS = (
    "add-goal",
    "add-constraint",
    "add-requirements",
    "problem-solving",
    "deepen-reasoning",
    "domain-knowledge",
    "everyday-life",
    "real-world",
    "emotion",
    "input-format",
    "output-format",
    "brand-new",
)
# What an endpoint's entry in a configuration file says of where it is: stays on this machine.
_ADDRESS = ("base_url", "api_key_env")


class SearchSettings(Settings):
    """Recipe `idea-mcts`. Defaults are the published constants or, where the paper is silent, our pick.

    `docs/recipes.md` gives the reason of each.
    """

    operators: tuple[str, ...] = GENERAL_OPERATORS
    exploration: float = Field(default=1.0, ge=0, le=100)
    square_root: bool = True
    child_initialisation: Literal["own-score", "unvisited"] = "own-score"
    backup: Literal["mean", "max"] = "mean"
    normalise: bool = False
    iterations: int = Field(default=3, ge=1, le=1000)
    children: int = Field(default=5, ge=1, le=64)
    max_depth: int = Field(default=4, ge=1, le=64)
    stop_reward: float = Field(default=10.0, ge=0, le=1000)
    distinct_operators: bool = True
    simulate_child: Literal["best", "random"] = "best"
    simulation_attempts: int = Field(default=2, ge=1, le=12)

    @model_validator(mode="after")
    def _operators_known(self) -> "SearchSettings":
        for name in self.operators:
            if name not in GENERAL_OPERATORS:
                raise ValueError(f"unknown operator {name!r}; known: {', '.join(GENERAL_OPERATORS)}")
        if not self.operators or len(set(self.operators)) != len(self.operators):
            raise ValueError("needs at least one operator, none twice")
        return self

    def policy(self) -> IdeaMcts:
        uct = Uct(
            exploration=self.exploration,
            square_root=self.square_root,
            count_own_score=self.child_initialisation == "own-score",
            backup=self.backup,
            normalise=self.normalise,
        )
        return IdeaMcts(
            operators=self.operators,
            uct=uct,
            iterations=self.iterations,
            children=self.children,
            max_depth=self.max_depth,
            stop_reward=self.stop_reward,
            distinct_operators=self.distinct_operators,
            simulate_child=self.simulate_child,
            simulation_attempts=self.simulation_attempts,
        )


class HarvestSettings(Settings):
    """What becomes of grown trees: a random sample of all path nodes (the paper), or the best of each tree."""

    mode: Literal["paths", "best-per-tree"] = "paths"
    size: int = Field(default=1000, ge=1, le=10_000_000)
    duplicate: float = Field(default=0.9, gt=0, le=1)
    responses: bool = True


class RunConfig(Settings):
    """Everything that shapes the result of a run, and nothing secret."""

    recipe: str
    seed: int = Field(default=0, ge=0, lt=2**63)
    work: WorkSettings
    search: SearchSettings = SearchSettings()
    harvest: HarvestSettings = HarvestSettings()
    trees_at_once: int = Field(default=8, ge=1, le=100_000)

    @model_validator(mode="after")
    def _roles_have_endpoints(self) -> "RunConfig":
        for role in Role:
            name = self.work.role(role).endpoint
            if name not in self.work.endpoints:
                known = ", ".join(sorted(self.work.endpoints))
                raise ValueError(f"role {role.value} names endpoint {name!r}; configured: {known}")
        self._judges_fit(self.work.endpoint(Role.JUDGE))
        return self

    def _judges_fit(self, endpoint: Endpoint) -> None:
        chosen = (self.work.judges.quality, self.work.judges.complexity)
        if "rubric" in chosen and endpoint.style is not Style.CHAT:
            raise ValueError("the rubric judge needs a chat endpoint; use judges 'expected' with style 'completion'")
        if "expected" in chosen and endpoint.style is not Style.COMPLETION:
            raise ValueError("the expected-score judge needs an endpoint of style 'completion'")

    def digest(self) -> str:
        """A short hash of all of it."""
        return _digest(self.model_dump(mode="json"))


def frozen_config(run: Run) -> RunConfig:
    """The configuration that a run was begun with.

    Raises:
        ConfigError: its row was changed by hand, or written by a version that we cannot read.
    """
    if _digest(run.config) != run.config_hash:
        raise ConfigError("its configuration in the database is not the one it was begun with: somebody changed it")
    try:
        return RunConfig.model_validate(run.config)
    except ValidationError as error:
        raise ConfigError(f"its configuration is of another version ({explain(error)}): use that one") from None


def _digest(config: Json) -> str:
    return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def read_file(path: Path) -> dict[str, Any]:
    """The options of a TOML file, without the addresses of its endpoints.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds a key.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from None
    endpoints = data.get("endpoints", {})
    if not isinstance(endpoints, dict):
        raise ConfigError(f"{path}: endpoints must be tables, as in [endpoints.default]")
    for name, entry in dict(endpoints).items():
        endpoints[name] = _traits(f"{path}: endpoints.{name}", entry)
    return data


def _traits(place: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ConfigError(f"{place} must be a table")
    if "api_key" in entry:
        raise ConfigError(f"{place}.api_key: keys do not belong in files; name the variable with it as api_key_env")
    return {key: value for key, value in entry.items() if key not in _ADDRESS}


def key_variables(path: Path) -> list[str]:
    """The environment variables that hold the keys of the file's endpoints."""
    endpoints = tomllib.loads(path.read_text(encoding="utf-8")).get("endpoints", {})
    return [str(entry["api_key_env"]) for entry in endpoints.values() if "api_key_env" in entry]


def parse_set(option: str) -> tuple[list[str], Any]:
    """`a.b=value` as path and value; the value is read as TOML, or taken as a plain word."""
    path, found, raw = option.partition("=")
    if not found or not path.strip():
        raise ConfigError(f"--set {option!r}: expected key=value, such as search.iterations=5")
    try:
        value = tomllib.loads(f"v = {raw}")["v"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    return path.strip().split("."), value


# Where a user writes an option, and where it lives. The groups of the hands are flat for whoever writes them.
_WORK = ("endpoints", "roles", "judges", "guards", "embedder")


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        if isinstance(value, Mapping):
            below = into.get(key)
            into[key] = _merge(below if isinstance(below, dict) else {}, value)
        else:
            into[key] = value
    return into


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if len(path) > 1 else value}


def build(recipe: str, layers: Sequence[Mapping[str, Any]], options: Sequence[str] = ()) -> RunConfig:
    """Puts the layers together, later ones winning, then the `--set` options, and checks the whole.

    Raises:
        ConfigError: an unknown recipe or option, or a value out of its range: name, value, what is allowed.
    """
    if recipe not in RECIPES:
        near = get_close_matches(recipe, RECIPES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown recipe {recipe!r}: {hint}known: {', '.join(RECIPES)}")
    flat: dict[str, Any] = {}
    for layer in [*layers, *(_nested(*parse_set(option)) for option in options)]:
        _merge(flat, layer)
    work = {name: flat.pop(name) for name in _WORK if name in flat}
    try:
        return RunConfig.model_validate({"recipe": recipe, **flat, "work": work})
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """The first fault of a configuration as one line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part != "work") or "configuration"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(first["loc"][-1]), _known(first["loc"]), 1)
        return f"unknown option {place!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}" if first["loc"] and place != "work" else str(first["ctx"]["error"])
    return f"{place} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _known(location: Sequence[int | str]) -> list[str]:
    """The options that the group at this place does have."""
    model: Any = RunConfig
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
