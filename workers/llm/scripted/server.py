"""The server: OpenAI's paths, counted, with the faults of a plan."""

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from workers.llm.scripted import answers, envelopes
from workers.llm.scripted.answers import Body, Made, Temper, body_hash
from workers.llm.scripted.counts import Counts
from workers.llm.scripted.faults import Fault, FaultPlan, SeededPlan
from workers.llm.scripted.generating import Lister
from workers.llm.scripted.journal import Journal
from workers.llm.scripted.limits import Doorkeeper, Limits, Rejection
from workers.llm.scripted.sayings import said
from workers.llm.scripted.sending import HOST, abort, bound, gone, send
from workers.llm.scripted.weather import Forecast, Weather

_HANG_S = 24 * 3600.0
_LARGEST_BODY = 16 * 1024 * 1024
# Makes the answer to a body under a fault, and puts it into an envelope.
_Write = Callable[[Mapping[str, Any], Fault], tuple[Made, dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the server behaves. `rate` is requests a second, None for no limit; `key` None asks for none.

    `rate` and `burst` are short for those of `limits`. `journal` keeps the count of what was paid across restarts;
    `temper` is what kind of judge the model is, `lister` what kind of generator.
    """

    seed: int = 0
    models: tuple[str, ...] = ("scripted",)
    key: str | None = field(default=None, repr=False)
    rate: float | None = None
    burst: float = 1.0
    limits: Limits | None = None
    plan: FaultPlan = field(default_factory=SeededPlan)
    forecast: Forecast = field(default_factory=Forecast)
    journal: Path | None = None
    temper: Temper = Temper.HONEST
    lister: Lister = Lister.HONEST


class _Refused(Exception):
    """The request is answered with a status instead of an answer."""

    def __init__(self, status: int, message: str = "", code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message or envelopes.MESSAGES.get(status, "The request was refused")
        self.code = code or envelopes.CODES.get(status)
        self.headers = headers


class ScriptedServer:
    """Serves a script from entering to leaving the context, on loopback unless told; `base_url` is for its clients."""

    def __init__(self, script: Script | None = None, *, port: int = 0, host: str = HOST) -> None:
        """Raises OSError when the journal cannot be opened."""
        self._script = script or Script()
        self._port = port
        self._host = host
        limits = self._script.limits or Limits(rate=self._script.rate, burst=self._script.burst)
        self._door = Doorkeeper(limits)
        self._journal = None if self._script.journal is None else Journal(self._script.journal)
        self._counts = Counts(self._journal)
        self._weather = Weather(self._script.forecast)
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        self._outages: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        return f"http://{self._host}:{self._port}/v1"

    @property
    def stats(self) -> dict[str, Any]:
        """The same as GET /stats."""
        return self._counts.as_json()

    async def __aenter__(self) -> "ScriptedServer":
        listening = bound(self._port, self._host)
        self._port = int(listening.getsockname()[1])
        await self._runner.setup()
        site = web.SockSite(self._runner, listening, backlog=1024)
        await site.start()
        self._weather = Weather(self._script.forecast)
        self._outages = asyncio.create_task(self._go_dark(site))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outages is not None:
            self._outages.cancel()
            await asyncio.gather(self._outages, return_exceptions=True)
        await self._runner.cleanup()
        if self._journal is not None:
            self._journal.close()

    async def _go_dark(self, site: web.SockSite) -> None:
        """Stops listening and breaks every connection off for each outage of the forecast, in turn."""
        begun = asyncio.get_running_loop().time()
        for outage in sorted(self._script.forecast.outages, key=lambda outage: outage.from_s):
            await asyncio.sleep(begun + outage.from_s - asyncio.get_running_loop().time())
            await site.stop()
            with bound(self._port, self._host) as held:
                self._break_off()
                await asyncio.sleep(outage.for_s)
                site = web.SockSite(self._runner, held.dup(), backlog=1024)
            await site.start()

    def _break_off(self) -> None:
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/stats", self._stats),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completion),
                web.post("/v1/embeddings", self._embeddings),
            ]
        )
        return app

    async def _health(self, request: web.Request) -> web.Response:
        """Quickly, however much was asked: `paid` are the calls answered so far."""
        return web.json_response(
            {"status": "ok", "paid": self._counts.paid.total(), "in_flight": self._counts.in_flight}
        )

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats)

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._check_key(request)
        except _Refused as refused:
            return self._refuse(refused)
        self._counts.statuses["200"] += 1
        listed = [{"id": model, "object": "model", "owned_by": "instructree"} for model in self._script.models]
        return web.json_response({"object": "list", "data": listed})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "messages", self._chat_answer)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "prompt", self._completion_answer)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, "input", self._embedding_answer)

    async def _serve(self, request: web.Request, needed: str, write: _Write) -> web.StreamResponse:
        with self._counts.flight():
            try:
                self._check_key(request)
                body = await self._asked(request, needed)
                return await self._answer(request, body, write)
            except _Refused as refused:
                return self._refuse(refused)

    async def _answer(self, request: web.Request, body: Mapping[str, Any], write: _Write) -> web.StreamResponse:
        name, most = body_hash(body), answers.asked_tokens(body)
        self._admit(name, most)
        fault = self._fate(name, body)
        made, data = write(body, fault)
        try:
            await asyncio.sleep(_HANG_S if fault.hang else fault.delay_s + fault.token_s * made.tokens_out)
        except asyncio.CancelledError:
            self._counts.abandoned += 1
            raise
        if fault.status is not None:
            raise _Refused(fault.status)
        if fault.delivery == "dropped" or gone(request):
            return abort(request)
        self._door.settle(admitted=most, used=made.tokens_in + made.tokens_out)
        if fault.saying == "cut":
            self._counts.note_cut(_question(body), answers.room(body))
        return await self._hand_over(request, name, made, data, fault)

    async def _hand_over(
        self, request: web.Request, name: str, made: Made, data: Mapping[str, Any], fault: Fault
    ) -> web.StreamResponse:
        """From here on the answer is paid for, whatever becomes of it."""
        wire = envelopes.wire(data, fault, made)
        receipt = self._counts.pay(name, request.path, made.tokens_in, made.tokens_out)
        self._counts.statuses["200"] += 1
        if wire.spoiled:
            receipt.spoil(wire.spoiled)
        try:
            response = await send(request, wire, fault)
        except (ConnectionError, asyncio.CancelledError):
            receipt.spoil("given_up")
            raise
        receipt.sent()
        return response

    def _check_key(self, request: web.Request) -> None:
        self._counts.requests[request.path] += 1
        given = request.headers.get("Authorization", "")
        key = self._script.key
        if key is not None and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise _Refused(401)

    async def _asked(self, request: web.Request, needed: str) -> Body:
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or needed not in body or not isinstance(body.get("model"), str):
            raise _Refused(400, f"the body must be a JSON object with model and {needed}")
        if body["model"] not in self._script.models:
            raise _Refused(404, f"the model {body['model'][:80]!r} does not exist")
        return Body(body)

    def _admit(self, name: str, tokens: int) -> None:
        if (status := self._weather.status(name)) is not None:
            raise _Refused(status)
        rejected: Rejection | None = self._door.admit(tokens)
        if rejected is not None:
            raise _Refused(429, rejected.message, rejected.code, **rejected.headers)
        self._counts.admitting.mark()

    def _fate(self, name: str, body: Mapping[str, Any]) -> Fault:
        fault = self._script.plan.fate(name, self._counts.asked[name])
        self._counts.asked[name] += 1
        if fault.saying == "cut" and self._counts.was_cut(_question(body), answers.room(body)):
            return replace(fault, saying=None)
        return fault

    def _refuse(self, refused: _Refused) -> web.Response:
        self._counts.statuses[str(refused.status)] += 1
        kind = "invalid_request_error" if refused.status < 500 else "server_error"
        error = {"message": refused.message, "type": kind, "code": refused.code}
        return web.json_response({"error": error}, status=refused.status, headers=refused.headers)

    def _chat_answer(self, body: Mapping[str, Any], fault: Fault) -> tuple[Made, dict[str, Any]]:
        script, aside = self._script, fault.injection or ""
        made = answers.chat(body, script.seed, aside=aside, temper=script.temper, lister=script.lister)
        made = said(made, fault, answers.room(body), chat=True)
        return made, envelopes.chat(body, made)

    def _completion_answer(self, body: Mapping[str, Any], fault: Fault) -> tuple[Made, dict[str, Any]]:
        made = answers.completion(body, self._script.seed, aside=fault.injection or "", lister=self._script.lister)
        made = said(made, fault, answers.room(body), chat=False)
        return made, envelopes.completion(body, made)

    def _embedding_answer(self, body: Mapping[str, Any], fault: Fault) -> tuple[Made, dict[str, Any]]:
        given = body["input"]
        texts = [str(text) for text in (given if isinstance(given, list) else [given])]
        made = Made(text="", tokens_in=sum(map(answers.tokens, texts)))
        return made, envelopes.embeddings(body, made, [answers.embedding(text) for text in texts])


def _question(body: Mapping[str, Any]) -> str:
    """The same for the same question asked with more room."""
    return body_hash({name: value for name, value in body.items() if name not in answers.ROOMS})
