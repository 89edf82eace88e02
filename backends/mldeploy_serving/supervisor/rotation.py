"""A log file that is rotated while it is written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LIMIT_BYTES = 10 * 1024 * 1024
KEPT = 3


class RotatedLog:
    """Bytes appended to `path`; a full file becomes `path.1`, that one `path.2`, and so on.

    A file is only closed at the end of a line, so that no line is spread over two files.

    Args:
        path: The file written to; its folder must exist.
        limit: Size in bytes from which on a file is full.
        kept: How many full files are kept.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, limit: int = LIMIT_BYTES, kept: int = KEPT) -> None:
        self._path = path
        self._limit = limit
        self._kept = kept
        self._open()

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. What the disk refuses is lost: the writer of the log must never be blocked by it."""
        room = self._limit - self._size
        end_of_line = chunk.find(b"\n", max(room - 1, 0)) if len(chunk) >= room else -1
        with contextlib.suppress(OSError):
            self._append(chunk[: end_of_line + 1] if end_of_line >= 0 else chunk)
            if end_of_line >= 0:
                with contextlib.suppress(OSError):  # the file grows on
                    self._rotate()
                self._append(chunk[end_of_line + 1 :])

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = os.fstat(self._fd).st_size

    def _append(self, chunk: bytes) -> None:
        while chunk:
            written = os.write(self._fd, chunk)
            self._size += written
            chunk = chunk[written:]

    def _rotate(self) -> None:
        full = self._fd
        for age in range(self._kept, 0, -1):
            older = self._aged(age)
            with contextlib.suppress(FileNotFoundError):
                self._aged(age - 1).replace(older)
        self._open()
        os.close(full)

    def _aged(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}") if age else self._path
