"""Looking at the model endpoints of a run before anything is spent on it."""

import asyncio
from collections.abc import Mapping

from db.errors import ConfigError
from workers.config import ANY_MODEL, Endpoint, Role, WorkSettings
from workers.llm.address import address_of, addresses
from workers.llm.probe import probe

_LISTED = 5


def check_endpoints(work: WorkSettings, environment: Mapping[str, str]) -> WorkSettings:
    """Asks every endpoint that a role names whether it is there, takes our key and has the model; spends nothing.

    Returns the settings with each model named.

    Raises:
        ServiceError: an endpoint cannot be reached, refuses the key, or does not have the model.
        ConfigError: no model is named where several are offered.
    """
    book = addresses(environment)
    used = {work.role(role).endpoint for role in Role}
    named = {
        name: _named(name, endpoint, asyncio.run(probe(address_of(book, name), endpoint)).models)
        if name in used
        else endpoint
        for name, endpoint in work.endpoints.items()
    }
    return work.model_copy(update={"endpoints": named})


def _named(name: str, endpoint: Endpoint, offered: tuple[str, ...]) -> Endpoint:
    if endpoint.model != ANY_MODEL:
        return endpoint
    if len(offered) == 1:
        return endpoint.model_copy(update={"model": offered[0]})
    listed = f" such as {', '.join(offered[:_LISTED])}" if offered else ""
    raise ConfigError(f"endpoint {name!r} offers {len(offered)} models{listed}: name one with OPENAI_MODEL")
