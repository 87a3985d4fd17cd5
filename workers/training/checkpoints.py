"""A student's folder: one `step-000012` for each finished step, so that none is ever taken twice.

Each holds `step.json`, the record of what the step said, for good; the latest two also the trained weights and the
optimiser's state. A step is finished when its folder has its name, which it is given at once, whole.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.contracts import Batch, Step
from workers.training.errors import MachineUnfit, StudentUnusable
from workers.training.settings import StudentSettings
from workers.training.texts import LessonText

KEPT = 2
_RECORD = "step.json"
_NAME = re.compile(r"step-(\d{6,})")
_UNFINISHED = ".new"


class Record(BaseModel):
    """A finished step, and the digest of what it was taken on: its batch, the texts, the student's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: Step
    digest: str


def step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def digest_of(batch: Batch, lessons: Mapping[int, LessonText], student: StudentSettings) -> str:
    """The same for the same lesson to the same student, whoever gives it."""
    said = [batch.ordinal, [[member, asdict(lessons[member])] for member in batch.members], student.model_dump()]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, for this process alone; what a killed one left unfinished is removed.

    Raises:
        MachineUnfit: another process is training this student.
        StudentUnusable: the folder cannot be made or written.
    """
    with _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineUnfit(f"{folder}: another process is training this student; wait until it is done") from None
        for left in folder.glob(f".*{_UNFINISHED}"):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StudentUnusable(
            f"{folder}: checkpoints cannot be written ({error.strerror}); name another folder in INSTRUCTREE_STUDENTS"
        ) from None
    try:
        yield file
    finally:
        os.close(file)


def finished(folder: Path) -> dict[int, Record]:
    """The records of all finished steps, by their number. A folder without a readable record is none of them."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if (name := _NAME.fullmatch(path.name)) and (record := _read(path / _RECORD)):
            found[int(name[1])] = record
    return found


def _read(path: Path) -> Record | None:
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write(folder: Path, record: Record, fill: Callable[[Path], None]) -> None:
    """Keeps a finished step and what `fill` puts beside its record; of steps before the latest two the record only.

    Raises:
        MachineUnfit: the disk is full, or went away.
    """
    number = record.step.step
    target = step_folder(folder, number)
    fresh = folder / f".{target.name}.{secrets.token_hex(4)}{_UNFINISHED}"
    try:
        fresh.mkdir(mode=0o700)
        fill(fresh)
        (fresh / _RECORD).write_text(record.model_dump_json() + "\n", encoding="utf-8")
        _to_disk(fresh)
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
        _sync(folder)
        _thin_out(folder, number)
    except OSError as error:
        raise MachineUnfit(f"{target}: the checkpoint cannot be written ({error.strerror}); make room") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _thin_out(folder: Path, latest: int) -> None:
    for path in folder.glob("step-*"):
        if (name := _NAME.fullmatch(path.name)) and int(name[1]) <= latest - KEPT:
            for file in path.iterdir():
                if file.name != _RECORD:
                    file.unlink()


def latest(folder: Path) -> Path:
    """The folder of the last finished step; `folder` itself if it is one.

    Raises:
        MachineUnfit: there is none.
    """
    if _NAME.fullmatch(folder.name) and _read(folder / _RECORD):
        return folder
    steps = finished(folder)
    if not steps:
        raise MachineUnfit(
            f"{folder}: no checkpoint of a student; it lies where the worker for `train` runs, "
            "or name its folder with --student"
        )
    return step_folder(folder, max(steps))
