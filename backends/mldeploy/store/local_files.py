"""Bytes in a folder: `<aa>/<sha256>`, and `tmp/` for what is on its way in.

A file appears under its hash with one rename, whole. Stored files are read-only, for services share them
by hard links.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timezone
from pathlib import Path

from mldeploy.errors import WorkspaceException
from mldeploy.store.copying import copy_hashed
from mldeploy.store.files import Content, is_stored
from mldeploy.store.owners import alive, this_process

TEMPORARY = "tmp"


class LocalStaging:
    """Files on their way into a folder.

    Args:
        root: The folder of all files.
        folder: Where these wait; on the same file system.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._staged: dict[str, Path] = {}

    def add(self, file: Path, progress: Callable[[int], None]) -> Content:
        """See `Staging`."""
        temporary = self._folder / uuid.uuid4().hex
        content = copy_hashed(file, temporary, progress)
        if content.sha256 in self._staged:
            temporary.unlink()
        else:
            self._staged[content.sha256] = temporary
        return content

    def keep(self) -> None:
        """See `Staging`."""
        for sha256, temporary in self._staged.items():
            place = _place(self._root, sha256)
            if not place.exists():
                place.parent.mkdir(exist_ok=True)
                temporary.rename(place)


class LocalFiles:
    """A folder of content-addressed files.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextlib.contextmanager
    def staging(self) -> Iterator[LocalStaging]:
        """See `Files`."""
        folder = self._root / TEMPORARY / _signature()
        folder.mkdir(parents=True)
        try:
            yield LocalStaging(self._root, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def fetch(self, sha256: str, target: Path, *, link: bool = True) -> None:
        """See `Files`."""
        place = _place(self._root, sha256)
        if not place.exists():
            raise WorkspaceException("a stored file is gone", where=str(place), hint="register the model again")
        target.parent.mkdir(parents=True, exist_ok=True)
        if link:
            # Where there are no links, or it is another file system, a copy does.
            with contextlib.suppress(OSError):
                os.link(place, target)
                return
        shutil.copyfile(place, target)

    def sweep(self, wanted: Collection[str]) -> int:
        """See `Files`."""
        freed = 0
        for place in self._root.glob("??/*"):
            if is_stored(place.as_posix()) and place.name not in wanted:
                freed += place.stat().st_size
                place.unlink()
        for folder in self._root.glob(f"{TEMPORARY}/*@*@*@*"):
            if not _at_work(folder):
                freed += sum(file.stat().st_size for file in folder.iterdir())
                shutil.rmtree(folder)
        return freed


def _place(root: Path, sha256: str) -> Path:
    return root / sha256[:2] / sha256


def _signature() -> str:
    """A folder's name that tells who made it, as `_at_work` reads it."""
    owner = this_process()
    return f"{owner['pid']}@{owner['start_time']}@{uuid.uuid4().hex}@{owner['host']}"


def _at_work(folder: Path) -> bool:
    pid, start_time, _, host = folder.name.split("@", 3)
    owner = {"pid": int(pid), "start_time": float(start_time), "host": host}
    return alive(owner, datetime.fromtimestamp(folder.stat().st_mtime, timezone.utc))
