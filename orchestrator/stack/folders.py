"""Where the local stack lives: one folder of the user, and as root a second one outside any home for PostgreSQL."""

import hashlib
import os
import pwd
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from db.errors import ServiceError

_SOCKET_FOLDER_LIMIT = 88  # bytes: a socket's address holds 103 at least, "/.s.PGSQL.5432" takes 14 of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of the operating system that a server runs as."""

    name: str
    uid: int
    gid: int


def locate_home() -> Path:
    """INSTRUCTREE_HOME, or the user's data folder, by the one name that it has without links. Nothing is created."""
    named = os.environ.get("INSTRUCTREE_HOME")
    folder = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("instructree"))
    return Path(os.path.realpath(folder))


def home() -> Path:
    """The folder of the stack, created for its owner alone if it is missing; an existing one keeps its permissions."""
    folder = locate_home()
    folder.parent.mkdir(parents=True, exist_ok=True)
    private_folder(folder)
    return folder


def private_folder(folder: Path) -> Path:
    """Creates one folder for its owner alone; leaves an existing one as it is."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    return folder


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replaces a file at once: a reader, or a crash, sees the old text or the new, never half of one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(fresh, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def system_folder() -> Path:
    """Where root keeps what PostgreSQL must reach as another user: outside any home, so that no home is opened."""
    return Path(os.path.realpath(os.environ.get("INSTRUCTREE_SYSTEM_DIR") or "/var/lib/instructree"))


def short_hash(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


def own_account() -> Account:
    """The user this program runs as; PostgreSQL needs its name."""
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise ServiceError(
            f"PostgreSQL cannot run as user id {uid}, which has no name on this machine: add one to /etc/passwd, "
            "or point INSTRUCTREE_DATABASE_URL to a running server"
        ) from None
    return Account(name=entry.pw_name, uid=uid, gid=os.getegid())


def server_account() -> Account | None:
    """Whom PostgreSQL runs as when root starts it, which it would refuse itself; None for an ordinary user."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ServiceError(
            "PostgreSQL refuses to run as root and this machine has no user `nobody` to run it: start instructree "
            "as an ordinary user, or point INSTRUCTREE_DATABASE_URL to a running server"
        ) from None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def socket_folder(wanted: Path, *, key: Path) -> Path:
    """`wanted`, or a private folder of the system's temporary one where that name is too long for a socket."""
    if len(os.fsencode(wanted)) <= _SOCKET_FOLDER_LIMIT:
        return wanted
    leaf = f"instructree-{os.geteuid()}-{short_hash(key)}"
    candidate = Path(tempfile.gettempdir()) / leaf
    return candidate if len(os.fsencode(candidate)) <= _SOCKET_FOLDER_LIMIT else Path("/tmp") / leaf


def require_private(folder: Path, owner: int) -> None:
    """Raises ServiceError unless the folder is a real one, the owner's, and closed to everyone else."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise ServiceError(
            f"{folder} is not a private folder of user id {owner}: remove it, or set INSTRUCTREE_HOME to a shorter path"
        )
