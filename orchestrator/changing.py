"""Changing a run while it is on: its caps, and the limits and prices of its endpoints.

What is wanted is named as it is shown: `max_calls`, `max_tokens`, `max_usd`, `max_hours`, `endpoints.NAME.TRAIT`; a
value of None takes a limit away. Whoever drives the run takes it in at the next tick, workers within `BEAT_S`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from db import runs, views
from db.changes import TRAITS, config_now, name_of, trait_of, with_trait
from db.errors import ConfigError
from db.records import Caps, Change, Run
from orchestrator.config import RunConfig, explain, of_recipe, parse_set, present_config
from workers.config import NUSD_PER_USD, Role

Wanted = Mapping[str, float | None]

ENDED = ("done", "stopped", "cancelled")
# Each cap: its place in `Caps`, how many of that unit are one, and the most of it that makes sense.
_CAPS = {
    "max_calls": ("calls", 1, 10**12),
    "max_tokens": ("tokens", 1, 10**15),
    "max_usd": ("nusd", NUSD_PER_USD, 10**8),
    "max_hours": ("seconds", 3600, 10**5),
}


def change(connection: Connection, run: Run, wanted: Wanted) -> tuple[Change, ...]:
    """Changes what is not so already, all or nothing, and returns what that was.

    Raises:
        ConfigError: the run has ended, there is no such setting, a value is out of its range, or a cap is below what
            the run has used and reserved.
    """
    run = runs.lock(connection, run.id)
    refuse_ended(run)
    _refuse_unknown(run, wanted)
    before, after = present_config(run), _configured(run, wanted)
    caps = caps_of({what: value for what, value in wanted.items() if what in _CAPS}, onto=run.caps)
    check_caps(run, caps)
    _check_money(connection, run, caps, before, after)
    traits = [place for what in wanted if (place := trait_of(what))]
    found = {name_of(*place): (_trait(before, *place), _trait(after, *place)) for place in traits}
    changed = {**cap_changes(run.caps, caps), **{what: pair for what, pair in found.items() if pair[0] != pair[1]}}
    return runs.change(connection, run.id, caps, changed) if changed else ()


def refuse_ended(run: Run) -> None:
    """Raises ConfigError for a run that nothing can be changed of any more."""
    if run.status in ENDED:
        more = "; give `run` another --name and a higher cap" if run.status == "stopped" else ""
        raise ConfigError(f"run {run.name!r} has ended ({run.status}){more}")


# -- caps


def caps_of(wanted: Wanted, *, onto: Caps | None = None) -> Caps:
    """These caps, in place of those that were there. Raises ConfigError for a value out of its range."""
    found: dict[str, Any] = {}
    for what, value in wanted.items():
        unit, each, most = _CAPS[what]
        if value is not None and not 0 < value <= most:
            raise ConfigError(f"{_option(what)} {value}: must be above 0 and at most {most:,}")
        if value is not None and each == 1 and value != int(value):
            raise ConfigError(f"{_option(what)} {value}: must be a whole number")
        found[unit] = value if value is None else value * each if unit == "seconds" else round(value * each)
    return replace(onto or Caps(), **found)


def check_caps(run: Run, caps: Caps) -> None:
    """Raises ConfigError for a cap below what the run has used and reserved."""
    used = run.reserved + run.spent
    for word, cap, amount in (("calls", caps.calls, used.calls), ("tokens", caps.tokens, used.tokens)):
        if cap is not None and cap < amount:
            raise ConfigError(f"--max-{word} {cap}: run {run.name} has already used or reserved {amount}")
    if caps.seconds is not None and caps.seconds < run.driven_s:
        raise ConfigError(f"--max-hours: run {run.name} has already been driven for {run.driven_s / 3600:.2f} hours")
    if caps.nusd is not None and caps.nusd < used.nusd:
        raise ConfigError(f"--max-usd: run {run.name} has already used or reserved {used.nusd / NUSD_PER_USD:.6f}")


def cap_changes(before: Caps, after: Caps) -> dict[str, tuple[float | None, float | None]]:
    """What differs, by its name, each with its value before and after."""
    found = {what: (_shown(before, what), _shown(after, what)) for what in _CAPS}
    return {what: pair for what, pair in found.items() if pair[0] != pair[1]}


def _shown(caps: Caps, what: str) -> float | None:
    unit, each, _ = _CAPS[what]
    value: float | None = getattr(caps, unit)
    return value if value is None or each == 1 else value / each


def _option(what: str) -> str:
    return f"--{what.replace('_', '-')}"


# -- endpoints


def _configured(run: Run, wanted: Wanted) -> RunConfig:
    config = config_now(run)
    for what, value in wanted.items():
        if place := trait_of(what):
            config = with_trait(config, *place, value)
    model = of_recipe(run.recipe)
    try:
        return model.model_validate(config)
    except ValidationError as error:
        raise ConfigError(explain(error, model)) from None


def _trait(config: RunConfig, endpoint: str, trait: str) -> float | None:
    value: float | None = getattr(config.work.endpoints[endpoint], trait)
    return value


def _refuse_unknown(run: Run, wanted: Wanted) -> None:
    endpoints = run.config["work"]["endpoints"]
    for what in wanted:
        endpoint, trait = trait_of(what) or ("", "")
        if what in _CAPS:
            continue
        if not endpoint:
            raise ConfigError(
                f"{what!r} cannot be changed while a run is on: {', '.join(map(_option, _CAPS))}, and "
                f"{name_of('NAME', '')}{{{','.join(TRAITS)}}}"
            )
        if endpoint not in endpoints:
            raise ConfigError(f"run {run.name!r} has no endpoint {endpoint!r}; it has {', '.join(sorted(endpoints))}")
        if trait not in TRAITS:
            raise ConfigError(f"{what}: cannot be changed while a run is on; of an endpoint {', '.join(TRAITS)} can")


def _check_money(connection: Connection, run: Run, caps: Caps, before: RunConfig, after: RunConfig) -> None:
    """A cap on money holds only where every price is known, of what was paid for and is being asked already, too."""
    if caps.nusd is None:
        return
    if not after.work.priced:
        unknown = sorted({after.work.role(role).endpoint for role in Role if not after.work.endpoint(role).priced})
        raise ConfigError(
            f"a cap on money needs prices: set endpoints.{unknown[0]}.usd_per_million_in and usd_per_million_out"
        )
    asked = bool(run.reserved.calls) and not before.work.priced
    if run.caps.nusd is None and (asked or views.call_sums(connection, run.id)["nusd"] is None):
        raise ConfigError(f"--max-usd: run {run.name} has paid for calls whose price is not known: cap its calls")


# -- as users write it


def wanted_of(caps: Mapping[str, str | None], options: Sequence[str]) -> dict[str, float | None]:
    """What was given of the caps, and of `--set` options, as numbers. Raises ConfigError for what is none."""
    wanted = {what: number_of(_option(what), text) for what, text in caps.items() if text is not None}
    for option in options:
        path, value = parse_set(option)
        what = ".".join(path)
        wanted[what] = number_of(what, str(value))
    return wanted


def number_of(name: str, text: str) -> float | None:
    """A number, a whole one as such; None for the word `none`. Raises ConfigError for anything else."""
    plain = text.strip().lower()
    if plain == "none":
        return None
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        return float(plain)
    except ValueError:
        raise ConfigError(f"{name} {text!r}: expected a number, or none for no limit") from None
