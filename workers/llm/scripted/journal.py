"""The count of what was paid, kept in a file so that it outlives a `kill -9` of the endpoint."""

import os
from collections.abc import Iterator
from pathlib import Path


class Journal:
    """Lines of words. A line is with the kernel when `write` returns, so it survives the process (not the machine)."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be opened."""
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # whoever wrote the last line was killed over it

    def lines(self) -> Iterator[list[str]]:
        """What was written so far, by this process and those before it."""
        with self._path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                yield line.split()

    def write(self, *lines: tuple[object, ...]) -> None:
        """Appends all lines at once. Raises OSError."""
        os.write(self._file, "".join(" ".join(map(str, words)) + "\n" for words in lines).encode())

    def close(self) -> None:
        os.close(self._file)
