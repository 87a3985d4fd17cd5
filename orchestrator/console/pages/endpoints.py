"""What the models are asked through: how fast they answer, what the limiter does, whether a breaker is open."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from db import endpoints
from db.endpoints import Answers
from orchestrator.console.live import Parts, stream
from orchestrator.console.page import render
from orchestrator.console.pages.common import fresh, reading
from workers.llm.limits.states import EndpointState, states_at

_LIMITS = ("concurrency", "requests_per_minute", "tokens_per_minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run that has not ended allows an endpoint."""

    run: str
    limits: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An endpoint and model: what the ledger and the limiter know of it, and what runs allow it."""

    name: str
    model: str
    answers: Answers | None
    state: EndpointState | None
    unanswered: Mapping[str, int]
    limits: tuple[Limits, ...]


def all_endpoints(request: Request) -> Response:
    return render(request, "endpoints.html.j2", _look(request))


def all_endpoints_live(request: Request) -> Response:
    def look() -> Parts:
        text = request.app.state.jinja.get_template("parts/endpoints.html.j2").render(_look(request))
        return {"endpoints": text.encode("utf-8", "replace").decode()}

    return stream(request, lambda: fresh(request).get("endpoints", look))


def _look(request: Request) -> dict[str, Any]:
    with reading(request) as connection:
        answers = {(one.endpoint, one.model): one for one in endpoints.answers(connection)}
        unanswered = endpoints.unanswered(connection)
        in_use = endpoints.in_use(connection)
    states, trouble = _states(request.app.state.broker)
    limits: dict[tuple[str, str], list[Limits]] = {}
    for run, found in in_use:
        for name, traits in found.items():
            allowed = Limits(run=run, limits={what: traits.get(what) for what in _LIMITS})
            limits.setdefault((name, str(traits.get("model", ""))), []).append(allowed)
    places = {*answers, *states, *limits}
    lines = [
        Line(
            name=name,
            model=model,
            answers=answers.get((name, model)),
            state=states.get((name, model)),
            unanswered=unanswered.get(name, {}),
            limits=tuple(limits.get((name, model), ())),
        )
        for name, model in sorted(places)
    ]
    return {"lines": lines, "trouble": trouble, "window_s": endpoints.WINDOW_S}


def _states(broker: str | None) -> tuple[Mapping[tuple[str, str], EndpointState], str]:
    """What the limiter knows, by endpoint and model, and why it could not be asked."""
    if broker is None:
        return {}, "No broker is named here (INSTRUCTREE_REDIS_URL), so what the limiter knows cannot be shown."
    try:
        return asyncio.run(states_at(broker)), ""
    except (RedisError, OSError):
        return {}, "The broker cannot be reached, so what the limiter knows cannot be shown."
