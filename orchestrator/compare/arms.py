"""The arms of a comparison: recipes with everything else alike, each the configuration of one run.

An arm is called by its recipe, or by RECIPE@LABEL: the same recipe under another name, with options of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import ConfigError
from orchestrator.begin import check_name, differences
from orchestrator.compare.outcome import Setting
from orchestrator.compare.terms import Conditions, Terms
from orchestrator.config import RECIPES, RunConfig, build, of_recipe, parse_set
from orchestrator.generation.settings import POOLS
from workers.config import Role, Style, WorkSettings

_LABEL = re.compile(r"[A-Za-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One recipe under its name in the comparison, and its run."""

    name: str
    run: str
    config: RunConfig


def recipe_of(arm: str) -> str:
    return arm.partition("@")[0]


def are_pools(arms: Sequence[str]) -> bool:
    """Whether they widen pools; else they grow trees. They all do the one or the other."""
    return recipe_of(arms[0]) in POOLS


def arms_in(listed: str) -> tuple[str, ...]:
    """The arms of `a,b,b@label`.

    Raises:
        ConfigError: a recipe is unknown, a label is none, an arm is named twice, there are fewer than two, or pools
            stand beside trees.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        _check_arm(listed, name)
        if names.count(name) > 1:
            hint = "give one a label, as in {0}@other" if "@" not in name else "give one another label"
            raise ConfigError(f"--recipes {listed!r}: {name!r} is named twice; {hint.format(name)}")
    if len(names) < 2:
        known = ", ".join(RECIPES)
        raise ConfigError(f"--recipes {listed!r}: name at least two, separated by commas; known: {known}")
    _refuse_mixed(listed, names)
    return tuple(names)


def _check_arm(listed: str, name: str) -> None:
    recipe, at, label = name.partition("@")
    of_recipe(recipe)
    if at and not _LABEL.fullmatch(label):
        what = f"{label!r} is no label" if label else f"nothing follows the @ of {name!r}"
        raise ConfigError(f"--recipes {listed!r}: {what}; use letters, digits and '-', at most 40")


def _refuse_mixed(listed: str, names: Sequence[str]) -> None:
    pools = [name for name in names if recipe_of(name) in POOLS]
    trees = [name for name in names if recipe_of(name) not in POOLS]
    if pools and trees:
        raise ConfigError(
            f"--recipes {listed!r}: {trees[0]} grows trees, which judges score, and {pools[0]} widens a pool, which "
            "nobody scores, so no figure is common to both; compare them apart"
        )


def arms_of(
    arms: Sequence[str], name: str, layers: Sequence[Mapping[str, Any]], options: Sequence[str], terms: Conditions
) -> tuple[Arm, ...]:
    """The arms, their runs called `name-recipe` or `name-recipe-label`; the terms come on top of layers and options.

    An option that begins with an arm, as in `beam.search.width=8`, is for the arm of exactly this name.

    Raises:
        ConfigError: an option no arm or not every arm has, too few calls to begin with, a name that is none, two arms
            that are the same but for their names.
    """
    terms.check()
    given = {arm: _options_of(arm, arms, options, terms) for arm in arms}
    found = tuple(_arm(arm, f"{name}-{arm.replace('@', '-')}", layers, given[arm]) for arm in arms)
    for arm in found:
        terms.refuse_too_little(arm.name, arm.config)
    _refuse_alike(found)
    return found


def _options_of(arm: str, arms: Sequence[str], options: Sequence[str], terms: Conditions) -> list[str]:
    """The options of one arm, then the terms."""
    own = terms.options(recipe_of(arm))
    mine: list[str] = []
    for option in options:
        path, _ = parse_set(option)
        whose = path.pop(0) if recipe_of(path[0]) in RECIPES or "@" in path[0] else None
        if whose is not None and whose not in arms:
            raise ConfigError(f"--set {option}: {whose} is not among --recipes, which are {', '.join(arms)}")
        if (place := ".".join(path)) in own:
            raise ConfigError(f"--set {place}: compare sets it itself, alike for all recipes; leave it out")
        if whose in (None, arm):
            mine.append(f"{place}={option.partition('=')[2]}")
    return [*mine, *(f"{place}={value}" for place, value in own.items())]


def _arm(arm: str, run: str, layers: Sequence[Mapping[str, Any]], options: Sequence[str]) -> Arm:
    check_name(run)
    try:
        return Arm(name=arm, run=run, config=build(recipe_of(arm), layers, options))
    except ConfigError as error:
        raise ConfigError(f"recipe {arm}: {error}") from None


def _refuse_alike(arms: Sequence[Arm]) -> None:
    for place, arm in enumerate(arms):
        for other in arms[:place]:
            if arm.config == other.config:
                raise ConfigError(
                    f"{arm.name} is {other.name} once more: give it an option of its own, --set {arm.name}.OPTION=VALUE"
                )


def default_name(stem: str) -> str:
    """The name of a comparison of these seeds, for whoever gives none: the same command finds its runs again."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "seeds"
    return f"compare-{base}"[:80]


def setting_of(arms: Sequence[Arm], terms: Terms) -> Setting:
    """What all arms have in common, in words, and the options in which one is not its recipe."""
    work = arms[0].config.work
    return Setting(
        evolver=work.endpoint(Role.EVOLVER).model,
        judge=work.endpoint(Role.JUDGE).model,
        judged_by=_judged_by(work),
        examiner=work.endpoint(Role.EXAMINER).model,
        examined_by=_examined_by(work),
        same_model=work.endpoint(Role.EXAMINER) == work.endpoint(Role.JUDGE),
        max_calls=terms.max_calls,
        share=terms.share,
        top=terms.top,
        differs={arm.name: _differs(arm, terms) for arm in arms},
    )


def _differs(arm: Arm, terms: Terms) -> tuple[str, ...]:
    """Models and judges, under `work`, are said elsewhere."""
    recipe = recipe_of(arm.name)
    models = arm.config.work.model_dump(mode="json", include={"endpoints", "roles", "judges"})
    pure = build(recipe, [models], [f"{place}={value}" for place, value in terms.options(recipe).items()])
    there, here = (one.model_dump(mode="json", exclude={"work"}) for one in (pure, arm.config))
    return tuple(differences(there, here))


def _judged_by(work: WorkSettings) -> str:
    words = {"rubric": "rubric", "expected": "expected score"}
    quality, complexity = words[work.judges.quality], words[work.judges.complexity]
    ways = f"quality by {quality}, complexity by {complexity}"
    return f"{f'quality and complexity by {quality}' if quality == complexity else ways}, diversity by tags"


def _examined_by(work: WorkSettings) -> str:
    chat = work.endpoint(Role.EXAMINER).style is Style.CHAT
    return f"quality and complexity by {'rubric' if chat else 'expected score'}, diversity by tags"
