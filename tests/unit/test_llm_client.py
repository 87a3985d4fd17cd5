"""The client against real servers on loopback, well-behaved and hostile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from db.errors import Retry, ServiceError
from workers.config import Style
from workers.llm.address import Address
from workers.llm.client import MOST_BYTES, OpenAIClient
from workers.llm.errors import (
    AnswersCompressed,
    AnswerTooLarge,
    BrokenOff,
    CallRefused,
    ConnectionFailed,
    EndpointBroken,
    ModelError,
    ModelMissing,
    QuotaSpent,
    RateLimited,
    ServerFault,
    TimedOut,
    Unauthorized,
    Unreadable,
)
from workers.llm.request import Message, Request
from workers.llm.scripted.faults import SeededPlan
from workers.llm.scripted.server import Script, ScriptedServer
from workers.llm.sorting import retry_after_s

KEY = "sk-canary-0123456789"
CHAT = Request(
    endpoint="default",
    model="scripted",
    style=Style.CHAT,
    messages=(Message(role="user", content="Hello."),),
    timeout_s=5,
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server whose every answer is the handler's."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(base_url: str, key: str | None = KEY, name: str = "default") -> AsyncIterator[OpenAIClient]:
    client = OpenAIClient({name: Address(base_url=base_url, api_key=key)})
    try:
        yield client
    finally:
        await client.close()


def failure(handler: Handler, request: Request = CHAT) -> ModelError:
    """What asking this server ends with."""

    async def ask() -> ModelError:
        async with serving(handler) as url, client_of(url) as client:
            with pytest.raises(ModelError) as caught:
                await client.complete(request)
            return caught.value

    return asyncio.run(ask())


def answering(status: int, body: object = None, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=named)
        return web.json_response(body, status=status, headers=named)

    return handler


def test_chat_completion_and_logprobs_of_the_scripted_model():
    async def ask() -> None:
        async with ScriptedServer(Script(key=KEY)) as server, client_of(server.base_url) as client:
            chat = await client.complete(CHAT)
            assert chat.text and chat.finish_reason == "stop" and chat.model == "scripted"
            assert chat.tokens_in > 0 and chat.tokens_out > 0 and chat.latency_s > 0
            scoring = Request(
                endpoint="default",
                model="scripted",
                style=Style.COMPLETION,
                prompt="Task: Sort it.\nQuality: ",
                max_tokens=1,
                logprobs=8,
            )
            scored = await client.complete(scoring)
            assert scored.top_logprobs is not None and len(scored.top_logprobs) == 8

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [
        (400, CallRefused, Retry.NEVER),
        (401, Unauthorized, Retry.FREE),
        (402, QuotaSpent, Retry.FREE),
        (403, Unauthorized, Retry.FREE),
        (404, ModelMissing, Retry.FREE),
        (408, TimedOut, Retry.COUNTED),
        (409, ServerFault, Retry.FREE),
        (413, CallRefused, Retry.NEVER),
        (418, CallRefused, Retry.NEVER),
        (422, CallRefused, Retry.NEVER),
        (429, RateLimited, Retry.FREE),
        (500, ServerFault, Retry.FREE),
        (501, EndpointBroken, Retry.FREE),
        (502, ServerFault, Retry.FREE),
        (503, ServerFault, Retry.FREE),
        (529, ServerFault, Retry.FREE),
    ],
)
def test_a_status_has_its_class(status: int, kind: type[ModelError], retry: Retry):
    found = failure(answering(status, {"error": {"message": "because\nof this"}}))
    assert type(found) is kind and found.retry is retry
    assert str(found).startswith(f"endpoint 'default' answered {status}: because of this")


def test_an_account_without_money_is_not_a_busy_endpoint():
    assert type(failure(answering(429, {"error": {"message": "m", "code": "insufficient_quota"}}))) is QuotaSpent


@pytest.mark.parametrize("headers", [{"Retry_After": "30000"}, {"x_ratelimit_remaining_requests": "0"}])
def test_a_quota_by_the_day_says_when_it_is_there_again(headers: dict[str, str]):
    reset = {"x_ratelimit_reset_requests": "8h20m"} if "Retry_After" not in headers else {}
    found = failure(answering(429, {"error": {"message": "requests per day"}}, **headers, **reset))
    assert type(found) is QuotaSpent
    assert "there again in 8 h 20 min" in str(found)


def test_retry_after_is_passed_on():
    found = failure(answering(429, {}, Retry_After="7"))
    assert isinstance(found, RateLimited) and found.retry_after_s == 7
    found = failure(answering(503, {}, retry_after_ms="1500"))
    assert isinstance(found, ServerFault) and found.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3.5"}, 3.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e300"}, 7 * 24 * 3600.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "junk", "retry-after": "2"}, 2.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6h3m0.5s"}, 21780.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "120ms"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "tomorrow"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None):
    assert retry_after_s(headers, now=100.0) == seconds


def test_nothing_is_retried_or_redirected_behind_our_back():
    seen: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        if request.path == "/v1/chat/completions":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        return web.json_response({})

    found = failure(handler)
    assert type(found) is EndpointBroken and "redirects are not followed" in str(found)
    assert seen == ["/v1/chat/completions"]
    seen.clear()

    async def failing(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.json_response({}, status=500)

    failure(failing)
    assert len(seen) == 1


def test_a_key_that_the_server_repeats_is_masked():
    found = failure(
        answering(401, {"error": {"message": f"Incorrect key {KEY}, header 'Authorization: Bearer {KEY}'"}})
    )
    assert KEY not in str(found) and "canary" not in str(found)
    assert "canary" not in str(failure(answering(500, f"trace: https://me:{KEY}@models.test/ sk-canary-other")))


def test_a_proxys_page_is_not_a_message():
    assert str(failure(answering(502, "<html>\n<body>Bad gateway</body></html>"))) == "endpoint 'default' answered 502"


def test_nobody_listens():
    async def ask() -> None:
        async with client_of("http://127.0.0.1:9/v1") as client:
            with pytest.raises(ConnectionFailed, match="cannot be reached"):
                await client.complete(CHAT)

    asyncio.run(ask())


def test_a_hanging_server_meets_the_deadline():
    async def ask() -> None:
        script = Script(plan=SeededPlan(hang_share=1.0))
        async with ScriptedServer(script) as server, client_of(server.base_url) as client:
            begun = time.monotonic()
            with pytest.raises(TimedOut):
                await client.complete(replace(CHAT, timeout_s=0.3))
            assert time.monotonic() - begun < 2

    asyncio.run(ask())


def test_a_server_that_drips_meets_the_deadline_too():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    assert type(failure(handler, replace(CHAT, timeout_s=0.3))) is TimedOut


def test_a_connection_that_breaks_off():
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    assert type(failure(handler)) is BrokenOff

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.abort()
        return response

    assert type(failure(half)) is BrokenOff


@pytest.mark.parametrize("text", ["", "{", "null", '{"choices": [{}]}', "<html></html>", "[" * 100_000])
def test_an_unreadable_answer_may_be_better_next_time(text: str):
    found = failure(answering(200, text))
    assert type(found) is Unreadable and "unreadable" in str(found)


def test_an_endless_answer_is_cut_short():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(MOST_BYTES // 65536 + 2):
            await response.write(b" " * 65536)
        return response

    found = failure(handler)
    assert type(found) is AnswerTooLarge and "more than can be taken" in str(found)
    announced = failure(answering(200, "x" * (MOST_BYTES + 1)))
    assert type(announced) is AnswerTooLarge and "more than can be taken" in str(announced)


def test_a_compressed_answer_is_refused_because_its_size_is_hidden():
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    assert type(failure(handler)) is AnswersCompressed


def test_an_endpoint_that_wants_the_newer_name_gets_it_from_then_on():
    seen: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        sent = await request.json()
        name = "max_tokens" if "max_tokens" in sent else "max_completion_tokens"
        seen.append(name)
        if name == "max_tokens":
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": message}}, status=400)
        return web.json_response({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})

    async def ask() -> None:
        async with serving(handler) as url, client_of(url) as client:
            assert (await client.complete(CHAT)).text == "ok"
            assert (await client.complete(CHAT)).text == "ok"

    asyncio.run(ask())
    assert seen == ["max_tokens", "max_completion_tokens", "max_completion_tokens"]


def test_the_environment_neither_leads_away_nor_leaks(monkeypatch: pytest.MonkeyPatch):
    """Proxies are not obeyed; the organisation and headers meant for the default endpoint reach no other."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Canary: canary")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    seen: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(str(request.headers))
        return web.json_response({"choices": [{"message": {"content": "ok"}}]})

    async def ask() -> None:
        async with serving(handler) as url, client_of(url, None, "judge") as client:
            await client.complete(replace(CHAT, endpoint="judge"))

    asyncio.run(ask())
    assert len(seen) == 1 and "canary" not in seen[0]


def test_an_endpoint_without_address():
    async def ask() -> None:
        with pytest.raises(ServiceError, match="OPENAI_BASE_URL"):
            await OpenAIClient({}).complete(CHAT)

    asyncio.run(ask())


def test_each_event_loop_has_connections_of_its_own():
    client_book: list[OpenAIClient] = []

    async def ask() -> None:
        async with ScriptedServer() as server:
            if not client_book:
                client_book.append(OpenAIClient({}))
            client_book[0]._book = {"default": Address(base_url=server.base_url)}
            assert (await client_book[0].complete(CHAT)).text
            await client_book[0].close()

    asyncio.run(ask())
    asyncio.run(ask())
