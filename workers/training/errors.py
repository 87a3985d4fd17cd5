"""Why a student cannot be trained or measured. The class says whether another machine may do what this one cannot."""

from typing import ClassVar

from db.errors import Retry, UserError


class StudentUnusable(UserError):
    """No machine can train this student as it is set, or its folder holds somebody else's training."""


class MachineUnfit(UserError):
    """This machine lacks something: the extra, the model's files, a GPU, memory, a checkpoint. Another may have it."""

    retry: ClassVar[Retry] = Retry.COUNTED
