"""Makes .venv what a lock file says: called by the Makefile with any Python >= 3.11, before there is any package.

``python scripts/venv.py SET`` installs requirements/SET.txt, every file checked by its hash, and then this checkout
itself, editable. Stamps inside .venv remember what is installed, so a second call costs nothing. Callers wait for
each other on a file lock; a .venv that was left half-made, or was moved, is made anew.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / ".stamps"
LOCK_FILE = ROOT / ".venv.lock"

# Settings that would send the packages elsewhere than into .venv, or change what is imported while they are built.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_NO_BINARY", "PYTHONHOME", "PYTHONPATH")

HEALTHY = """
import pip, sys
sys.exit(sys.prefix != sys.argv[1] or sys.version_info < (3, 11))
"""


def main() -> None:
    if len(sys.argv) != 2 or not lock_of(sys.argv[1]).is_file():
        known = ", ".join(sorted(path.stem for path in (ROOT / "requirements").glob("*.txt")))
        sys.exit(f"error: scripts/venv.py takes the name of one lock: {known}")
    with one_at_a_time():
        ensure_venv()
        ensure_packages(sys.argv[1])
        ensure_project()


def lock_of(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def say(line: str) -> None:
    print(f"[setup] {line}", flush=True)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    with LOCK_FILE.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is setting up .venv: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def ensure_venv() -> None:
    if VENV.exists() and not usable():
        say(".venv is incomplete, moved, or of another Python: making it anew")
        shutil.rmtree(VENV)
    if not VENV.exists():
        say(f"making .venv with Python {sys.version.split()[0]}")
        run(sys.executable, "-m", "venv", str(VENV), failed="cannot make .venv")
    STAMPS.mkdir(exist_ok=True)
    (STAMPS / "location").write_text(str(VENV))


def usable() -> bool:
    """Whether .venv runs, has pip, and lies where its scripts believe it to lie."""
    location = STAMPS / "location"
    if location.is_file() and location.read_text() != str(VENV):
        return False
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", HEALTHY, VENV], stderr=subprocess.DEVNULL).returncode == 0


def ensure_packages(name: str) -> None:
    lock = lock_of(name)
    text = lock.read_text()
    if is_stamped(name, text):
        return
    count = sum("==" in line and not line.startswith((" ", "#")) for line in text.splitlines())
    say(f"installing {count} packages from {lock.relative_to(ROOT)}, hashes checked (the first time takes a minute)")
    pip("--require-hashes", "--no-deps", "-r", str(lock), failed=f"could not install {lock.relative_to(ROOT)}")
    stamp(name, text)


def ensure_project() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    if is_stamped("project", text):
        return
    say("installing instructree itself, editable: changes to the sources count at once")
    pip("--no-deps", "--no-build-isolation", "-e", str(ROOT), failed="could not install this checkout")
    stamp("project", text)


def is_stamped(name: str, text: str) -> bool:
    path = STAMPS / name
    return path.is_file() and path.read_text() == digest(text)


def stamp(name: str, text: str) -> None:
    (STAMPS / name).write_text(digest(text))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pip(*arguments: str, failed: str) -> None:
    options = ("--quiet", "--quiet", "--no-input", "--disable-pip-version-check")
    run(str(PYTHON), "-m", "pip", "install", *options, *arguments, failed=failed)


def run(*command: str, failed: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in MISLEADING}
    code = subprocess.run(command, env=environment, cwd=ROOT).returncode
    if code != 0:
        sys.exit(f"error: {failed} (see above; nothing else was changed, run make again to go on)")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
