"""Models for a command that needs no database: a limit on calls, and what was spent in the end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from workers.asking import Answer, Ask
from workers.config import Role, RoleSettings, WorkSettings
from workers.llm.address import addresses
from workers.llm.call import call_for
from workers.llm.client import ModelClient, OpenAIClient
from workers.llm.errors import BudgetSpent, ModelError
from workers.llm.gateway import Gateway
from workers.llm.ledger import MemoryLedger
from workers.llm.request import Request, Response
from workers.prompting import Prompt

_ROOM, _PROMPT_ROOM = 2048, 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What went out. `calls` counts every one that may be charged, tokens those that were answered; `nusd` is None
    where a price is not known.
    """

    calls: int
    tokens_in: int
    tokens_out: int
    nusd: int | None


class Metered:
    """A client that makes no more than so many calls which may be charged."""

    def __init__(self, client: ModelClient, most: int) -> None:
        self._client = client
        self._most = most
        self.calls = 0

    @property
    def exhausted(self) -> bool:
        return self.calls >= self._most

    async def complete(self, request: Request) -> Response:
        """Raises BudgetSpent instead of making a call too many."""
        if self.exhausted:
            raise BudgetSpent(f"all {self._most} calls are spent")
        self.calls += 1
        try:
            return await self._client.complete(request)
        except ModelError as error:
            self.calls -= not error.may_be_paid
            raise

    async def close(self) -> None:
        await self._client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """Something to ask with, and what that has cost so far.

    `ask` asks as a run does; `ask_at_length` gives the evolver room for many instructions and a long answer.
    """

    ask: Ask
    ask_at_length: Ask
    meter: Metered
    ledger: MemoryLedger

    @property
    def spent(self) -> Spent:
        rows = self.ledger.rows.values()
        prices = [row.nusd for row in rows]
        known = [price for price in prices if price is not None]
        return Spent(
            calls=self.meter.calls,
            tokens_in=sum(row.tokens_in for row in rows),
            tokens_out=sum(row.tokens_out for row in rows),
            nusd=sum(known) if len(known) == len(prices) else None,
        )


@asynccontextmanager
async def open_purse(
    settings: WorkSettings, environment: Mapping[str, str], max_calls: int, client: ModelClient | None = None
) -> AsyncIterator[Purse]:
    """Models as these settings and this environment name them, for at most so many calls."""
    meter = Metered(client or OpenAIClient(addresses(environment)), max_calls)
    ledger = MemoryLedger()
    gateway = Gateway(meter, ledger)

    try:
        yield Purse(
            ask=_asking(gateway, settings),
            ask_at_length=_asking(gateway, roomy(settings)),
            meter=meter,
            ledger=ledger,
        )
    finally:
        await gateway.close()


def _asking(gateway: Gateway, settings: WorkSettings) -> Ask:
    async def ask(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        return await gateway.call(call_for(settings, role, prompt, sample=sample))

    return ask


def roomy(settings: WorkSettings) -> WorkSettings:
    """The same, with room for a meta-prompt: it shows many instructions, and several operators may be its answer."""
    evolver: RoleSettings = settings.role(Role.EVOLVER)
    room = {
        "max_tokens": max(evolver.max_tokens, _ROOM),
        "max_prompt_tokens": max(evolver.max_prompt_tokens, _PROMPT_ROOM),
    }
    roles = settings.roles.model_copy(update={"evolver": evolver.model_copy(update=room)})
    return settings.model_copy(update={"roles": roles})
