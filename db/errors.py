"""The one error tree. Whether a task that ends with an error is tried again is a property of its class (`retry`), never
of its text.

::

    InstructreeError              NEVER, where nothing else is said
    ├── UserError                 the user can mend it: one line with cause and cure, exit code 2
    │   ├── InputError            seeds that cannot be read
    │   ├── ConfigError           an unknown name, or a value out of its range
    │   ├── ServiceError          a database, broker, endpoint or local service is not there   FREE
    │   ├── TrainingFailed        a student was not trained            (orchestrator/teaching.py)
    │   ├── StudentUnusable       no machine can train this student    (workers/training/errors.py)
    │   └── MachineUnfit          this machine cannot, another may                             COUNTED
    ├── Untold                    a notice that did not arrive         (orchestrator/notices/)
    ├── StaleLease                a fenced write came after the lease had gone to somebody else
    └── ModelError                what a model call can end with       (workers/llm/errors.py)
        ├── RetryLater            no connection, 429, 5xx, no database, no leave               FREE
        │   └── AnswerLost        a time-out, a break-off: it may be charged                   COUNTED
        ├── Withdrawn             nobody wants the answer any more                             FREE
        ├── CallRefused           400, 413, 422, no budget: this request is never accepted
        └── EndpointBroken        401, 403, 404: no request is, until somebody mends it        FREE
"""

from enum import Enum, auto
from typing import ClassVar

# Tasks keep the error that ended their last attempt as `family: message`. These families are looked for again.
# An endpoint that is broken is no task's fault: the run waits for its owner to mend it.
BROKEN_ENDPOINT = "EndpointBroken"
WITHDRAWN = "Withdrawn"


class Retry(Enum):
    """What becomes of a task that ended with an error.

    NEVER: it has failed. COUNTED: it is tried again while it has attempts left, since each may cost money or hours.
    FREE: it is tried again, and this attempt does not count.
    """

    NEVER = auto()
    COUNTED = auto()
    FREE = auto()


class InstructreeError(Exception):
    """Root of everything this program raises on purpose."""

    retry: ClassVar[Retry] = Retry.NEVER
    family: ClassVar[str | None] = None

    @property
    def told(self) -> str:
        """How a task keeps it: the message after its family, or after the name of its class where it has none."""
        return f"{self.family or type(self).__name__}: {self}"


class UserError(InstructreeError):
    """Something the user can mend. The message is one line that names the cause and the cure."""


class InputError(UserError):
    """Seeds that cannot be read."""


class ConfigError(UserError):
    """A configuration with an unknown name or a value out of its range."""


class ServiceError(UserError):
    """A database, broker, endpoint or local service that cannot be reached or used."""

    retry: ClassVar[Retry] = Retry.FREE


class StaleLease(InstructreeError):
    """The lease on a task or run has gone to somebody else; whatever was to be written is void."""
