"""A look at an endpoint before anything is spent: is it there, is the key right, has it the model?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import openai

from db.errors import ServiceError
from workers.config import Endpoint
from workers.llm.address import API_KEY, BASE_URL, CONFIG, DEFAULT, Address
from workers.llm.client import FAILURES, open_client
from workers.llm.errors import (
    CallRefused,
    ModelError,
    ModelMissing,
    QuotaSpent,
    RateLimited,
    RetryLater,
    ServerFault,
    Unauthorized,
)
from workers.llm.scrub import scrub
from workers.llm.sorting import sort_error
from workers.llm.wire import path

_DEADLINE_S = 15.0
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What an endpoint said. `models` is empty when it does not list them."""

    models: tuple[str, ...]


async def probe(address: Address, traits: Endpoint, *, name: str = DEFAULT) -> Probe:
    """Lists the models, then sends an empty body to the path that will be used.

    Every server rejects that body, but only after it has looked at the key, so a wrong one shows at no cost.

    Raises:
        ServiceError: it cannot be reached, does not take the key, or does not have the model.
    """
    client = open_client(name, address, timeout_s=_DEADLINE_S)
    try:
        models = await _models(client, address, name)
        _check_model(models, traits.model, address, name)
        await _knock(client, address, traits, name, listed=bool(models))
    finally:
        await client.close()
    return Probe(models=models)


async def list_models(address: Address, *, name: str = DEFAULT) -> tuple[str, ...]:
    """The models an endpoint lists, none if it does not list them. Raises ServiceError like `probe`."""
    client = open_client(name, address, timeout_s=_DEADLINE_S)
    try:
        return await _models(client, address, name)
    finally:
        await client.close()


async def _models(client: openai.AsyncOpenAI, address: Address, name: str) -> tuple[str, ...]:
    try:
        response = await client.get("/models", cast_to=httpx2.Response)
    except FAILURES as error:
        failure = sort_error(error, name, secret=address.api_key)
        if isinstance(failure, ModelMissing | CallRefused):
            return ()  # some servers list nothing
        raise _told(failure, address, name) from None
    try:
        data = json.loads(response.content)
        listed = data["data"] if isinstance(data, dict) else data
        return tuple(scrub(item["id"]) for item in listed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()


def _check_model(models: Sequence[str], model: str, address: Address, name: str) -> None:
    """Exact names, or the end of one that is written with its folder (`models/NAME`, llama.cpp's file paths)."""
    if not models or any(listed == model or listed.endswith(f"/{model}") for listed in models):
        return
    shown = ", ".join(sorted(models)[:_SHOWN]) + (f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else "")
    raise ServiceError(
        f"endpoint {name!r} at {_place(address)} has no model {model!r}; it offers {shown}:"
        f" set endpoints.{name}.model to one of them"
    )


async def _knock(client: openai.AsyncOpenAI, address: Address, traits: Endpoint, name: str, *, listed: bool) -> None:
    try:
        await client.post(path(traits.style), body={}, cast_to=httpx2.Response)
    except FAILURES as error:
        failure = sort_error(error, name, secret=address.api_key)
        # A refusal of the empty body is what we came for; a busy endpoint will do, and so will one that stumbles over
        # the body after it has listed its models.
        if isinstance(failure, CallRefused | RateLimited) or (listed and isinstance(failure, ServerFault)):
            return
        raise _told(failure, address, name) from None


def _told(failure: ModelError, address: Address, name: str) -> ServiceError:
    variable = BASE_URL if name == DEFAULT else f"endpoints.{name}.base_url in the file that {CONFIG} names"
    where = f"endpoint {name!r} at {_place(address)}"
    if isinstance(failure, Unauthorized):
        given = "does not take this API key" if address.api_key else "wants an API key"
        key = API_KEY if name == DEFAULT else f"the variable that endpoints.{name}.api_key_env names"
        return ServiceError(f"{where} {given}: set {key}")
    if isinstance(failure, QuotaSpent):
        return ServiceError(f"{where} has nothing left on this account: top it up, or point {variable} to another")
    if isinstance(failure, ModelMissing):
        return ServiceError(f"{where} does not know the path: {variable} usually ends with /v1")
    cause = str(failure)
    if isinstance(failure, RetryLater):
        return ServiceError(f"{where} is not ready ({cause}): start it, or point {variable} to one that is")
    return ServiceError(f"{where} cannot be used ({cause}): point {variable} to another")


def _place(address: Address) -> str:
    parts = urlsplit(address.base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
