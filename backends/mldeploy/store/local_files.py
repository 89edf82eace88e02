"""Bytes in a folder: `<aa>/<digest>`, and `tmp/` for what is on its way in.

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
        if content.digest in self._staged:
            temporary.unlink()
        else:
            self._staged[content.digest] = temporary
        return content

    def keep(self) -> None:
        """See `Staging`."""
        for digest, temporary in self._staged.items():
            place = _place(self._root, digest)
            if not _is_whole(place, temporary.stat().st_size):
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

    def fetch(self, content: Content, target: Path, *, link: bool = True) -> None:
        """See `Files`."""
        place = _place(self._root, content.digest)
        if not _is_whole(place, content.size):
            what = "is damaged" if place.exists() else "is gone"
            raise WorkspaceException(f"a stored file {what}", where=str(place), hint="register the model again")
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


def _is_whole(place: Path, size: int) -> bool:
    """A power cut may leave less of a file than was written: it is not waited for the disk, as `cp` does not."""
    try:
        return place.stat().st_size == size
    except FileNotFoundError:
        return False


def _place(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest


def _signature() -> str:
    """A folder's name that tells who made it, as `_at_work` reads it."""
    owner = this_process()
    return f"{owner['pid']}@{owner['start_time']}@{uuid.uuid4().hex}@{owner['host']}"


def _at_work(folder: Path) -> bool:
    pid, start_time, _, host = folder.name.split("@", 3)
    owner = {"pid": int(pid), "start_time": float(start_time), "host": host}
    return alive(owner, datetime.fromtimestamp(folder.stat().st_mtime, timezone.utc))
