"""What a model call can end with. Whether its task is tried again is a property of the class."""

from typing import ClassVar

from db.errors import BROKEN_ENDPOINT, WITHDRAWN, InstructreeError, Retry


class ModelError(InstructreeError):
    """A call without an answer. The message is one line and holds no key, header or address with credentials.

    `may_be_paid` says whether the endpoint may have done the work, and charge for it, all the same.
    """

    may_be_paid: ClassVar[bool] = False


class RetryLater(ModelError):
    """The world was at fault: the same call may succeed later."""

    retry: ClassVar[Retry] = Retry.FREE
    retry_after_s: float | None = None


class ConnectionFailed(RetryLater):
    """There was no connection, so nothing was asked."""


class AnswerLost(RetryLater):
    """The question was sent, and no answer that can be read came back."""

    retry: ClassVar[Retry] = Retry.COUNTED
    may_be_paid: ClassVar[bool] = True


class BrokenOff(AnswerLost):
    """The connection broke off before the answer was whole."""


class TimedOut(AnswerLost):
    """No whole answer before the deadline."""


class Unreadable(AnswerLost):
    """What came back is no answer."""


class RateLimited(RetryLater):
    """429. `retry_after_s` is what the endpoint asked for, None when it did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerFault(RetryLater):
    """5xx: the endpoint says itself that it failed."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LedgerAway(RetryLater):
    """The database cannot be reached, so nothing may be asked, or what was answered is not durable yet."""


class NoLeave(RetryLater):
    """The limiter lets nobody ask before `retry_after_s`. Nothing was asked, so the task goes back to the queue."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(f"{message}; trying again in {max(round(retry_after_s), 1)} s")
        self.retry_after_s = retry_after_s


class LimitReached(NoLeave):
    """The limit, or what the endpoint asked for with a Retry-After, puts the call off for too long to wait here."""

    def __init__(self, endpoint: str, retry_after_s: float) -> None:
        super().__init__(f"endpoint {endpoint!r} is at its limit", retry_after_s=retry_after_s)


class RetriesSpent(NoLeave):
    """Of all calls too many were retries lately."""

    def __init__(self, endpoint: str, retry_after_s: float) -> None:
        super().__init__(f"endpoint {endpoint!r} had too many retries lately", retry_after_s=retry_after_s)


class EndpointAway(NoLeave):
    """Several attempts in a row failed, so all workers leave the endpoint alone for a while."""

    def __init__(self, endpoint: str, retry_after_s: float) -> None:
        super().__init__(f"endpoint {endpoint!r} is not answering", retry_after_s=retry_after_s)


class Withdrawn(ModelError):
    """The call was not made, because nobody wants its answer any more: its task has gone, or its run is paused."""

    retry: ClassVar[Retry] = Retry.FREE
    family: ClassVar[str | None] = WITHDRAWN


class CallRefused(ModelError):
    """400, 413, 422: this request is never accepted."""


class AnswerTooLarge(CallRefused):
    """The answer is longer than can be taken, and would be so again."""

    may_be_paid: ClassVar[bool] = True


class BudgetSpent(CallRefused):
    """No cap leaves room for another call."""


class LedgerRefused(CallRefused):
    """The database will never take this row (its run is gone, or it breaks a constraint)."""


class EndpointBroken(ModelError):
    """No request to this endpoint will be accepted until somebody mends it."""

    retry: ClassVar[Retry] = Retry.FREE
    family: ClassVar[str | None] = BROKEN_ENDPOINT


class AnswersCompressed(EndpointBroken):
    """It compresses its answers although that was declined."""

    may_be_paid: ClassVar[bool] = True


class Unauthorized(EndpointBroken):
    """401 or 403: the key is missing, wrong, or may not use this model."""


class ModelMissing(EndpointBroken):
    """404: the endpoint has no such model, or no such path."""


class QuotaSpent(EndpointBroken):
    """402, or a 429 that says the account has nothing left: waiting a minute will not help."""
