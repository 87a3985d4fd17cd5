"""Where the services are: variables of the environment, or files that they name (`<variable>_FILE`, for secrets)."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from db.errors import ConfigError, ServiceError

DATABASE = "INSTRUCTREE_DATABASE_URL"
REDIS = "INSTRUCTREE_REDIS_URL"
# Of the hints alone, where they do not go through the same server.
BROKER = "INSTRUCTREE_BROKER_URL"
# Leave to speak plain http beyond this machine.
ALLOW_HTTP = "INSTRUCTREE_ALLOW_HTTP"


def read(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The variable's value, or the text of the file that `<name>_FILE` names; None when neither is set.

    Raises:
        ConfigError: the file cannot be read.
    """
    found = os.environ if environment is None else environment
    if value := found.get(name):
        return value
    if not (path := found.get(f"{name}_FILE")):
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE: {path} cannot be read ({type(error).__name__})") from None


def passwords(urls: Iterable[str | None]) -> set[str]:
    """What is secret in these addresses."""
    found = (urlsplit(url).password for url in urls if url)
    return {unquote(password) for password in found if password}


def database_url() -> str:
    """Raises ServiceError when no database is named."""
    return _required(DATABASE, "database", "a running Postgres")


def redis_url() -> str:
    """Where the limiter of all workers is. Raises ServiceError when none is named."""
    return _required(REDIS, "broker", "a running Valkey or Redis")


def broker_url() -> str:
    """Where hints go: to the same server, unless another is named. Raises ServiceError when there is none."""
    return read(BROKER) or redis_url()


def _required(name: str, what: str, instead: str) -> str:
    url = read(name)
    if url is None:
        raise ServiceError(f"no {what}: start one with `instructree up`, or point {name} to {instead}")
    return url
