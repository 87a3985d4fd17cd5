"""Where endpoints are and which key opens them: from this machine's own environment, never from a run."""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from db.environment import ALLOW_HTTP, read
from db.errors import ConfigError, ServiceError

BASE_URL = "OPENAI_BASE_URL"
API_KEY = "OPENAI_API_KEY"
CONFIG = "INSTRUCTREE_CONFIG"
DEFAULT = "default"
# Where the key alone points to, as in every program that uses these variables.
_OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A base URL, and the key for it, which no repr shows."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)


def addresses_from_environment() -> Mapping[str, Address]:
    """`addresses` of this process's own environment."""
    return addresses(os.environ)


def addresses(environment: Mapping[str, str]) -> Mapping[str, Address]:
    """All endpoints that this machine has an address for, by name.

    `default` is OPENAI_BASE_URL with OPENAI_API_KEY (or the file named by OPENAI_API_KEY_FILE); further ones, and a
    default in their absence, are the tables [endpoints.NAME] of the TOML file that INSTRUCTREE_CONFIG names, with
    `base_url` and `api_key_env`, the name of the variable that holds the key.

    Raises:
        ConfigError: a value that cannot be used.
    """
    found = _from_file(environment)
    base_url, key = environment.get(BASE_URL, "").strip(), _key(API_KEY, environment)
    if base_url or (key and DEFAULT not in found):
        found[DEFAULT] = _address(base_url or _OPENAI, key, BASE_URL, environment)
    return found


def address_of(book: Mapping[str, Address], name: str) -> Address:
    """The address of the endpoint of this name.

    Raises:
        ServiceError: there is none; the message says what to set.
    """
    if name in book:
        return book[name]
    if name == DEFAULT:
        raise ServiceError(
            f"no model endpoint: set {BASE_URL} (and {API_KEY} if it wants a key), or start the local one with"
            " `instructree up`"
        )
    raise ServiceError(
        f"endpoint {name!r} has no address on this machine: add base_url under [endpoints.{name}] to the TOML file that"
        f" {CONFIG} names"
    )


def _from_file(environment: Mapping[str, str]) -> dict[str, Address]:
    path = environment.get(CONFIG)
    if not path:
        return {}
    found: dict[str, Address] = {}
    for name, table in _tables(path).items():
        place = f"{path}: endpoints.{name}"
        base_url = table.get("base_url")
        if base_url is None:
            continue
        if not isinstance(base_url, str):
            raise ConfigError(f"{place}.base_url must be a text in quotes")
        found[name] = _address(base_url, _named_key(table, place, environment), f"{place}.base_url", environment)
    return found


def _tables(path: str) -> dict[str, dict[str, Any]]:
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{CONFIG}: {path} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {str(error).splitlines()[0]}") from None
    tables = data.get("endpoints", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{path}: endpoints must be tables, as in [endpoints.judge]")
    return tables


def _named_key(table: Mapping[str, Any], place: str, environment: Mapping[str, str]) -> str | None:
    if "api_key" in table:
        raise ConfigError(f"{place}.api_key: keys do not belong in files; name the variable with it as api_key_env")
    variable = table.get("api_key_env")
    if variable is None:
        return None
    if not isinstance(variable, str):
        raise ConfigError(f"{place}.api_key_env must be the name of a variable")
    key = _key(variable, environment)
    if key is None:
        raise ConfigError(f"{place}.api_key_env names {variable}, which is not set: set it, or {variable}_FILE")
    return key


def _key(variable: str, environment: Mapping[str, str]) -> str | None:
    key = (read(variable, environment) or "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"{variable} holds characters that no key has: copy it again")
    return key


def _address(base_url: str, key: str | None, place: str, environment: Mapping[str, str]) -> Address:
    """Messages name the place and never quote the address: it might hold a password."""
    url = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isprintable() or " " in url:
        raise ConfigError(f"{place} is no address of a model server: expected something like http://127.0.0.1:8080/v1")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{place} holds a user name or password: put the key into {API_KEY} or api_key_env instead")
    if parts.query or parts.fragment:
        raise ConfigError(f"{place} must end with the path, without ? or #")
    if parts.scheme == "http" and not is_loopback(host) and environment.get(ALLOW_HTTP) != "1":
        raise ConfigError(
            f"{place}: plain http to {host} would send prompts and key in the clear; use https, or set {ALLOW_HTTP}=1"
            " on a network you trust"
        )
    return Address(base_url=url, api_key=key)


def is_loopback(host: str) -> bool:
    """Whether this host is this machine, by its name or number alone; nothing is looked up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
