"""The form of what can be changed while a run is on: what it shows, and what of a sent one was changed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.changes import TRAITS, config_now, name_of
from db.errors import ConfigError
from db.records import Run
from orchestrator.changing import Wanted, number_of
from orchestrator.console.figures import cap_lines
from orchestrator.report.text import shorten

_LABELS = {
    "calls": "calls",
    "tokens": "tokens",
    "usd": "dollars",
    "hours": "hours",
    "concurrency": "requests at once",
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "usd_per_million_in": "dollars a million tokens in",
    "usd_per_million_out": "dollars a million tokens out",
}
_NEW, _OLD = "set.", "was."


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One setting by its name in `orchestrator.changing`; an empty value is no limit, or a price that is not known."""

    name: str
    label: str
    value: str

    @property
    def new(self) -> str:
        return _NEW + self.name

    @property
    def old(self) -> str:
        return _OLD + self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    title: str
    fields: tuple[Field, ...]


def groups_of(run: Run) -> list[Group]:
    """The caps of a run, and the traits of each of its endpoints, as they are now."""
    caps = tuple(Field(name=f"max_{c.unit}", label=_LABELS[c.unit], value=typed(c.limit)) for c in cap_lines(run))
    endpoints = config_now(run)["work"]["endpoints"]
    return [
        Group(title="Caps of the run", fields=caps),
        *(
            Group(
                title=f"Endpoint {endpoint}",
                fields=tuple(
                    Field(name=name_of(endpoint, trait), label=_LABELS[trait], value=typed(traits.get(trait)))
                    for trait in TRAITS
                ),
            )
            for endpoint, traits in sorted(endpoints.items())
        ),
    ]


def typed(value: float | None) -> str:
    """A limit or price as it is typed in, to the billionth; nothing where there is none."""
    return "" if value is None else f"{value:.9f}".rstrip("0").rstrip(".")


def wanted_in(form: Mapping[str, str]) -> Wanted:
    """What differs from what the form showed when it was opened: what others changed meanwhile is left alone.

    Raises:
        ConfigError: something is no number.
    """
    names = [name.removeprefix(_NEW) for name in form if name.startswith(_NEW)]
    changed = {name: form[_NEW + name].strip() for name in names if form[_NEW + name].strip() != form.get(_OLD + name)}
    return {name: number_of(_called(name), value) if value else None for name, value in changed.items()}


def _called(name: str) -> str:
    return _LABELS.get(name.removeprefix("max_"), name)


def slots_in(form: Mapping[str, str], most: int) -> int:
    """How many slots a form wants. Raises ConfigError where that is no number of slots."""
    text = form.get("slots", "").strip()
    slots = whole_in(text, most)
    if slots is None:
        raise ConfigError(f"slots {shorten(text, 40)!r}: expected a whole number from 1 to {most}")
    return slots


def whole_in(text: str, most: int) -> int | None:
    """The whole number from 1 to `most` that a text is; None for anything else, however long."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if 1 <= number <= most else None
