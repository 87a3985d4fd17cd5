"""Beginning a run, or going on with one: names, configurations that must agree, caps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from db import pools, runs, tasks
from db.errors import ConfigError
from db.records import Caps, Run
from orchestrator.changing import ENDED as ENDED
from orchestrator.changing import cap_changes, check_caps
from orchestrator.config import PoolConfig, RunConfig, frozen_config
from orchestrator.seeds import Seeds

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The run to watch. `fresh` says that it was made just now."""

    run: Run
    fresh: bool


def begin(connection: Connection, *, name: str | None, stem: str, config: RunConfig, seeds: Seeds, caps: Caps) -> Begun:
    """The run called `name`, made if there is none, or taken up again. Without a name: the last unfinished run of the
    same seeds and configuration, or a new one named after the seeds' file.

    Raises:
        ConfigError: the name is taken by a run with other seeds or another configuration, or cannot be a name.
    """
    if name is None:
        runs.name_alone(connection, _base_of(stem))
        unfinished = _same_unfinished(connection, config, seeds)
        name = unfinished.name if unfinished else _next_name(connection, stem)
    check_name(name)
    runs.name_alone(connection, name)
    found = runs.by_name(connection, name)
    if found is None:
        return Begun(run=_create(connection, name, config, seeds, caps), fresh=True)
    found = runs.lock(connection, found.id)
    _refuse_other(connection, found, config, seeds)
    if found.status not in ENDED:
        _take_up(connection, found, caps)
    return Begun(run=runs.by_id(connection, found.id), fresh=False)


def check_name(name: str | None) -> None:
    """Raises ConfigError when a run cannot be called this."""
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: use letters, digits, '.', '_' and '-', at most 100, the first a letter or a digit"
        )


def check_seeds(config: PoolConfig, seeds: Seeds) -> None:
    """Raises ConfigError when the prompts cannot show these seeds as the recipe wants them shown."""
    if config.work.generation.variant != "alpaca":
        return
    for number, seed in enumerate(seeds.seeds, 1):
        if not seed.output:
            raise ConfigError(
                f"seed {number} ({seed.instruction[:40]!r}) has no output, and generation.variant 'alpaca' shows whole "
                "tasks: give each seed an `output`, or leave the variant at 'self-instruct'"
            )


def _create(connection: Connection, name: str, config: RunConfig, seeds: Seeds, caps: Caps) -> Run:
    run = runs.create(
        connection,
        name=name,
        recipe=config.recipe,
        config=config.model_dump(mode="json"),
        config_hash=config.digest(),
        caps=caps,
        seeds=[seed.row() for seed in seeds.seeds],
        duplicates=seeds.duplicates,
        trees=not isinstance(config, PoolConfig),
    )
    if isinstance(config, PoolConfig):
        pools.plant(connection, run.id, [(seed.text, seed.row()) for seed in seeds.seeds])
    return run


def _take_up(connection: Connection, run: Run, caps: Caps) -> None:
    """Sets an unfinished run going again. Caps that were given anew replace the old ones."""
    if caps != Caps():
        check_caps(run, caps)
        runs.change(connection, run.id, caps, cap_changes(run.caps, caps))
    tasks.forgive(connection, run.id)
    runs.set_status(connection, run.id, "running")


def _same_unfinished(connection: Connection, config: RunConfig, seeds: Seeds) -> Run | None:
    for name in runs.names(connection):
        run = runs.by_name(connection, name)
        if run and run.status not in ENDED and _same_config(run, config) and _same_seeds(connection, run, seeds):
            return run
    return None


def _same_config(run: Run, config: RunConfig) -> bool:
    try:
        return frozen_config(run) == config
    except ConfigError:
        return False


def _next_name(connection: Connection, stem: str) -> str:
    base = _base_of(stem)
    taken = set(runs.names(connection))
    return next(name for i in range(1, len(taken) + 2) if (name := f"{base}-{i}") not in taken)


def _base_of(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "run"


def _refuse_other(connection: Connection, run: Run, config: RunConfig, seeds: Seeds) -> None:
    if frozen_config(run) != config:
        other = differences(run.config, config.model_dump(mode="json"))
        raise ConfigError(
            f"run {run.name!r} exists with another configuration ({'; '.join(other[:4])}): choose another --name"
        )
    if not _same_seeds(connection, run, seeds):
        raise ConfigError(f"run {run.name!r} exists with other seeds: choose another --name")


def _same_seeds(connection: Connection, run: Run, seeds: Seeds) -> bool:
    planted = [tree.seed for tree in runs.trees_of(connection, run.id)]
    stored = planted or pools.seeds_of(connection, run.id)
    return [dict(seed) for seed in stored] == [seed.row() for seed in seeds.seeds]


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> Sequence[str]:
    """What two configurations disagree on: `search.iterations is 3 there, 2 here`."""
    found: list[str] = []
    for key in sorted(there.keys() | here.keys()):
        a, b = there.get(key), here.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, prefix if prefix == "" and key == "work" else f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {a!r} there, {b!r} here")
    return found
