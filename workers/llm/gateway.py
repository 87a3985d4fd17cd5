"""The gateway: a question goes in, an answer that is already in the ledger comes out.

Ledger first: what was answered before is replayed free, whatever became of it. A refusal comes back as a refusal; who
wants another try asks for another sample. (Paying again under the same key would make a task that is delivered twice
end in two ways, and law 3 of the design forbids it.) Otherwise: leave from the limiter, the call, its outcome, its row,
and only then the answer.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from db import tracing
from db.chaos import stumble_async
from db.errors import ServiceError
from db.records import CallRow, Json
from workers.asking import Answer
from workers.llm.address import Address
from workers.llm.call import Call
from workers.llm.client import ModelClient, OpenAIClient
from workers.llm.errors import (
    AnswerLost,
    BudgetSpent,
    CallRefused,
    LedgerAway,
    ModelError,
    NoLeave,
    RetryLater,
    Withdrawn,
)
from workers.llm.keys import content_key
from workers.llm.ledger import DatabaseLedger, Ledger
from workers.llm.limits import Limiter, ProcessLimiter, Take
from workers.llm.outcome import outcome_of
from workers.llm.request import Response
from workers.traced import watch_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """How long to try on while the world is at fault. Times are seconds.

    When an answer was lost it is tried again less often, because the endpoint may charge for each. Beyond
    `longest_wait_s` the call is given up, so that its task goes back to the queue and frees the slot.
    """

    attempts: int = 4
    attempts_lost: int = 2
    first_wait_s: float = 0.5
    longest_backoff_s: float = 8.0
    longest_wait_s: float = 30.0

    def goes_on(self, attempts: int, lost: int, wait_s: float) -> bool:
        """Whether there is another attempt after so many, `lost` of them without an answer that came."""
        return attempts < self.attempts and lost < self.attempts_lost and wait_s <= self.longest_wait_s


class Gateway:
    """The door to all models. It belongs to one event loop."""

    def __init__(
        self,
        client: ModelClient,
        ledger: Ledger,
        *,
        limiter: Limiter | None = None,
        retrying: Retrying | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._limiter = limiter or ProcessLimiter()
        self._retrying = retrying or Retrying()
        self._sleep = sleep
        self._uniform = uniform
        self._flying: dict[str, asyncio.Task[tuple[CallRow, bool]]] = {}

    async def call(self, call: Call) -> Answer:
        """The answer, replayed or paid for. One that was cut off is asked for once more with more room.

        Raises:
            ModelError: no answer was to be had.
            ServiceError: the endpoint has no address on this machine.
        """
        answer = await self._answer(call)
        roomier = call.with_more_room() if answer.outcome == "cut" else None
        if roomier is None:
            return answer
        try:
            whole = await self._answer(roomier)
        except CallRefused:
            return answer  # the endpoint has no more room, or the budget
        return replace(whole, before=(answer.call,), replayed=whole.replayed + answer.replayed)

    async def _answer(self, call: Call) -> Answer:
        """Two callers with one question share one call, unless it is taken from the one who pays."""
        key = content_key(call.request)
        while shared := self._flying.get(key):
            try:
                row, _ = await asyncio.shield(shared)
                return _answer_of(row, replayed=True)
            except (Withdrawn, BudgetSpent):
                if self._flying.get(key) is shared:
                    self._flying.pop(key)
        # A caller who is cancelled must not take a call along that is already being paid for.
        row, replayed = await asyncio.shield(self._start(key, call))
        return _answer_of(row, replayed=replayed)

    def _start(self, key: str, call: Call) -> "asyncio.Task[tuple[CallRow, bool]]":
        flight = asyncio.create_task(self._fetch(key, call))
        if tracing.on():
            watch_call(flight, call)
        self._flying[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: str, flight: "asyncio.Task[tuple[CallRow, bool]]") -> None:
        if self._flying.get(key) is flight:
            self._flying.pop(key)
        if not flight.cancelled():
            flight.exception()  # looked at, in case every caller has gone

    async def _fetch(self, key: str, call: Call) -> tuple[CallRow, bool]:
        """The row of this call, and whether it was there already."""
        known = await self._ledger.lookup(key)
        if known is not None:
            return known, True
        return await self._pay(key, call), False

    async def _pay(self, key: str, call: Call) -> CallRow:
        attempt = lost = 0
        while True:
            attempt += 1
            take = self._take(call, retry=attempt > 1)
            try:
                response = await self._attempt(key, call, take)
            except (LedgerAway, NoLeave):
                raise  # nothing was asked; ledger and limiter have been patient already
            except RetryLater as failure:
                lost += isinstance(failure, AnswerLost)
                wait_s = self._wait_s(failure, attempt)
                if not self._retrying.goes_on(attempt, lost, wait_s):
                    raise
            else:
                await stumble_async()
                return await self._ledger.record(_row(key, call, response), take.id if call.lease else None)
            await self._sleep(wait_s)

    def _take(self, call: Call, *, retry: bool) -> Take:
        return Take(
            id=uuid.uuid4().hex,
            endpoint=call.request.endpoint,
            model=call.request.model,
            tokens=call.likely_tokens,
            concurrency=call.traits.concurrency,
            requests_per_minute=call.traits.requests_per_minute,
            tokens_per_minute=call.traits.tokens_per_minute,
            retry=retry,
            latest=call.latest,
        )

    async def _attempt(self, key: str, call: Call, take: Take) -> Response:
        await self._limiter.acquire(take)
        failure: ModelError | None = None
        try:
            response = await self._send(key, call, take.id)
            await self._limiter.settle(take, tokens=response.tokens_in + response.tokens_out)
        except ModelError as error:
            failure = error
            raise
        finally:
            await self._limiter.release(take, failure)
        return response

    async def _send(self, key: str, call: Call, attempt_id: str) -> Response:
        """One request, announced before it is sent and taken back if it was surely not paid for."""
        if call.lease:
            await self._ledger.open(call.attempt(attempt_id, key))
            await stumble_async()
        try:
            return await self._client.complete(call.request)
        except (ModelError, ServiceError) as error:
            may_be_paid = isinstance(error, ModelError) and error.may_be_paid
            if call.lease and not may_be_paid:
                with suppress(LedgerAway):
                    await self._ledger.unpaid(attempt_id)
            raise

    def _wait_s(self, failure: RetryLater, attempt: int) -> float:
        """What the endpoint asked for and a little, so that not all come back at once; otherwise full jitter."""
        if failure.retry_after_s is not None:
            return failure.retry_after_s + self._uniform(0, min(failure.retry_after_s, self._retrying.first_wait_s))
        bound = self._retrying.first_wait_s * 2.0**attempt
        return self._uniform(0, min(bound, self._retrying.longest_backoff_s))

    async def close(self) -> None:
        """Waits for the calls in flight, then closes connections and ledger."""
        await asyncio.gather(*self._flying.values(), return_exceptions=True)
        await self._client.close()
        await asyncio.to_thread(self._ledger.close)


async def open_gateway(engine: Engine, book: Mapping[str, Address], limiter: Limiter | None = None) -> Gateway:
    """The gateway of a worker process, for the running event loop."""
    return Gateway(OpenAIClient(book), DatabaseLedger(engine), limiter=limiter)


def _row(key: str, call: Call, response: Response) -> CallRow:
    """Usage beyond what the call can have used is a fault of the endpoint, and no reason to pass a cap."""
    kept: dict[str, object] = {
        "text": response.text,
        "finish_reason": response.finish_reason,
        "model": response.model,
    }
    if response.top_logprobs is not None:
        kept["first_token"] = dict(response.top_logprobs)
    tokens_in = min(response.tokens_in, call.most_tokens_in)
    tokens_out = min(response.tokens_out, call.request.max_tokens)
    return CallRow(
        key=key,
        run_id=call.lease.run_id if call.lease else None,
        task_id=call.lease.task_id if call.lease else None,
        role=call.role.value,
        endpoint=call.request.endpoint,
        model=call.request.model,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        nusd=call.traits.nusd(tokens_in, tokens_out),
        latency_s=response.latency_s,
        outcome=outcome_of(call.request, response),
        response=kept,
    )


def _answer_of(row: CallRow, *, replayed: bool) -> Answer:
    response: Json = row.response
    return Answer(
        text=response["text"],
        outcome=row.outcome,
        call=row.key,
        replayed=replayed,
        first_token=response.get("first_token"),
    )
