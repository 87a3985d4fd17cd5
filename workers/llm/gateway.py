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
from dataclasses import dataclass

from sqlalchemy import Engine

from db.records import CallRow, Json
from workers.asking import Answer
from workers.config import Endpoint, Role, Style, WorkSettings
from workers.llm.address import Address
from workers.llm.client import ModelClient, OpenAIClient
from workers.llm.errors import CallRefused, ModelError, RetryLater, TimedOut
from workers.llm.keys import content_key
from workers.llm.ledger import DatabaseLedger, Ledger
from workers.llm.limiter import Limiter, ProcessLimiter, Take
from workers.llm.outcome import outcome_of
from workers.llm.request import Message, Request, Response, Schema
from workers.prompting import Prompt

# Few tokens are shorter than three bytes of prose, so this overestimates a little.
_BYTES_PER_TOKEN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """How long to try on while the world is at fault. Times are seconds.

    A time-out is tried again less often, because the endpoint may charge for each. Beyond `longest_wait_s` the call is
    given up, so that its task goes back to the queue and frees the slot.
    """

    attempts: int = 4
    attempts_timed_out: int = 2
    first_wait_s: float = 0.5
    longest_backoff_s: float = 8.0
    longest_wait_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, the traits of its endpoint, and on whose account it goes."""

    request: Request
    role: Role
    traits: Endpoint
    run_id: int | None = None
    task_id: int | None = None

    @property
    def most_tokens(self) -> int:
        return prompt_tokens(self.request) + self.request.max_tokens


def call_for(
    settings: WorkSettings,
    role: Role,
    prompt: Prompt,
    *,
    sample: int = 0,
    run_id: int | None = None,
    task_id: int | None = None,
) -> Call:
    """The call that asks this prompt of the endpoint of a role, sampled as the run's settings say.

    Raises:
        CallRefused: the prompt is longer than the run reserved for.
    """
    chosen, traits = settings.role(role), settings.endpoint(role)
    asked = _question(prompt)
    request = Request(
        endpoint=chosen.endpoint,
        model=traits.model,
        style=prompt.style,
        prompt=asked if isinstance(asked, str) else "",
        messages=() if isinstance(asked, str) else asked,
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        max_tokens=min(prompt.max_tokens or chosen.max_tokens, chosen.max_tokens),
        presence_penalty=chosen.penalty,
        frequency_penalty=chosen.penalty if prompt.frequency_penalty is None else prompt.frequency_penalty,
        stop=prompt.stop,
        schema=Schema(name=prompt.schema_name, schema=prompt.schema) if prompt.schema_name and prompt.schema else None,
        json_mode=traits.json_mode,
        logprobs=prompt.logprobs,
        extra=chosen.extra,
        sample=sample,
        timeout_s=traits.timeout_s,
    )
    if (tokens := prompt_tokens(request)) > chosen.max_prompt_tokens:
        raise CallRefused(
            f"a prompt of about {tokens} tokens for the {role.value} is over its max_prompt_tokens"
            f" ({chosen.max_prompt_tokens})"
        )
    return Call(request=request, role=role, traits=traits, run_id=run_id, task_id=task_id)


def _question(prompt: Prompt) -> str | tuple[Message, ...]:
    if prompt.style is Style.COMPLETION:
        return prompt.text
    system = (Message(role="system", content=prompt.system),) if prompt.system else ()
    return (*system, Message(role="user", content=prompt.text))


def prompt_tokens(request: Request) -> int:
    """About how many tokens the question has, rather too many than too few."""
    texts = (request.prompt, *(message.content for message in request.messages))
    return -(-sum(len(text.encode(errors="replace")) for text in texts) // _BYTES_PER_TOKEN)


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
        """The answer, replayed or paid for. Two callers with one question share one call.

        Raises:
            ModelError: no answer was to be had.
            ServiceError: the endpoint has no address on this machine.
        """
        key = content_key(call.request)
        shared = self._flying.get(key)
        flight = shared or self._start(key, call)
        # A caller who is cancelled must not take a call along that is already being paid for.
        row, replayed = await asyncio.shield(flight)
        return _answer(row, replayed=replayed or shared is not None)

    def _start(self, key: str, call: Call) -> "asyncio.Task[tuple[CallRow, bool]]":
        flight = asyncio.create_task(self._fetch(key, call))
        self._flying[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: str, flight: "asyncio.Task[tuple[CallRow, bool]]") -> None:
        self._flying.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # looked at, in case every caller has gone

    async def _fetch(self, key: str, call: Call) -> tuple[CallRow, bool]:
        """The row of this call, and whether it was there already."""
        known = await self._ledger.lookup(key)
        if known is not None:
            return known, True
        response = await self._pay(call)
        return await self._ledger.record(_row(key, call, response)), False

    async def _pay(self, call: Call) -> Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(call)
            except RetryLater as failure:
                most = self._retrying.attempts_timed_out if isinstance(failure, TimedOut) else self._retrying.attempts
                wait_s = self._wait_s(failure, attempt)
                if attempt >= most or wait_s > self._retrying.longest_wait_s:
                    raise
            await self._sleep(wait_s)

    async def _attempt(self, call: Call) -> Response:
        take = Take(
            id=uuid.uuid4().hex,
            endpoint=call.request.endpoint,
            tokens=call.most_tokens,
            concurrency=call.traits.concurrency,
        )
        await self._limiter.acquire(take)
        failure: ModelError | None = None
        try:
            response = await self._client.complete(call.request)
            await self._limiter.settle(take, tokens=response.tokens_in + response.tokens_out)
        except ModelError as error:
            failure = error
            raise
        finally:
            await self._limiter.release(take, failure)
        return response

    def _wait_s(self, failure: RetryLater, attempt: int) -> float:
        """What the endpoint asked for and a little, so that not all come back at once; otherwise full jitter."""
        if failure.retry_after_s is not None:
            return failure.retry_after_s + self._uniform(0, self._retrying.first_wait_s)
        bound = self._retrying.first_wait_s * 2.0**attempt
        return self._uniform(0, min(bound, self._retrying.longest_backoff_s))

    async def close(self) -> None:
        """Waits for the calls in flight, then closes connections and ledger."""
        await asyncio.gather(*self._flying.values(), return_exceptions=True)
        await self._client.close()
        await asyncio.to_thread(self._ledger.close)


async def open_gateway(engine: Engine, book: Mapping[str, Address]) -> Gateway:
    """The gateway of a worker process, for the running event loop."""
    return Gateway(OpenAIClient(book), DatabaseLedger(engine))


def _row(key: str, call: Call, response: Response) -> CallRow:
    kept: dict[str, object] = {
        "text": response.text,
        "finish_reason": response.finish_reason,
        "model": response.model,
    }
    if response.top_logprobs is not None:
        kept["first_token"] = dict(response.top_logprobs)
    return CallRow(
        key=key,
        run_id=call.run_id,
        task_id=call.task_id,
        role=call.role.value,
        endpoint=call.request.endpoint,
        model=call.request.model,
        tokens_in=response.tokens_in,
        tokens_out=response.tokens_out,
        nusd=call.traits.nusd(response.tokens_in, response.tokens_out),
        latency_s=response.latency_s,
        outcome=outcome_of(call.request, response),
        response=kept,
    )


def _answer(row: CallRow, *, replayed: bool) -> Answer:
    response: Json = row.response
    return Answer(
        text=response["text"],
        outcome=row.outcome,
        call=row.key,
        replayed=replayed,
        first_token=response.get("first_token"),
    )
