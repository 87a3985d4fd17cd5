"""The seam between a task body and the models: it asks a role something and gets an answer."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from workers.config import Role
from workers.contracts import Reason
from workers.llm.errors import BudgetSpent, CallRefused
from workers.prompting import Prompt

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said. `outcome` is ok, cut, empty, refused or filtered; `call` is its key in the ledger.

    `before` are calls whose answers were cut off and asked for again; `replayed` counts those that were not paid.
    """

    text: str
    outcome: str
    call: str
    replayed: int
    first_token: Mapping[str, float] | None = None
    before: tuple[str, ...] = ()

    @property
    def calls(self) -> tuple[str, ...]:
        """All that it took to get it."""
        return (*self.before, self.call)

    @property
    def fault(self) -> Reason | None:
        """Why this answer is no good as it stands."""
        return _FAULTS.get(self.outcome)


_FAULTS = {
    "cut": Reason.CUT_OFF,
    "empty": Reason.EMPTY,
    "refused": Reason.REFUSAL,
    "filtered": Reason.CONTENT_FILTER,
}


def reason_of(error: CallRefused) -> Reason:
    """Why a node or a response failed for want of a call."""
    return Reason.BUDGET if isinstance(error, BudgetSpent) else Reason.CALL_FAILED


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all, side by side. One that fails is raised once the others have ended too.

    They are calls being paid for: were they left behind, a second attempt would pay for them again.
    """
    found = await asyncio.gather(*work, return_exceptions=True)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return [result for result in found if not isinstance(result, BaseException)]


class Ask(Protocol):
    """Asks the endpoint of a role. `sample` tells apart several answers wanted for one prompt.

    Raises:
        ModelError: no answer was to be had.
    """

    async def __call__(self, role: Role, prompt: Prompt, *, sample: int = 0) -> Answer: ...
