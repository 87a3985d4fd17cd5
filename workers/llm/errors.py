"""What a model call can end with. Whether it may be tried again is a property of the class."""

from typing import ClassVar

from db.errors import InstructreeError


class ModelError(InstructreeError):
    """A call without an answer. The message is one line and holds no key, header or address with credentials."""


class RetryLater(ModelError):
    """The world was at fault: the same call may succeed later."""

    retryable: ClassVar[bool] = True
    retry_after_s: float | None = None


class ConnectionFailed(RetryLater):
    """Nobody answered, or the connection broke off."""


class TimedOut(RetryLater):
    """No whole answer before the deadline. The endpoint may have done, and may charge for, the work."""


class RateLimited(RetryLater):
    """429. `retry_after_s` is what the endpoint asked for, None when it did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerFault(RetryLater):
    """5xx, or an answer that cannot be read."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LedgerAway(RetryLater):
    """The database cannot be reached, so nothing may be asked, or what was answered is not durable yet."""


class CallRefused(ModelError):
    """400, 413, 422: this request is never accepted."""


class LedgerRefused(CallRefused):
    """The database will never take this row (its run is gone, or it breaks a constraint)."""


class EndpointBroken(ModelError):
    """No request to this endpoint will be accepted until somebody mends it."""


class Unauthorized(EndpointBroken):
    """401 or 403: the key is missing, wrong, or may not use this model."""


class ModelMissing(EndpointBroken):
    """404: the endpoint has no such model, or no such path."""


class QuotaSpent(EndpointBroken):
    """402, or a 429 that says the account has nothing left: waiting a minute will not help."""
