"""Looking at the model endpoints of a run before anything is spent on it, and at the settings of workers."""

import asyncio
from collections.abc import Callable, Mapping

from db.errors import ConfigError
from db.guard import Finding
from workers.asking import Answer
from workers.config import ANY_MODEL, Bench, Endpoint, Role, WorkSettings
from workers.judges.start import fit_judges
from workers.llm.address import Address, address_of, addresses
from workers.llm.call import call_for
from workers.llm.client import OpenAIClient
from workers.llm.gateway import Gateway
from workers.llm.ledger import MemoryLedger
from workers.llm.probe import list_models, probe
from workers.prompting import Prompt

_LISTED = 5
Say = Callable[[str], None]


def _nobody(line: str) -> None:
    """Whom nothing needs to be said."""


def check_worker_settings() -> Finding:
    """What a worker of this program would run with. Raises ConfigError when it would break a law."""
    from workers import app

    return app.check_settings()


def check_endpoints(
    work: WorkSettings, environment: Mapping[str, str], *, bench: Bench | None = "search", say: Say = _nobody
) -> WorkSettings:
    """Asks every endpoint that a role names whether it is there, takes our key and has the model.

    Nothing is spent, but for one token a dimension that is scored by log-probabilities: nothing else shows whether they
    are given. Returns the settings with each model named, and with a rubric for each dimension without them if that is
    configured; `say` is told. `bench` None: nothing will be judged.

    Raises:
        ServiceError: an endpoint cannot be reached, refuses the key, or does not have the model.
        ConfigError: no model is named where several are offered, or a judge cannot score here.
    """
    return asyncio.run(_check_all(work, addresses(environment), bench, say))


async def _check_all(work: WorkSettings, book: Mapping[str, Address], bench: Bench | None, say: Say) -> WorkSettings:
    checked = await _check(work, book)
    return checked if bench is None else await _fit(checked, book, bench, say)


async def _fit(checked: WorkSettings, book: Mapping[str, Address], bench: Bench, say: Say) -> WorkSettings:
    gateway = Gateway(OpenAIClient(book), MemoryLedger())

    async def ask(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        return await gateway.call(call_for(checked, role, prompt, sample=sample))

    try:
        fitting, fallen = await fit_judges(checked, ask, bench)
    finally:
        await gateway.close()
    for line in fallen:
        say(line)
    return fitting


async def _check(work: WorkSettings, book: Mapping[str, Address]) -> WorkSettings:
    checked = dict(work.endpoints)
    for name in {work.role(role).endpoint for role in Role}:
        address = address_of(book, name)
        checked[name] = await _named(work.endpoints[name], address, name)
        await probe(address, checked[name], name=name)
    return work.model_copy(update={"endpoints": checked})


async def _named(endpoint: Endpoint, address: Address, name: str) -> Endpoint:
    """The endpoint with its model, which is the only one it offers where none was named."""
    if endpoint.model != ANY_MODEL:
        return endpoint
    offered = await list_models(address, name=name)
    if len(offered) == 1:
        return endpoint.model_copy(update={"model": offered[0]})
    if not offered:
        raise ConfigError(
            f"endpoint {name!r} lists no models: see that its address is right (it usually ends with /v1), "
            "or name the model with OPENAI_MODEL"
        )
    listed = ", ".join(offered[:_LISTED])
    raise ConfigError(f"endpoint {name!r} offers {len(offered)} models such as {listed}: name one with OPENAI_MODEL")
