"""`--reload`: noticing that the entry script, or another Python file beside or below it, has changed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_S = 0.3
_NOT_SOURCES = {"__pycache__", "node_modules", "azureml-models"}


class Sources:
    """The Python files below some folders.

    Args:
        folders: The folders.
        changed: Called when a file was changed, made or removed.
    """

    def __init__(self, folders: set[Path], changed: Callable[[], None]) -> None:
        self._folders = folders
        self._changed = changed
        self._seen = self._look()

    async def watch(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            found = self._look()
            if found != self._seen:
                for path, _ in found.items() ^ self._seen.items():
                    _forget(path)
                self._seen = found
                self._changed()

    def _look(self) -> dict[str, int]:
        return {entry.path: entry.stat().st_mtime_ns for folder in self._folders for entry in _files(folder)}


def _forget(path: str) -> None:
    """Remove what Python has compiled of a file: it takes that for current while size and second of change agree."""
    with contextlib.suppress(OSError):
        Path(importlib.util.cache_from_source(path)).unlink()


def _files(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_SOURCES:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.name.endswith(".py") and entry.is_file():
            yield entry
