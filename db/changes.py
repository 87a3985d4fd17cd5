"""What of a run may be changed while it is on, and its configuration with the changes applied, for both rooms. Pure.

What a run was begun with stays as it was, with its hash; its changes are kept beside it (`Run.changes`). Caps are in
columns of their own, which a change sets; of the configuration only these traits of endpoints can be changed, because
no text, score or choice depends on them. Changes of a run's status are kept among them, and are no settings.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from db.records import Change, Json, Pause, Run

TRAITS = ("concurrency", "requests_per_minute", "tokens_per_minute", "usd_per_million_in", "usd_per_million_out")
STATUS = "status"
_BEGINS = "endpoints."


def settings_changed(stored: Iterable[Json]) -> tuple[Change, ...]:
    """Of the changes that are kept of a run, those of its settings."""
    return tuple(
        Change(at=_moment(one), what=one["what"], before=one["from"], after=one["to"])
        for one in stored
        if one["what"] != STATUS
    )


def pauses(stored: Iterable[Json]) -> tuple[Pause, ...]:
    """Of the changes that are kept of a run, those of its status, as the times in which it was paused."""
    steps = [one for one in stored if one["what"] == STATUS]
    return tuple(
        Pause(begin=_moment(step), end=_moment(after) if after else None, reason=step["reason"])
        for step, after in pairwise([*steps, None])
        if step and step["to"] == "paused"
    )


def _moment(stored: Json) -> datetime:
    return datetime.fromisoformat(stored["at"])


def name_of(endpoint: str, trait: str) -> str:
    """What a change of this trait is called."""
    return f"{_BEGINS}{endpoint}.{trait}"


def trait_of(what: str) -> tuple[str, str] | None:
    """The endpoint and the trait that a change is about; None for one of a cap."""
    endpoint, _, trait = what.removeprefix(_BEGINS).rpartition(".")
    return (endpoint, trait) if what.startswith(_BEGINS) else None


def config_now(run: Run) -> Json:
    """The configuration of a run as it is now: whoever works by it reads it here."""
    config = run.config
    for change in run.changes:
        if place := trait_of(change.what):
            config = with_trait(config, *place, change.after)
    return config


def endpoints_now(run: Run) -> Mapping[str, Json]:
    """The endpoints of a run by name, with their traits as they are now."""
    found: Mapping[str, Json] = config_now(run).get("work", {}).get("endpoints", {})
    return found


def with_trait(config: Json, endpoint: str, trait: str, value: float | None) -> Json:
    """The configuration with another value for one trait; the one given is left as it is."""
    work: Mapping[str, Any] = config["work"]
    endpoints = {**work["endpoints"], endpoint: {**work["endpoints"][endpoint], trait: value}}
    return {**config, "work": {**work, "endpoints": endpoints}}
