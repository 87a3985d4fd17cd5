"""The gateway over a real scripted server: what is asked, what is paid, what is waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from db.errors import ServiceError
from db.records import AttemptRow, CallRow, Lease
from workers.asking import Answer
from workers.config import Endpoint, JudgeSettings, Role, Roles, Style, WorkSettings
from workers.llm.address import Address
from workers.llm.call import Call, call_for
from workers.llm.client import OpenAIClient
from workers.llm.errors import (
    BudgetSpent,
    CallRefused,
    LedgerAway,
    ModelError,
    RateLimited,
    ServerFault,
    TimedOut,
    Unauthorized,
    Withdrawn,
)
from workers.llm.gateway import Gateway, Retrying
from workers.llm.ledger import MemoryLedger
from workers.llm.limits import ProcessLimiter, Take
from workers.llm.request import Request, Response
from workers.llm.scripted.faults import Fault, SeededPlan
from workers.llm.scripted.server import Script, ScriptedServer
from workers.prompting import Prompt

TRAITS = Endpoint(model="scripted", usd_per_million_in=1.0, usd_per_million_out=2.0, timeout_s=5)
LEASE = Lease(task_id=2, token=3, run_id=1, tree_id=4, kind="expand", payload={}, attempts=1, deadline_s=60)
SETTINGS = WorkSettings(endpoints={"default": TRAITS})


def call(text: str = "Describe a lighthouse.", *, sample: int = 0, settings: WorkSettings = SETTINGS) -> Call:
    prompt = Prompt(text=text, style=Style.CHAT)
    return call_for(settings, Role.EVOLVER, prompt, sample=sample, lease=LEASE)


@dataclass
class Room:
    """A gateway, its ledger, its server, and the waits it made."""

    gateway: Gateway
    ledger: MemoryLedger
    server: ScriptedServer
    slept: list[float] = field(default_factory=list)


@asynccontextmanager
async def room(script: Script | None = None, retrying: Retrying | None = None) -> AsyncIterator[Room]:
    """Waits are noted and not made; a random wait is always the longest possible."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with ScriptedServer(script) as server:
        ledger = MemoryLedger()
        client = OpenAIClient({"default": Address(base_url=server.base_url)})
        gateway = Gateway(client, ledger, retrying=retrying, sleep=sleep, uniform=lambda low, high: high)
        try:
            yield Room(gateway, ledger, server, slept)
        finally:
            await gateway.close()


@dataclass(frozen=True)
class Faults:
    """The first requests fare as listed, the rest well."""

    listed: tuple[Fault, ...]

    def fate(self, body_hash: str, occurrence: int) -> Fault:
        return self.listed[occurrence] if occurrence < len(self.listed) else Fault()


def test_an_answer_is_in_the_ledger_with_its_price_and_is_replayed_free():
    async def ask() -> None:
        async with room() as here:
            first = await here.gateway.call(call())
            again = await here.gateway.call(call())
            assert (first.outcome, first.replayed, again.replayed) == ("ok", False, True)
            assert (again.text, again.call) == (first.text, first.call)
            (row,) = here.ledger.rows.values()
            assert (row.key, row.role, row.run_id, row.task_id) == (first.call, "evolver", 1, 2)
            assert row.nusd == row.tokens_in * 1000 + row.tokens_out * 2000 and row.tokens_out > 0
            assert here.server.stats["paid_total"] == 1

    asyncio.run(ask())


def test_another_sample_is_another_call():
    async def ask() -> None:
        async with room() as here:
            answers = [await here.gateway.call(call(sample=i)) for i in (0, 1)]
            assert len({answer.call for answer in answers}) == 2
            assert not any(answer.replayed for answer in answers)
            assert here.server.stats["paid_total"] == 2

    asyncio.run(ask())


def test_two_who_ask_the_same_at_once_pay_once():
    async def ask() -> None:
        async with room(Script(plan=SeededPlan(latency_s=0.05))) as here:
            answers = await asyncio.gather(*(here.gateway.call(call()) for _ in range(5)))
            assert here.server.stats["paid_total"] == 1
            assert sorted(answer.replayed for answer in answers) == [False, True, True, True, True]

    asyncio.run(ask())


def test_a_caller_who_goes_leaves_the_paid_answer_in_the_ledger():
    async def ask() -> None:
        async with room(Script(plan=SeededPlan(latency_s=0.1))) as here:
            impatient = asyncio.create_task(here.gateway.call(call()))
            await asyncio.sleep(0.02)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
            assert (await here.gateway.call(call())).replayed
            assert here.server.stats["paid_total"] == 1

    asyncio.run(ask())


def test_closing_waits_for_calls_in_flight():
    async def ask() -> None:
        async with room(Script(plan=SeededPlan(latency_s=0.1))) as here:
            asked = asyncio.create_task(here.gateway.call(call()))
            await asyncio.sleep(0.02)
            await here.gateway.close()
            assert len(here.ledger.rows) == 1
            assert (await asked).outcome == "ok"

    asyncio.run(ask())


def test_no_more_calls_at_a_time_than_the_endpoint_takes():
    async def ask() -> None:
        few = SETTINGS.model_copy(update={"endpoints": {"default": TRAITS.model_copy(update={"concurrency": 3})}})
        async with room(Script(plan=SeededPlan(latency_s=0.02))) as here:
            await asyncio.gather(*(here.gateway.call(call(f"Text {i}.", settings=few)) for i in range(20)))
            assert here.server.stats["peak_in_flight"] == 3

    asyncio.run(ask())


def test_faults_of_the_world_are_tried_again_with_growing_waits():
    async def ask() -> None:
        faults = Faults((Fault(status=500), Fault(malformed="envelope"), Fault(status=503)))
        async with room(Script(plan=faults)) as here:
            assert (await here.gateway.call(call())).outcome == "ok"
            assert here.slept == [1.0, 2.0, 4.0]
            assert len(here.ledger.rows) == 1

    asyncio.run(ask())


def test_but_not_for_ever():
    async def ask() -> None:
        async with room(Script(plan=SeededPlan(fail_share=1.0))) as here:
            with pytest.raises(ServerFault):
                await here.gateway.call(call())
            assert here.server.stats["statuses"] == {"500": 4}
            assert not here.ledger.rows

    asyncio.run(ask())


def test_time_outs_may_cost_and_are_tried_twice_only():
    async def ask() -> None:
        hasty = SETTINGS.model_copy(update={"endpoints": {"default": TRAITS.model_copy(update={"timeout_s": 0.1})}})
        async with room(Script(plan=SeededPlan(hang_share=1.0))) as here:
            with pytest.raises(TimedOut):
                await here.gateway.call(call(settings=hasty))
            assert here.server.stats["requests"]["/v1/chat/completions"] == 2

    asyncio.run(ask())


def test_retry_after_is_honoured():
    async def ask() -> None:
        async with room(Script(rate=2.0, burst=1)) as here:
            await here.gateway.call(call("one"))
            with pytest.raises(RateLimited):  # nobody really waits in this test, so the bucket stays empty
                await here.gateway.call(call("two"))
            assert all(0.4 < wait <= 1.0 for wait in here.slept) and len(here.slept) == 3

    asyncio.run(ask())


def test_a_wait_that_is_too_long_is_left_to_the_queue():
    async def ask() -> None:
        async with room(Script(rate=0.01, burst=1)) as here:
            await here.gateway.call(call("one"))
            with pytest.raises(RateLimited) as caught:
                await here.gateway.call(call("two"))
            assert caught.value.retry_after_s is not None and caught.value.retry_after_s > 90
            assert here.slept == []

    asyncio.run(ask())


def test_what_no_retry_mends_is_asked_once():
    async def ask() -> None:
        async with room(Script(key="right")) as here:
            with pytest.raises(Unauthorized):
                await here.gateway.call(call())
            assert here.server.stats["statuses"] == {"401": 1}

    asyncio.run(ask())


@dataclass
class Refusing:
    """A client whose model declines, at a price."""

    asked: int = 0

    async def complete(self, request: Request) -> Response:
        self.asked += 1
        return Response(
            text="I'm sorry, but I can't help with that.",
            finish_reason="stop",
            tokens_in=10,
            tokens_out=9,
            top_logprobs=None,
            latency_s=0.1,
            model="m",
        )

    async def close(self) -> None:
        return None


def test_a_paid_refusal_comes_back_as_a_refusal_and_another_sample_tries_again():
    async def ask() -> None:
        client, ledger = Refusing(), MemoryLedger()
        gateway = Gateway(client, ledger)
        answers = [await gateway.call(call(sample=sample)) for sample in (0, 0, 1)]
        assert [(answer.outcome, answer.replayed) for answer in answers] == [
            ("refused", False),
            ("refused", True),
            ("refused", False),
        ]
        assert client.asked == 2 and len(ledger.rows) == 2

    asyncio.run(ask())


class Full(MemoryLedger):
    """A ledger whose database has gone away when the answer comes."""

    async def record(self, row: CallRow, attempt: str | None = None) -> CallRow:
        raise LedgerAway("away")


def test_no_answer_without_its_row_and_no_second_payment_for_it():
    async def ask() -> None:
        client = Refusing()
        with pytest.raises(LedgerAway):
            await Gateway(client, Full()).call(call())
        assert client.asked == 1

    asyncio.run(ask())


@dataclass
class Watching(ProcessLimiter):
    """The shared limiter's place: told of every attempt."""

    told: list[tuple[str, object]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    async def acquire(self, take: Take) -> None:
        assert take.id not in self.ids and take.tokens > 512
        self.ids.add(take.id)
        self.told.append(("acquire", take.endpoint))
        await super().acquire(take)

    async def settle(self, take: Take, *, tokens: int) -> None:
        self.told.append(("settle", tokens > 0))

    async def release(self, take: Take, failure: ModelError | None) -> None:
        self.told.append(("release", type(failure)))
        await super().release(take, failure)


def test_the_limiter_hears_of_every_attempt_and_how_it_ended():
    async def ask() -> None:
        watching = Watching()
        async with ScriptedServer(Script(plan=Faults((Fault(status=500),)))) as server:
            client = OpenAIClient({"default": Address(base_url=server.base_url)})
            gateway = Gateway(client, MemoryLedger(), limiter=watching, retrying=Retrying(first_wait_s=0))
            await gateway.call(call())
            await gateway.close()
        assert watching.told == [
            ("acquire", "default"),
            ("release", ServerFault),
            ("acquire", "default"),
            ("settle", True),
            ("release", type(None)),
        ]

    asyncio.run(ask())


def test_a_call_is_made_as_the_runs_settings_say():
    settings = WorkSettings(
        endpoints={"default": TRAITS, "small": Endpoint(model="base", style=Style.COMPLETION, json_mode="text")},
        roles=Roles(judge=JudgeSettings(endpoint="small", temperature=0.0, max_tokens=300, penalty=0.5)),
    )
    prompt = Prompt(text="Score: ", style=Style.COMPLETION, logprobs=20, max_tokens=1, stop=("\n",))
    made = call_for(settings, Role.JUDGE, prompt, sample=3).request
    assert made == Request(
        endpoint="small",
        model="base",
        style=Style.COMPLETION,
        prompt="Score: ",
        max_tokens=1,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        stop=("\n",),
        logprobs=20,
        sample=3,
    )
    chat = Prompt(text="Hi", system="Be brief.", style=Style.CHAT, schema_name="tags", schema={"type": "object"})
    request = call_for(settings, Role.EVOLVER, chat).request
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.schema is not None and request.schema.name == "tags" and request.max_tokens == 512
    assert replace(request, messages=()).prompt == ""


def test_a_prompt_the_run_has_not_reserved_for_is_never_sent():
    with pytest.raises(
        CallRefused, match=r"about 50\d\d tokens for the evolver is over its max_prompt_tokens \(4096\)"
    ):
        call("word " * 3000)


def test_an_answer_knows_the_first_tokens_alternatives():
    async def ask() -> Answer:
        async with room() as here:
            prompt = Prompt(text="Task: Sort it.\nQuality: ", style=Style.COMPLETION, logprobs=6, max_tokens=1)
            made = call_for(SETTINGS, Role.JUDGE, prompt)
            await here.gateway.call(made)
            return await here.gateway.call(made)

    answer = asyncio.run(ask())
    assert answer.replayed and answer.outcome == "ok"
    assert answer.first_token is not None and len(answer.first_token) == 6


# -- what may have to be paid for


def hasty(timeout_s: float = 0.1) -> WorkSettings:
    return SETTINGS.model_copy(update={"endpoints": {"default": TRAITS.model_copy(update={"timeout_s": timeout_s})}})


@pytest.mark.parametrize(
    ("fault", "left"), [(Fault(status=503), 0), (Fault(hang=True), 1), (Fault(malformed="envelope"), 1), (Fault(), 0)]
)
def test_what_may_have_been_paid_for_stays_announced(fault: Fault, left: int):
    async def ask() -> None:
        async with room(Script(plan=Faults((fault,)))) as here:
            await here.gateway.call(call(settings=hasty(0.5)))
            assert len(here.ledger.attempts) == left

    asyncio.run(ask())


def test_what_this_machine_cannot_send_does_not_stay_announced():
    async def ask() -> None:
        ledger = MemoryLedger()
        with pytest.raises(ServiceError, match="no model endpoint"):
            await Gateway(OpenAIClient({}), ledger).call(call())
        assert not ledger.attempts

    asyncio.run(ask())


def test_an_attempt_is_announced_at_the_most_that_it_can_cost():
    async def ask() -> None:
        async with room(Script(plan=Faults((Fault(hang=True),)))) as here:
            question = call("Décrivez un phare. " * 40, settings=hasty())
            await here.gateway.call(question)
            (attempt,) = here.ledger.attempts.values()
            (row,) = here.ledger.rows.values()
            asked = "".join(message.content for message in question.request.messages)
            assert attempt.tokens >= len(asked.encode()) + question.request.max_tokens
            assert (attempt.task_id, attempt.lease_token, attempt.key) == (2, 3, row.key)
            assert attempt.nusd is not None and row.nusd is not None and attempt.nusd > row.nusd

    asyncio.run(ask())


class Miserly(MemoryLedger):
    """A ledger that lets nobody ask any more after the first so many attempts."""

    def __init__(self, error: ModelError, after: int = 0) -> None:
        super().__init__()
        self._error, self._left = error, after

    async def open(self, attempt: AttemptRow) -> None:
        if not self._left:
            raise self._error
        self._left -= 1
        await super().open(attempt)


@pytest.mark.parametrize("error", [BudgetSpent("no cap leaves room"), Withdrawn("its run is not running")])
def test_what_the_ledger_does_not_allow_is_not_asked(error: ModelError):
    async def ask() -> None:
        async with ScriptedServer() as server:
            gateway = Gateway(OpenAIClient({"default": Address(base_url=server.base_url)}), Miserly(error))
            with pytest.raises(type(error)):
                await gateway.call(call())
            assert server.stats["paid_total"] == 0
            await gateway.close()

    asyncio.run(ask())


def test_usage_that_cannot_be_is_not_taken_for_spend():
    class Boaster(OpenAIClient):
        async def complete(self, request: Request) -> Response:
            return replace(await super().complete(request), tokens_in=9_000_000, tokens_out=9_000_000)

    async def ask() -> None:
        async with ScriptedServer() as server:
            ledger = MemoryLedger()
            gateway = Gateway(Boaster({"default": Address(base_url=server.base_url)}), ledger)
            question = call()
            await gateway.call(question)
            (row,) = ledger.rows.values()
            announced = question.attempt("a", row.key)
            assert row.tokens_in + row.tokens_out <= announced.tokens
            assert row.nusd is not None and announced.nusd is not None and row.nusd <= announced.nusd
            await gateway.close()

    asyncio.run(ask())


def short(most: int) -> WorkSettings:
    return SETTINGS.model_copy(
        update={"roles": Roles(evolver=SETTINGS.roles.evolver.model_copy(update={"max_tokens": most}))}
    )


def test_an_answer_that_was_cut_off_is_asked_for_once_more_with_more_room():
    async def ask() -> None:
        async with room() as here:
            answer = await here.gateway.call(call(settings=short(28)))
            assert (answer.outcome, len(answer.calls)) == ("ok", 2)
            assert [here.ledger.rows[key].outcome for key in answer.calls] == ["cut", "ok"]
            still = await here.gateway.call(call(settings=short(3)))
            assert (still.outcome, len(still.calls)) == ("cut", 2)

    asyncio.run(ask())


def test_where_the_budget_has_no_more_room_the_cut_answer_stands():
    async def ask() -> None:
        async with ScriptedServer() as server:
            ledger = Miserly(BudgetSpent("no cap leaves room"), after=1)
            gateway = Gateway(OpenAIClient({"default": Address(base_url=server.base_url)}), ledger)
            answer = await gateway.call(call(settings=short(3)))
            assert (answer.outcome, len(answer.calls), server.stats["paid_total"]) == ("cut", 1, 1)
            await gateway.close()

    asyncio.run(ask())


def test_who_shares_a_call_that_is_withdrawn_makes_their_own():
    class First(Miserly):
        async def open(self, attempt: AttemptRow) -> None:
            await asyncio.sleep(0.02)
            if attempt.task_id == 2:
                raise Withdrawn("its task has been taken away")
            await MemoryLedger.open(self, attempt)

    async def ask() -> None:
        async with ScriptedServer() as server:
            gateway = Gateway(OpenAIClient({"default": Address(base_url=server.base_url)}), First(Withdrawn("")))
            other = replace(call(), lease=replace(LEASE, task_id=9))
            found = await asyncio.gather(gateway.call(call()), gateway.call(other), return_exceptions=True)
            assert isinstance(found[0], Withdrawn)
            assert isinstance(found[1], Answer) and found[1].outcome == "ok"
            await gateway.close()

    asyncio.run(ask())
