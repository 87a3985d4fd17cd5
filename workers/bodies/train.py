"""Task `train`: one step of the run's student on each batch of a round. No step is ever taken twice."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.config import WorkSettings
from workers.contracts import Batch, Step, TrainPayload, TrainResult
from workers.training import checkpoints
from workers.training.errors import StudentUnusable
from workers.training.settings import StudentSettings
from workers.training.steps import Learner, begin, restore, save, take_step
from workers.training.texts import LessonText


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A student in memory, in its folder, before step `step`."""

    folder: Path
    step: int
    settings: StudentSettings
    learner: Learner


class _Classroom:
    """Memory and processors are for one student at a time; the last one stays, for the next task of its run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._ready: _Ready | None = None

    def fetch(self, folder: Path, step: int, settings: StudentSettings) -> Learner:
        """The student before `step`, and out of here until it is put back: a step that breaks off leaves none."""
        ready, self._ready = self._ready, None
        if ready and (ready.folder, ready.step, ready.settings) == (folder, step, settings):
            return ready.learner
        del ready  # its memory may be needed for the other one
        learner = begin(settings)
        if step:
            restore(learner, checkpoints.step_folder(folder, step - 1))
        return learner

    def put_back(self, ready: _Ready) -> None:
        self._ready = ready

    def empty(self) -> None:
        self._ready = None


_CLASSROOM = _Classroom()


def train(
    payload: TrainPayload, lessons: Mapping[int, LessonText], settings: WorkSettings, folder: Path
) -> TrainResult:
    """One step for each batch, in their order; those that the folder has already are reported as they were.

    `lessons` holds every member of every batch. Blocks, for as long as another task of this process trains, too.

    Raises:
        MachineUnfit: this machine lacks what it takes; another may have it.
        StudentUnusable: no machine can train this student, or the folder holds another training.
    """
    with _CLASSROOM.lock, checkpoints.held(folder):
        done = checkpoints.finished(folder)
        steps, replayed = [], 0
        for number, batch in enumerate(payload.batches, payload.step):
            digest = checkpoints.digest_of(batch, lessons, settings.student)
            if record := done.get(number):
                steps.append(_recorded(record, digest, folder))
                replayed += 1
            else:
                steps.append(_train_on(batch, number, lessons, settings.student, folder, digest))
    return TrainResult(steps=tuple(steps), replayed=replayed)


def _recorded(record: checkpoints.Record, digest: str, folder: Path) -> Step:
    if record.digest != digest:
        raise StudentUnusable(
            f"{folder}: its step {record.step.step} was taken on other texts or settings, so it is another run's; "
            "move the folder away, or name another one in INSTRUCTREE_STUDENTS"
        )
    return record.step


def _train_on(
    batch: Batch, number: int, lessons: Mapping[int, LessonText], settings: StudentSettings, folder: Path, digest: str
) -> Step:
    learner = _CLASSROOM.fetch(folder, number, settings)
    step = take_step(learner, batch, number, lessons)
    checkpoints.write(folder, checkpoints.Record(step=step, digest=digest), lambda fresh: save(learner, fresh))
    _CLASSROOM.put_back(_Ready(folder=folder, step=number + 1, settings=settings, learner=learner))
    return step


def forget() -> None:
    """Lets the student in memory go, as a worker that ends would."""
    with _CLASSROOM.lock:
        _CLASSROOM.empty()
