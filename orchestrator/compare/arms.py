"""The arms of a comparison: recipes with everything else alike, each the configuration of one run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import ConfigError
from orchestrator.begin import check_name
from orchestrator.budget import calls_for
from orchestrator.compare.outcome import Setting
from orchestrator.config import RECIPES, RunConfig, build, of_recipe, parse_set
from orchestrator.recipes import SEARCHES
from workers.config import Role, Style, WorkSettings

# Iterations of idea-mcts: more than its share of calls pays for, so that the calls end a tree, as elsewhere. Not
# without end: where all that it selects is terminal, iterations cost nothing.
_MOST_ITERATIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is equal for all: calls of each recipe, how many seeds share them, nodes harvested of each tree."""

    max_calls: int
    seeds: int
    top: int

    @property
    def share(self) -> int:
        """The calls of one seed's tree."""
        return self.max_calls // self.seeds

    def options(self) -> dict[str, str]:
        return {
            "search.calls": str(max(2, self.share)),
            "harvest.mode": '"estimate"',
            "harvest.per_tree": str(self.top),
            "harvest.size": str(self.top * self.seeds),
            "harvest.held_out": "true",
            "harvest.responses": "false",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One recipe and its run."""

    recipe: str
    run: str
    config: RunConfig


def recipes_of(listed: str) -> tuple[str, ...]:
    """The recipes of `a,b,c`.

    Raises:
        ConfigError: one is unknown or named twice, or there are fewer than two.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        of_recipe(name)
        if names.count(name) > 1:
            raise ConfigError(f"--recipes {listed!r}: {name!r} is named twice")
    if len(names) < 2:
        known = ", ".join(RECIPES)
        raise ConfigError(f"--recipes {listed!r}: name at least two, separated by commas; known: {known}")
    return tuple(names)


def arms_of(
    recipes: Sequence[str], name: str, layers: Sequence[Mapping[str, Any]], options: Sequence[str], terms: Terms
) -> tuple[Arm, ...]:
    """One arm a recipe, its run called `name-recipe`; the terms come on top of all layers and options.

    An option that begins with a recipe, as in `beam.search.width=8`, is for this one alone.

    Raises:
        ConfigError: an option no recipe or not every recipe has, a share too small for one litter, a name that is none.
    """
    if terms.max_calls < 1 or terms.top < 1:
        wrong = f"--max-calls {terms.max_calls}" if terms.max_calls < 1 else f"--top {terms.top}"
        raise ConfigError(f"{wrong}: must be above 0")
    given = {recipe: _options_of(recipe, recipes, options, terms) for recipe in recipes}
    arms = tuple(_arm(recipe, f"{name}-{recipe}", layers, given[recipe]) for recipe in recipes)
    for arm in arms:
        _refuse_too_little(arm, terms)
    return arms


def _options_of(recipe: str, recipes: Sequence[str], options: Sequence[str], terms: Terms) -> list[str]:
    """The options of one recipe, then the terms."""
    own = terms.options()
    if "iterations" in SEARCHES[recipe].model_fields:
        own["search.iterations"] = str(min(_MOST_ITERATIONS, max(1, terms.share)))
    mine: list[str] = []
    for option in options:
        path, _ = parse_set(option)
        whose = path.pop(0) if path[0] in RECIPES else None
        if whose is not None and whose not in recipes:
            raise ConfigError(f"--set {option}: {whose} is not among --recipes")
        if (place := ".".join(path)) in own:
            raise ConfigError(f"--set {place}: compare sets it itself, alike for all recipes; leave it out")
        if whose in (None, recipe):
            mine.append(f"{place}={option.partition('=')[2]}")
    return [*mine, *(f"{place}={value}" for place, value in own.items())]


def _arm(recipe: str, run: str, layers: Sequence[Mapping[str, Any]], options: Sequence[str]) -> Arm:
    check_name(run)
    try:
        return Arm(recipe=recipe, run=run, config=build(recipe, layers, options))
    except ConfigError as error:
        raise ConfigError(f"recipe {recipe}: {error}") from None


def _refuse_too_little(arm: Arm, terms: Terms) -> None:
    need = calls_for(arm.config.work, arm.config.search.litter)
    if terms.share < need:
        raise ConfigError(
            f"--max-calls {terms.max_calls}: {terms.seeds} seeds get {terms.share} calls each, and one litter of "
            f"{arm.recipe} takes {need}; give at least {need * terms.seeds}, or fewer seeds"
        )


def default_name(stem: str) -> str:
    """The name of a comparison of these seeds, for whoever gives none: the same command finds its runs again."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "seeds"
    return f"compare-{base}"[:80]


def setting_of(work: WorkSettings, terms: Terms) -> Setting:
    """What all arms have in common, in words."""
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
    )


def _judged_by(work: WorkSettings) -> str:
    words = {"rubric": "rubric", "expected": "expected score"}
    quality, complexity = words[work.judges.quality], words[work.judges.complexity]
    ways = f"quality by {quality}, complexity by {complexity}"
    return f"{f'quality and complexity by {quality}' if quality == complexity else ways}, diversity by tags"


def _examined_by(work: WorkSettings) -> str:
    chat = work.endpoint(Role.EXAMINER).style is Style.CHAT
    return f"quality and complexity by {'rubric' if chat else 'expected score'}, diversity by tags"
