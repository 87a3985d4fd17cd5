"""docker-compose.yml as compose reads it: what stands in .env is filled in."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.programs import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: Mapping[str, Any] = yaml.safe_load(TEXT)
SERVICES: Mapping[str, Any] = COMPOSE["services"]
# `${NAME}` with `:-default`, `:?cause` or `:+instead`, in which such a place may stand once more.
_PLACE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<sign>[-?+])(?P<word>(?:\$\{[^{}]*\}|[^{}])*))?\}")


class Unset(Exception):
    """Compose would stop here, with this message."""


def filled(value: str, given: Mapping[str, str]) -> str:
    """Raises Unset where one that must be given is not; compose looks into defaults that are not used, too."""

    def one(place: re.Match[str]) -> str:
        if place["name"] is None:
            return "$"
        told, word = given.get(place["name"], ""), filled(place["word"] or "", given)
        if place["sign"] == "+":
            return word if told else ""
        if place["sign"] == "?" and not told:
            raise Unset(f"{place['name']}: {word}")
        return told or word

    return _PLACE.sub(one, value)


def command(service: str, given: Mapping[str, str]) -> list[str]:
    """The arguments that the service is started with."""
    return [filled(argument, given) for argument in SERVICES[service]["command"]]


def environment(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that the file itself gives the service."""
    return {name: filled(value, given) for name, value in SERVICES[service]["environment"].items()}
