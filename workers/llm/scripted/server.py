"""The server: OpenAI's paths, counted, with the faults of a plan."""

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

from workers.llm.scripted import answers
from workers.llm.scripted.answers import Made, body_hash
from workers.llm.scripted.faults import Bucket, Fault, FaultPlan, SeededPlan

HOST = "127.0.0.1"
_HANG_S = 24 * 3600.0
_LARGEST_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the server behaves. `rate` is requests a second, None for no limit; `key` None asks for none."""

    seed: int = 0
    models: tuple[str, ...] = ("scripted",)
    key: str | None = field(default=None, repr=False)
    rate: float | None = None
    burst: float = 1.0
    plan: FaultPlan = field(default_factory=SeededPlan)


class _Counts:
    """What was asked and what was answered (and so would have been paid for)."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.in_flight = 0
        self.peak_in_flight = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": dict(self.requests),
            "statuses": dict(self.statuses),
            "paid": dict(self.paid),
            "paid_total": self.paid.total(),
            "repaid": self.bodies.total() - len(self.bodies),
            "bodies": dict(self.bodies),
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
        }


class ScriptedServer:
    """Serves a script on loopback from entering to leaving the context; `base_url` is then what clients are given."""

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self._script = script or Script()
        self._port = port
        self._bucket = Bucket(self._script.rate, self._script.burst) if self._script.rate else None
        self._counts = _Counts()
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None)

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self._port}/v1"

    @property
    def stats(self) -> dict[str, Any]:
        """The same as GET /stats."""
        return self._counts.as_json()

    async def __aenter__(self) -> "ScriptedServer":
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port, backlog=1024)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

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
        return web.json_response({"status": "ok"})

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats)

    async def _models(self, request: web.Request) -> web.Response:
        if not self._admitted(request):
            return self._refuse(request, 401, "Incorrect API key provided")
        listed = [{"id": model, "object": "model", "owned_by": "instructree"} for model in self._script.models]
        return self._reply(request, {"object": "list", "data": listed})

    async def _chat(self, request: web.Request) -> web.Response:
        return await self._serve(request, "messages", self._chat_answer)

    async def _completion(self, request: web.Request) -> web.Response:
        return await self._serve(request, "prompt", self._completion_answer)

    async def _embeddings(self, request: web.Request) -> web.Response:
        return await self._serve(request, "input", self._embedding_answer)

    async def _serve(
        self, request: web.Request, needed: str, answer: Callable[[Mapping[str, Any], Fault], dict[str, Any]]
    ) -> web.Response:
        counts = self._counts
        counts.in_flight += 1
        counts.peak_in_flight = max(counts.peak_in_flight, counts.in_flight)
        try:
            return await self._answer(request, needed, answer)
        finally:
            counts.in_flight -= 1

    async def _answer(
        self, request: web.Request, needed: str, answer: Callable[[Mapping[str, Any], Fault], dict[str, Any]]
    ) -> web.Response:
        if not self._admitted(request):
            return self._refuse(request, 401, "Incorrect API key provided")
        body = await _body(request)
        if body is None or needed not in body or not isinstance(body.get("model"), str):
            return self._refuse(request, 400, f"the body must be a JSON object with model and {needed}")
        if body["model"] not in self._script.models:
            return self._refuse(request, 404, f"the model {body['model'][:80]!r} does not exist", "model_not_found")
        if self._bucket is not None and (wait_s := self._bucket.take()) > 0:
            headers = {"Retry-After": f"{wait_s:.3f}"}
            return self._refuse(request, 429, "Rate limit reached", "rate_limit_exceeded", headers)
        name = body_hash(body)
        fault = self._script.plan.fate(name, self._counts.asked[name])
        self._counts.asked[name] += 1
        await asyncio.sleep(_HANG_S if fault.hang else fault.delay_s)
        if fault.status is not None:
            return self._refuse(request, fault.status, "The server had an error")
        self._counts.paid[request.path] += 1
        self._counts.bodies[name] += 1
        return self._reply(request, answer(body, fault), half=fault.malformed == "envelope")

    def _admitted(self, request: web.Request) -> bool:
        self._counts.requests[request.path] += 1
        if self._script.key is None:
            return True
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self._script.key}".encode())

    def _refuse(
        self,
        request: web.Request,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        self._counts.statuses[str(status)] += 1
        error = {"message": message, "type": "invalid_request_error" if status < 500 else "server_error", "code": code}
        return web.json_response({"error": error}, status=status, headers=headers)

    def _reply(self, request: web.Request, data: Mapping[str, Any], *, half: bool = False) -> web.Response:
        self._counts.statuses["200"] += 1
        text = json.dumps(data)
        return web.Response(text=text[: len(text) // 2] if half else text, content_type="application/json")

    def _chat_answer(self, body: Mapping[str, Any], fault: Fault) -> dict[str, Any]:
        made = answers.chat(body, self._script.seed)
        message = {"role": "assistant", "content": _spoilt(made.text) if fault.malformed == "text" else made.text}
        choice = {"index": 0, "message": message, "finish_reason": made.finish_reason, "logprobs": None}
        return _envelope("chat.completion", body, made, choice)

    def _completion_answer(self, body: Mapping[str, Any], fault: Fault) -> dict[str, Any]:
        made = answers.completion(body, self._script.seed)
        logprobs = None
        if made.alternatives is not None:
            chosen = made.alternatives.get(made.text)
            logprobs = {"tokens": [made.text], "token_logprobs": [chosen], "top_logprobs": [dict(made.alternatives)]}
        choice = {"index": 0, "text": made.text, "finish_reason": made.finish_reason, "logprobs": logprobs}
        return _envelope("text_completion", body, made, choice)

    def _embedding_answer(self, body: Mapping[str, Any], fault: Fault) -> dict[str, Any]:
        given = body["input"]
        texts = [str(text) for text in (given if isinstance(given, list) else [given])]
        data = [{"object": "embedding", "index": i, "embedding": answers.embedding(t)} for i, t in enumerate(texts)]
        used = sum(map(answers.tokens, texts))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "model": body["model"], "data": data, "usage": usage}


async def _body(request: web.Request) -> dict[str, Any] | None:
    try:
        data = json.loads(await request.read())
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _spoilt(text: str) -> str:
    """JSON that no parser takes: the second half is gone and the quotes with it. Other text is left alone."""
    return text[: len(text) // 2].replace('"', "") if text.startswith("{") else text


def _envelope(kind: str, body: Mapping[str, Any], made: Made, choice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"scripted-{body_hash(body)}",
        "object": kind,
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": made.tokens_in,
            "completion_tokens": made.tokens_out,
            "total_tokens": made.tokens_in + made.tokens_out,
        },
    }
