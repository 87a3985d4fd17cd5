"""What of a run may be changed while it is on, and its configuration with the changes applied, for both rooms. Pure.

What a run was begun with stays as it was, with its hash; its changes are kept beside it (`Run.changes`). Caps are in
columns of their own, which a change sets; of the configuration only these traits of endpoints can be changed, because
no text, score or choice depends on them.
"""

from collections.abc import Mapping
from typing import Any

from db.records import Json, Run

TRAITS = ("concurrency", "requests_per_minute", "tokens_per_minute", "usd_per_million_in", "usd_per_million_out")
_BEGINS = "endpoints."


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


def with_trait(config: Json, endpoint: str, trait: str, value: float | None) -> Json:
    """The configuration with another value for one trait; the one given is left as it is."""
    work: Mapping[str, Any] = config["work"]
    endpoints = {**work["endpoints"], endpoint: {**work["endpoints"][endpoint], trait: value}}
    return {**config, "work": {**work, "endpoints": endpoints}}
