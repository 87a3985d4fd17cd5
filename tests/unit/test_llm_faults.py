"""Every fault of the scripted endpoint, seen through the real client: what comes out, and what the endpoint counts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from workers.config import Style
from workers.llm.address import Address
from workers.llm.client import OpenAIClient
from workers.llm.errors import (
    AnswerTooLarge,
    BrokenOff,
    CallRefused,
    ConnectionFailed,
    ModelError,
    ModelMissing,
    QuotaSpent,
    RateLimited,
    ServerFault,
    TimedOut,
    Unauthorized,
    Unreadable,
)
from workers.llm.outcome import outcome_of
from workers.llm.request import Message, Request, Response
from workers.llm.scripted import hostile
from workers.llm.scripted.answers import tokens
from workers.llm.scripted.faults import Fault, SeededPlan
from workers.llm.scripted.injections import INJECTIONS
from workers.llm.scripted.limits import Limits
from workers.llm.scripted.server import Script, ScriptedServer
from workers.llm.scripted.weather import Forecast, Outage, Spell

CHAT = Request(
    endpoint="default",
    model="scripted",
    style=Style.CHAT,
    messages=(Message(role="user", content="Describe how bees make honey."),),
    timeout_s=10,
)
COMPLETION = replace(CHAT, style=Style.COMPLETION, messages=(), prompt="Task: Say hello.\nAnswer:")
GRADE = replace(COMPLETION, prompt="Task: Say hello.\nQuality: ", max_tokens=1, logprobs=20)
Ended = Response | ModelError


@dataclass(frozen=True)
class Always:
    """The same fate for all, or for the first so many of each question."""

    fault: Fault
    times: int = 10**6

    def fate(self, body_hash: str, occurrence: int) -> Fault:
        return self.fault if occurrence < self.times else Fault()


@asynccontextmanager
async def place(script: Script) -> AsyncIterator[tuple[ScriptedServer, OpenAIClient]]:
    async with ScriptedServer(script) as server:
        client = OpenAIClient({"default": Address(base_url=server.base_url)})
        try:
            yield server, client
        finally:
            await client.close()


async def ended(client: OpenAIClient, request: Request = CHAT) -> Ended:
    """The answer or our error; anything else is a fault of the client and comes out of here."""
    try:
        return await client.complete(request)
    except ModelError as error:
        return error


def after(script: Script, *requests: Request) -> tuple[list[Ended], dict[str, Any]]:
    """How these requests end, one after the other, and what the endpoint counted."""

    async def ask() -> tuple[list[Ended], dict[str, Any]]:
        async with place(script) as (server, client):
            return [await ended(client, request) for request in requests], server.stats

    return asyncio.run(ask())


def under(fault: Fault, request: Request = CHAT) -> tuple[Ended, dict[str, Any]]:
    (found,), stats = after(Script(plan=Always(fault)), request)
    return found, stats


@pytest.fixture(scope="module")
def plain() -> Response:
    found, _ = under(Fault())
    assert isinstance(found, Response)
    return found


@pytest.mark.parametrize(
    ("delivery", "paid", "spoiled"),
    [("dropped", 0, {}), ("dropped_paid", 1, {"dropped_paid": 1}), ("half", 1, {"half": 1})],
)
def test_a_connection_that_breaks_off_is_paid_if_the_work_was_done(delivery: Any, paid: int, spoiled: dict[str, int]):
    found, stats = under(Fault(delivery=delivery))
    assert type(found) is BrokenOff and found.may_be_paid
    assert (stats["paid_total"], stats["spoiled_by"]) == (paid, spoiled)
    assert sum(stats["requests"].values()) == 1, "nothing is sent again behind the gateway's back"


def test_an_answer_that_drips_arrives_or_is_given_up(plain: Response):
    found, stats = under(Fault(delivery="drip", drip_s=0.2))
    assert isinstance(found, Response) and found.text == plain.text and not stats["spoiled"]

    async def ask() -> dict[str, Any]:
        async with place(Script(plan=Always(Fault(delivery="drip", drip_s=60)))) as (server, client):
            assert type(await ended(client, replace(CHAT, timeout_s=0.3))) is TimedOut
            return await until(server, lambda stats: stats["spoiled"] == 1)

    assert asyncio.run(ask())["spoiled_by"] == {"given_up": 1}


async def until(server: ScriptedServer, happened: Any) -> dict[str, Any]:
    """The counts once they are so; the server hears of a closed connection a moment later."""
    for _ in range(500):
        if happened(server.stats):
            break
        await asyncio.sleep(0.01)
    return server.stats


def test_who_goes_away_before_the_work_is_done_pays_nothing():
    async def ask() -> dict[str, Any]:
        async with place(Script(plan=Always(Fault(delay_s=60)))) as (server, client):
            assert type(await ended(client, replace(CHAT, timeout_s=0.2))) is TimedOut
            return await until(server, lambda stats: stats["abandoned"] == 1)

    stats = asyncio.run(ask())
    assert (stats["paid_total"], stats["spoiled"], stats["abandoned"], stats["in_flight"]) == (0, 0, 1, 0)


@pytest.mark.parametrize("name", hostile.ENVELOPES)
def test_a_hostile_envelope_is_read_or_refused_as_it_is_meant(name: str, plain: Response):
    found, stats = under(Fault(hostile=name))
    reads = hostile.ENVELOPES[name].reads
    if reads == "nothing":
        assert type(found) is (AnswerTooLarge if name == "huge" else Unreadable) and found.may_be_paid
        assert stats["spoiled_by"] == {"unreadable": 1}
        return
    assert isinstance(found, Response)
    assert not stats["spoiled"]
    if reads in ("null", "empty"):
        assert outcome_of(CHAT, found) == "empty"
    else:
        assert found.text.rstrip("\x07\x1b[31m\x7f\u2028\u202e") == plain.text.rstrip() and 0 < found.tokens_out < 10**4
    json.dumps({"text": found.text, "model": found.model}, ensure_ascii=False).encode()
    assert "\x00" not in found.text + found.model + found.finish_reason


@pytest.mark.parametrize("name", hostile.ENVELOPES)
@pytest.mark.parametrize("request_", [COMPLETION, GRADE], ids=["text", "grade"])
def test_hostile_envelopes_in_the_other_style(name: str, request_: Request):
    found, stats = under(Fault(hostile=name), request_)
    assert isinstance(found, Unreadable | AnswerTooLarge) == bool(stats["spoiled"])
    if isinstance(found, Response) and request_ is GRADE:
        assert found.top_logprobs and len(found.top_logprobs) == 14 and max(found.top_logprobs.values()) <= 0


@pytest.mark.parametrize("name", sorted(set(hostile.USAGES) - {"far_too_many", "half"}))
def test_usage_that_cannot_be_true_is_replaced_by_an_estimate(name: str, plain: Response):
    found, stats = under(Fault(usage=name))
    assert isinstance(found, Response) and found.text == plain.text
    assert (found.tokens_in, found.tokens_out) == (tokens("Describe how bees make honey."), tokens(plain.text))
    assert (stats["tokens_in"], stats["tokens_out"]) == (found.tokens_in, found.tokens_out)


@pytest.mark.parametrize("request_", [CHAT, COMPLETION], ids=["chat", "completion"])
@pytest.mark.parametrize(
    ("saying", "outcome"),
    [("cut", "cut"), ("filtered", "filtered"), ("refused", "refused"), ("declined", "refused"), ("empty", "empty")],
)
def test_an_answer_that_is_none_has_its_outcome(saying: Any, outcome: str, request_: Request):
    found, stats = under(Fault(saying=saying), request_)
    assert isinstance(found, Response) and outcome_of(request_, found) == outcome
    assert (stats["paid_total"], stats["spoiled"]) == (1, 0)


def test_what_was_cut_is_whole_with_more_room():
    first, again = replace(CHAT, max_tokens=40), replace(CHAT, max_tokens=80)
    (cut, same, more), stats = after(Script(plan=Always(Fault(saying="cut"))), first, first, again)
    assert isinstance(cut, Response) and isinstance(same, Response) and isinstance(more, Response)
    assert (cut.finish_reason, cut.tokens_out) == ("length", 20) and same.text == cut.text
    assert (more.finish_reason, more.tokens_out > 40) == ("stop", True)
    assert stats["repaid"] == 1


def test_a_judges_json_is_spoiled_when_it_cannot_be_read():
    question = Message(role="user", content='[A]\n<<<\nSay hello.\n>>>\nAnswer with {"scores": []}')
    for fault in (Fault(malformed="text"), Fault(saying="empty"), Fault(hostile="null_text")):
        _, stats = under(fault, replace(CHAT, messages=(question,)))
        assert stats["spoiled_by"] == {"text": 1}
    _, stats = under(Fault(), replace(CHAT, messages=(question,), max_tokens=3))
    assert stats["spoiled_by"] == {"text": 1}, "too little room is no better"


def test_a_body_paid_again_is_explained_only_by_a_spoiled_answer():
    (_, _), stats = after(Script(), CHAT, CHAT)
    assert (stats["repaid"], stats["repaid_unexplained"]) == (1, 1)
    (_, _), stats = after(Script(plan=Always(Fault(delivery="half"), times=1)), CHAT, CHAT)
    assert (stats["repaid"], stats["spoiled"], stats["repaid_unexplained"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, CallRefused),
        (401, Unauthorized),
        (402, QuotaSpent),
        (403, Unauthorized),
        (404, ModelMissing),
        (408, TimedOut),
        (409, ServerFault),
        (422, CallRefused),
        (429, RateLimited),
        (500, ServerFault),
        (503, ServerFault),
        (529, ServerFault),
    ],
)
def test_a_status_of_the_plan_has_its_class_and_is_not_paid(status: int, kind: type[ModelError]):
    found, stats = under(Fault(status=status))
    assert type(found) is kind and f"answered {status}: " in str(found)
    assert (stats["paid_total"], stats["refused"]) == (0, {str(status): 1})


@pytest.mark.parametrize(("charged", "admitted"), [("asked", 1), ("used", 4)])
def test_tokens_have_a_bucket_of_their_own(charged: Any, admitted: int):
    limits = Limits(tokens_rate=1.0, tokens_burst=700, charged=charged)
    found, stats = after(Script(limits=limits), *(replace(CHAT, seed=i, max_tokens=400) for i in range(4)))
    assert [isinstance(item, Response) for item in found] == [i < admitted for i in range(4)]
    assert (stats["paid_total"], stats["rejected_429"]) == (admitted, 4 - admitted)
    for item in found[admitted:]:
        assert isinstance(item, RateLimited) and item.retry_after_s and "for tokens" in str(item)


def test_retry_after_can_be_left_out():
    for retry_after in (True, False):
        limits = Limits(rate=0.01, retry_after=retry_after)
        (_, found), _ = after(Script(limits=limits), CHAT, replace(CHAT, seed=1))
        assert isinstance(found, RateLimited) and (found.retry_after_s is not None) is retry_after


def test_a_daily_quota_says_when_it_resets_and_then_admits_again():
    async def ask() -> None:
        limits = Limits(daily_quota=2, quota_reset_s=2.0)
        async with place(Script(limits=limits)) as (server, client), aiohttp.ClientSession() as session:
            for seed in range(2):
                assert isinstance(await ended(client, replace(CHAT, seed=seed)), Response)
            body = {"model": "scripted", "messages": []}
            async with session.post(f"{server.base_url}/chat/completions", json=body) as response:
                said = (await response.json())["error"]
                assert response.status == 429 and "(RPD): Limit 2, Used 2" in said["message"]
                assert response.headers["x-ratelimit-reset-requests"].endswith("s")
                await asyncio.sleep(float(response.headers["Retry-After"]) + 0.05)
            assert isinstance(await ended(client, replace(CHAT, seed=3)), Response)

    asyncio.run(ask())


def test_an_account_without_money_says_so():
    limits = Limits(daily_quota=0, quota_code="insufficient_quota")
    (found,), _ = after(Script(limits=limits), CHAT)
    assert type(found) is QuotaSpent


def test_a_spell_comes_and_goes():
    async def ask() -> None:
        forecast = Forecast(spells=(Spell(status=502, from_s=0, for_s=1.0),))
        async with place(Script(forecast=forecast)) as (_, client):
            assert type(await ended(client)) is ServerFault
            await asyncio.sleep(1.05)
            assert isinstance(await ended(client), Response)

    asyncio.run(ask())


def test_a_dead_endpoint_refuses_breaks_off_and_comes_back_on_its_port():
    async def ask() -> None:
        script = Script(
            plan=Always(Fault(delay_s=60), times=1), forecast=Forecast(outages=(Outage(from_s=0.5, for_s=1.5),))
        )
        async with place(script) as (server, client):
            assert type(await ended(client)) is BrokenOff
            refused = await ended(client)
            assert type(refused) is ConnectionFailed and "cannot be reached" in str(refused)
            while isinstance(found := await ended(client), ModelError):
                assert type(found) is ConnectionFailed
                await asyncio.sleep(0.05)
            assert (server.stats["paid_total"], server.stats["repaid"]) == (1, 0)

    asyncio.run(ask())


@pytest.mark.parametrize("injection", INJECTIONS)
def test_an_injection_is_in_the_text_and_nowhere_else(injection: str):
    found, _ = under(Fault(injection=injection))
    assert isinstance(found, Response) and found.text.endswith(f" {injection}")
    in_line, _ = under(Fault(injection=injection), replace(COMPLETION, stop=("\n\n", "\nTask:")))
    assert isinstance(in_line, Response) and outcome_of(COMPLETION, in_line) == "ok"


def test_a_storm_of_everything_ends_in_answers_and_our_errors_and_the_same_again():
    plan = SeededPlan(
        seed=5,
        status_shares={400: 0.03, 503: 0.05},
        drop_share=0.05,
        drop_paid_share=0.05,
        half_share=0.05,
        malformed_share=0.1,
        hostile_share=0.2,
        cut_share=0.05,
        filter_share=0.03,
        refusal_share=0.05,
        empty_share=0.03,
        wrong_usage_share=0.3,
        injection_share=0.3,
    )
    requests = [replace(CHAT, seed=i) for i in range(150)]

    async def ask() -> tuple[list[tuple[str, str]], dict[str, Any]]:
        async with place(Script(plan=plan)) as (server, client):
            found = [await ended(client, request) for request in requests]
            kinds = [(type(item).__name__, item.text if isinstance(item, Response) else "") for item in found]
            return kinds, await until(server, lambda stats: not stats["in_flight"])

    (kinds, stats), (again, _) = asyncio.run(ask()), asyncio.run(ask())
    assert kinds == again
    expected = {"Response", "CallRefused", "ServerFault", "BrokenOff", "Unreadable"}
    assert {kind for kind, _ in kinds} - {"AnswerTooLarge"} == expected
    answered = sum(kind == "Response" for kind, _ in kinds)
    assert answered == stats["paid_total"] - stats["spoiled"]
    assert (stats["repaid"], len(stats["bodies"]), stats["in_flight"]) == (0, stats["paid_total"], 0)
