"""Configuration: defaults, the user's file, `--set` options, in that order; checked once, then frozen with the run."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, create_model, model_validator

from db.changes import config_now
from db.errors import ConfigError
from db.records import Json, Run
from orchestrator.budget import calls_for
from orchestrator.generation.settings import POOLS, BatchSettings, FeedbackSettings, FilterSettings, RoundSettings
from orchestrator.operators import check_use, default_operators, load_operators, names_fault
from orchestrator.recipes import SEARCHES, SearchSettings
from workers.config import CustomOperator, Role, Settings, WorkSettings

RECIPES = (*SEARCHES, *POOLS)
# What an endpoint's entry in a configuration file says of where it is: stays on this machine.
_ADDRESS = ("base_url", "api_key_env")


class HarvestSettings(Settings):
    """What becomes of grown trees.

    mode: `paths` is a random sample of all path nodes (the paper); `score` and `estimate` take the best nodes, by their
        judged score or by an estimate that mistrusts lucky ones (policies.md, 2).
    per_tree: at most so many of one tree.
    again: how often the best are judged once more before they are chosen.
    noise: standard deviation of a judgement, in points of reward; what the second judgements say, where there are any.
    held_out: have the examples and the seeds scored by the judge that no search has seen.
    """

    mode: Literal["paths", "score", "estimate"] = "paths"
    per_tree: int | None = Field(default=None, ge=1, le=1_000_000)
    size: int = Field(default=1000, ge=1, le=10_000_000)
    duplicate: float = Field(default=0.9, gt=0, le=1)
    again: int = Field(default=0, ge=0, le=5)
    noise: float = Field(default=0.5, ge=0, le=18)
    held_out: bool = False
    responses: bool = True


class BestHarvest(HarvestSettings):
    """The harvest of recipes that look for the best nodes of a tree."""

    mode: Literal["paths", "score", "estimate"] = "estimate"
    per_tree: int | None = Field(default=10, ge=1, le=1_000_000)


class DiversitySettings(Settings):
    """The gate that a text passes before it may grow: not too near to any other of the run, its own line excepted.

    `lexical` is ROUGE-L F1, `embedding` a cosine; at or above it a text is refused as a duplicate.
    """

    gate: bool = True
    lexical: float | None = Field(default=0.9, gt=0, le=1)
    embedding: float | None = Field(default=0.97, gt=0, le=1)


class NoDiversity(DiversitySettings):
    """The published method knows no such gate."""

    gate: bool = False


class RunConfig(Settings):
    """Everything that shapes the result of a run, and nothing secret. `of_recipe` gives the one of a recipe."""

    recipe: str
    seed: int = Field(default=0, ge=0, lt=2**63)
    work: WorkSettings

    @model_validator(mode="after")
    def _roles_have_endpoints(self) -> "RunConfig":
        for role in Role:
            name = self.work.role(role).endpoint
            if name not in self.work.endpoints:
                known = ", ".join(sorted(self.work.endpoints))
                raise ValueError(f"role {role.value} names endpoint {name!r}; configured: {known}")
        self.work.check_judges()
        return self

    def digest(self) -> str:
        """A short hash of all of it."""
        return _digest(self.model_dump(mode="json"))


class TreeConfig(RunConfig):
    """A run that grows a tree from each seed."""

    search: SearchSettings
    harvest: HarvestSettings = HarvestSettings()
    diversity: DiversitySettings = DiversitySettings()
    trees_at_once: int = Field(default=8, ge=1, le=100_000)

    @model_validator(mode="after")
    def _operators_are_known(self) -> "TreeConfig":
        if fault := names_fault(self.search.operators, self.work.operators):
            raise ValueError(fault)
        return self


class PoolConfig(RunConfig):
    """A run that widens a pool of seeds by generation; `train` has a student learn from what it keeps."""

    rounds: RoundSettings = RoundSettings()
    filter: FilterSettings = FilterSettings()
    batches: BatchSettings = BatchSettings()
    train: bool = False
    feedback: FeedbackSettings = FeedbackSettings()

    @model_validator(mode="after")
    def _feedback_has_training(self) -> "PoolConfig":
        # The control with a random batch, too: only what is trained on is made into batches.
        if self.feedback.on and not self.train:
            raise ValueError("feedback needs training (train=true)")
        return self


# How a recipe's options differ from those of most, here and in the groups of the hands.
# Instances are written as Self-Instruct writes them (papers.md, 3.1).
_INSTANCES = {"roles": {"responder": {"temperature": 0.0, "max_tokens": 350, "presence_penalty": 1.5}}}
_LAYERS: Mapping[str, Mapping[str, Any]] = {
    "evol-instruct": {"guards": {"eliminate": True}},
    "self-instruct": _INSTANCES,
    "sedi-instruct": _INSTANCES,
}
_OTHERWISE: Mapping[str, Mapping[str, Any]] = {
    "idea-mcts": {"harvest": HarvestSettings(), "diversity": NoDiversity()},
    "evol-instruct": {"harvest": HarvestSettings(), "diversity": NoDiversity()},
}


@cache
def of_recipe(recipe: str) -> type[RunConfig]:
    """The configuration of a recipe, with its own options and defaults.

    Raises:
        ConfigError: there is no such recipe.
    """
    if recipe not in RECIPES:
        near = get_close_matches(recipe, RECIPES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown recipe {recipe!r}: {hint}known: {', '.join(RECIPES)}")
    base: type[RunConfig] = TreeConfig if recipe in SEARCHES else PoolConfig
    fields: dict[str, Any] = {name: (type(value), value) for name, value in _own(recipe).items()}
    return create_model(f"RunConfig[{recipe}]", __base__=base, **fields)


def _own(recipe: str) -> Mapping[str, Any]:
    """The groups of options that a recipe has for itself, at their defaults."""
    if recipe in POOLS:
        return POOLS[recipe]
    search = SEARCHES[recipe]()
    own = {"search": search, "harvest": BestHarvest(), "diversity": DiversitySettings()}
    return {**own, **_OTHERWISE.get(recipe, {})}


def frozen_config(run: Run) -> RunConfig:
    """The configuration that a run was begun with.

    Raises:
        ConfigError: its row was changed by hand, or written by a version that we cannot read.
    """
    if _digest(run.config) != run.config_hash:
        raise ConfigError("its configuration in the database is not the one it was begun with: somebody changed it")
    return _read(run.recipe, run.config)


def present_config(run: Run) -> RunConfig:
    """The configuration of a run as it is now: as it was begun, and with what was changed since.

    Raises:
        ConfigError: as `frozen_config` does.
    """
    frozen = frozen_config(run)
    return _read(run.recipe, config_now(run)) if run.changes else frozen


def _read(recipe: str, config: Json) -> RunConfig:
    try:
        return of_recipe(recipe).model_validate(config)
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
    if isinstance(data.get("operators_file"), str):
        data["operators_file"] = str(path.parent / data["operators_file"])
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
_WORK = ("endpoints", "roles", "judges", "guards", "embedder", "generation", "student")


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
    model = of_recipe(recipe)
    flat: dict[str, Any] = {}
    for layer in [_LAYERS.get(recipe, {}), *layers, *(_nested(*parse_set(option)) for option in options)]:
        _merge(flat, layer)
    file = flat.pop("operators_file", None)
    work = {name: flat.pop(name) for name in _WORK if name in flat}
    own = load_operators(Path(file)) if isinstance(file, str) else {}
    if own:
        work["operators"] = {name: operator.model_dump(mode="json") for name, operator in own.items()}
        flat.setdefault("search", {}).setdefault("operators", default_operators(default_of(model), own))
    try:
        config = model.model_validate({"recipe": recipe, **flat, "work": work})
    except ValidationError as error:
        raise ConfigError(explain(error, model)) from None
    return _settled(config, str(file), own) if isinstance(config, TreeConfig) else config


def _settled(config: TreeConfig, file: str, own: Mapping[str, CustomOperator]) -> TreeConfig:
    """The configuration with what follows from its models: whether operators can be used, how large a litter is."""
    check_use(Path(file), own, config.search.operators, config.work.endpoint(Role.EVOLVER).style)
    together = calls_for(config.work, 2) < 2 * calls_for(config.work)
    return config.model_copy(update={"search": config.search.settled(judged_together=together)})


def default_of(model: type[RunConfig]) -> tuple[str, ...]:
    """The operators of a recipe, where nobody names any; none of one without trees."""
    found = model.model_fields.get("search")
    search: SearchSettings | None = found.default if found else None
    return search.operators if search else ()


def explain(error: ValidationError, model: type[RunConfig] = RunConfig) -> str:
    """The first fault of a configuration as one line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part != "work") or "configuration"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(first["loc"][-1]), _known(first["loc"], model), 1)
        return f"unknown option {place!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}" if first["loc"] and place != "work" else str(first["ctx"]["error"])
    return f"{place} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _known(location: Sequence[int | str], model: Any) -> list[str]:
    """The options that the group at this place does have."""
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
