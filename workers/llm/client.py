"""The client: one HTTP client per endpoint and event loop, with nothing left to its own devices.

The library would retry twice, follow redirects, read for ten minutes and take proxies from the environment; all of that
is decided here or by the gateway. It is used for transport and authentication only: answers are read by `wire`, because
servers differ in their shapes and a limit on size has to come before the parser.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Protocol
from weakref import WeakKeyDictionary

import aiohttp
import httpx2
import openai

from workers.llm.address import DEFAULT, Address, address_of
from workers.llm.errors import CallRefused, Unreadable
from workers.llm.request import Request, Response
from workers.llm.scrub import one_line
from workers.llm.sorting import Compressed, TooLarge, sort_error
from workers.llm.wire import body, path, read_response

CONNECT_S = 10.0
MOST_BYTES = 8 * 1024 * 1024
_CONNECTIONS = 1000
# Newer models of OpenAI refuse `max_tokens`, older servers do not know its successor; the first refusal tells.
_NEW_NAME = "max_completion_tokens"


# It logs the address of every request at level INFO, which some libraries switch on for everybody.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class ModelClient(Protocol):
    """Asks one question once."""

    async def complete(self, request: Request) -> Response:
        """Raises ModelError when there is no answer, ServiceError when the endpoint has no address here."""
        ...

    async def close(self) -> None: ...


class OpenAIClient:
    """Any OpenAI-compatible server. Safe for one event loop or several, each with connections of its own."""

    def __init__(self, book: Mapping[str, Address]) -> None:
        self._book = book
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Line]] = WeakKeyDictionary()
        self._wants_new_name: set[str] = set()

    async def complete(self, request: Request) -> Response:
        address = address_of(self._book, request.endpoint)
        line = self._line(request.endpoint, address)
        try:
            return await self._ask(line, request, address)
        except CallRefused as error:
            if _NEW_NAME not in str(error) or request.endpoint in self._wants_new_name:
                raise
        self._wants_new_name.add(request.endpoint)
        return await self._ask(line, request, address)

    async def _ask(self, line: "Line", request: Request, address: Address) -> Response:
        begun = time.monotonic()
        content = await post(line, path(request.style), self._body(request), request, address)
        latency_s = time.monotonic() - begun
        try:
            return read_response(content, request, latency_s=latency_s)
        except ValueError as error:
            why = one_line(str(error), limit=80)
            raise Unreadable(f"endpoint {request.endpoint!r} answered something unreadable: {why}") from None

    def _body(self, request: Request) -> dict[str, object]:
        made = body(request)
        if request.endpoint in self._wants_new_name and "messages" in made:
            made[_NEW_NAME] = made.pop("max_tokens")
        return made

    def _line(self, name: str, address: Address) -> "Line":
        mine = self._open.setdefault(asyncio.get_running_loop(), {})
        if name not in mine:
            mine[name] = Line(open_client(name, address))
        return mine[name]

    async def close(self) -> None:
        """Closes the connections of the running event loop."""
        for line in self._open.pop(asyncio.get_running_loop(), {}).values():
            await line.client.close()


class Line:
    """One endpoint's client, with what all of its requests have in common.

    Left to itself the library makes address, headers and options anew for each call, and looks after retries, redirects
    and cookies that there are not to be: more than all the rest of a call (`make bench`). So what it would send is
    worked out once, and goes through its own transport.
    """

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self.client = client
        self._transport = client._client._transport
        self._timeouts = {"timeout": client._client.timeout.as_dict()}
        self._addresses: dict[str, httpx2.URL] = {}
        given = {**client.auth_headers, **client.default_headers}
        self._headers = httpx2.Headers({name: value for name, value in given.items() if isinstance(value, str)})
        _ = self._headers.encoding  # which is found out once, if it is asked for before they are used

    async def send(self, place: str, content: bytes) -> bytes:
        """One POST of a JSON body, as the library would send it; the body of what is answered.

        Raises:
            openai.APIStatusError: the endpoint answered with anything but a success.
            httpx2.HTTPError: it did not answer; and whatever else its transport lets through.
            TooLarge, Compressed: the answer is none that is taken.
        """
        stream = httpx2.ByteStream(content)
        request = httpx2.Request("POST", self._address(place), stream=stream, extensions=self._timeouts)
        request.read()
        request.headers = self._headers
        response = await self._transport.handle_async_request(request)
        try:
            _check_length(response)
            answered = await _whole(response)
        finally:
            await response.aclose()
        if not response.is_success:
            raise _refused(request, response, answered)
        return answered

    def _address(self, place: str) -> httpx2.URL:
        if place not in self._addresses:
            self._addresses[place] = self.client.base_url.join(place.removeprefix("/"))
        return self._addresses[place]


def _refused(request: httpx2.Request, response: httpx2.Response, content: bytes) -> openai.APIStatusError:
    """The library's error for an answer that is none, with what the server says in it."""
    whole = httpx2.Response(response.status_code, headers=response.headers, content=content, request=request)
    body: object = whole.text.strip()
    with suppress(ValueError, RecursionError):
        body = json.loads(content)
    inner = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(f"Error code: {whole.status_code}", response=whole, body=inner)


def open_client(name: str, address: Address, *, timeout_s: float | None = None) -> openai.AsyncOpenAI:
    """A client that neither retries, redirects, nor reads proxies from the environment.

    `timeout_s` bounds each wait for data; whole calls have a deadline of their own.
    """
    timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
    transport = openai.DefaultAioHttpClient(
        follow_redirects=False,
        trust_env=False,
        timeout=timeout,
        limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [_bound]},
    )
    client = openai.AsyncOpenAI(
        base_url=address.base_url,
        api_key=address.api_key or "none",  # the library wants one; a server without keys does not look
        max_retries=0,
        timeout=timeout,
        http_client=transport,
        default_headers={"Accept-Encoding": "identity"},
    )
    client.admin_api_key = None
    if name != DEFAULT:
        # OPENAI_ORG_ID, _PROJECT_ID and _CUSTOM_HEADERS belong to the default endpoint; no other may see them.
        client.organization = client.project = None
        client._custom_headers = {"Accept-Encoding": "identity"}
    return client


async def post(line: Line, place: str, content: dict[str, object], request: Request, address: Address) -> bytes:
    """One POST under the request's deadline. Raises ModelError."""
    try:
        async with asyncio.timeout(request.timeout_s):
            return await line.send(place, _encoded(content))
    except FAILURES as error:
        raise sort_error(error, request.endpoint, secret=address.api_key) from None


def _encoded(content: dict[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


# What the library and its transport raise; the transport lets some of aiohttp's own through.
FAILURES = (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError, ValueError, TooLarge, Compressed)


async def _bound(response: httpx2.Response) -> None:
    """Holds a response that the library reads to its limit, whatever length it announces or hides."""
    _check_length(response)
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


def _check_length(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Compressed
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > MOST_BYTES:
        raise TooLarge(f"{announced[:20]} bytes, at most {MOST_BYTES}")


async def _whole(response: httpx2.Response) -> bytes:
    """The body, as far as it is within the limit."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    return b"".join([chunk async for chunk in _Bounded(response.stream)])


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        async for chunk in self._inner:
            taken += len(chunk)
            if taken > MOST_BYTES:
                raise TooLarge(f"more than {MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
