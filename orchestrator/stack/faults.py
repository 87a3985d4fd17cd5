"""What can go wrong on the way to a running stack, each as one line with its cause and its cure."""

import errno
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.errors import ServiceError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
DISK_FULL_TEXT = "No space left on device"


def disk_full(folder: Path | str) -> ServiceError:
    return ServiceError(
        f"no space left on the disk that holds {folder}: free some (a new stack takes about 500 MB), "
        "or set INSTRUCTREE_HOME to a folder on another disk"
    )


def package_folder(package: str, *, title: str, instead: str) -> Path:
    """Folder of an installed package of the extra `local`, without importing the package.

    Raises ServiceError if it is not installed. `instead` is what the user may point elsewhere.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(
            f"{title} is not installed: pip install 'instructree[local]', or point {instead} to a running one"
        )
    return Path(next(iter(spec.submodule_search_locations)))


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turns an error of the operating system into the ServiceError that a user can act on."""
    try:
        yield
    except OSError as error:
        where = error.filename or home
        if error.errno in _DISK_FULL:
            raise disk_full(where) from error
        reason = error.strerror or str(error)
        raise ServiceError(
            f"the local stack in {home} cannot be used ({reason}: {where}): "
            "mend that, or set INSTRUCTREE_HOME to a folder of your own"
        ) from error
