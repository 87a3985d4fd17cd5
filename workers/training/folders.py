"""Where the students of runs are kept on this machine, or on a share of all machines that train."""

import os
from pathlib import Path

import platformdirs

from db.records import Run

STUDENTS = "INSTRUCTREE_STUDENTS"


def students_folder() -> Path:
    """INSTRUCTREE_STUDENTS, or `students` in INSTRUCTREE_HOME or the user's data folder. Nothing is created."""
    if named := os.environ.get(STUDENTS):
        return Path(os.path.realpath(Path(named).expanduser()))
    home = os.environ.get("INSTRUCTREE_HOME")
    folder = Path(home).expanduser() if home else Path(platformdirs.user_data_dir("instructree"))
    return Path(os.path.realpath(folder)) / "students"


def student_folder(run: Run) -> Path:
    """The folder of one run's student. Nothing is created.

    Every database counts its runs from 1: when a run was begun tells those of several apart.
    """
    return students_folder() / f"{run.id}-{run.created_at:%Y%m%d%H%M%S}"
