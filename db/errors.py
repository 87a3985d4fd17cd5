"""The one error tree. Whether an error may be retried is a property of its class, never of its text.

::

    InstructreeError
    ├── UserError                 the user can mend it: one line with cause and cure, exit code 2
    │   ├── InputError            seeds that cannot be read
    │   ├── ConfigError           an unknown name, or a value out of its range
    │   └── ServiceError          a database, broker, endpoint or local service that is not there
    ├── Untold                    a notice that did not arrive         (orchestrator/notices/)
    ├── StaleLease                a fenced write came after the lease had gone to somebody else
    └── ModelError                what a model call can end with       (workers/llm/errors.py)
        ├── RetryLater            connection, time-out, 429, 5xx       retryable
        ├── CallRefused           400, 413, 422: this request is never accepted
        └── EndpointBroken        401, 403, 404: no request to this endpoint will be
"""

from typing import ClassVar


class InstructreeError(Exception):
    """Root of everything this program raises on purpose."""

    retryable: ClassVar[bool] = False


class UserError(InstructreeError):
    """Something the user can mend. The message is one line that names the cause and the cure."""


class InputError(UserError):
    """Seeds that cannot be read."""


class ConfigError(UserError):
    """A configuration with an unknown name or a value out of its range."""


class ServiceError(UserError):
    """A database, broker, endpoint or local service that cannot be reached or used."""


class StaleLease(InstructreeError):
    """The lease on a task or run has gone to somebody else; whatever was to be written is void."""
