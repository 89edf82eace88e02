"""Bytes anywhere fsspec reaches: `<aa>/<digest>` below a prefix.

What is uploaded appears under its hash at once, before a model has it, so a `gc` of another machine can take
it away again. `keep` sees that, and the registration begins anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from mldeploy.errors import WorkspaceException
from mldeploy.store.copying import BLOCK
from mldeploy.store.files import Content, Vanished, is_stored

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_EXTRAS = {"abfs": "blob", "abfss": "blob", "az": "blob"}


class RemoteFiles:
    """Content-addressed files in a file system of fsspec.

    Args:
        system: The file system.
        prefix: The path all of them are below.
        shown: How messages name the place: without credentials.
    """

    def __init__(self, system: AbstractFileSystem, prefix: str, shown: str) -> None:
        self._system = system
        self._prefix = prefix.rstrip("/")
        self._shown = shown

    @staticmethod
    def at(url: str) -> RemoteFiles:
        """The files at an fsspec URL.

        Args:
            url: Such as `abfs://container/prefix`; credentials come from the environment, as fsspec's
                implementation documents it (`AZURE_STORAGE_CONNECTION_STRING`, say).

        Returns:
            The place; nothing is contacted yet.

        Raises:
            WorkspaceException: What fsspec needs for it is not installed, or it is not set up.
        """
        from fsspec.core import url_to_fs

        scheme, _, rest = url.partition("://")
        shown = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
        try:
            system, prefix = url_to_fs(url)
        except ImportError:
            extra = _EXTRAS.get(scheme)
            raise WorkspaceException(
                f"files at {scheme}:// need a package that is not installed",
                where=shown,
                hint=f'pip install "pytest-mldeploy[{extra}]"'
                if extra
                else f"pip install fsspec's package for {scheme}",
            ) from None
        except ValueError as error:
            # The error may quote a connection string: only its kind is told.
            raise WorkspaceException(
                "the store's files cannot be reached",
                where=shown,
                reason=type(error).__name__,
                hint="see the URL, and the variables with the credentials for it",
            ) from None
        return RemoteFiles(system, prefix, shown)

    @contextlib.contextmanager
    def staging(self) -> Iterator[RemoteStaging]:
        """See `Files`."""
        yield RemoteStaging(self._system, self._place, self._shown)

    def fetch(self, content: Content, target: Path, *, link: bool = True) -> None:
        """See `Files`. What arrives is hashed, and must be what was asked for."""
        target.parent.mkdir(parents=True, exist_ok=True)
        hasher = blake3()
        with (
            _reached(self._shown),
            self._system.open(self._place(content.digest), "rb") as read,
            target.open("wb") as write,
        ):
            while block := read.read(BLOCK):
                hasher.update(block)
                write.write(block)
        if hasher.hexdigest() != content.digest:
            target.unlink()
            raise WorkspaceException(
                "a stored file is damaged", where=f"{self._shown}/{content.digest}", hint="register the model again"
            )

    def sweep(self, wanted: Collection[str]) -> int:
        """See `Files`."""
        freed = 0
        with _reached(self._shown):
            self._system.invalidate_cache()
            for path, entry in self._system.find(self._prefix, detail=True).items():
                if is_stored(path) and path.rpartition("/")[2] not in wanted:
                    freed += entry["size"]
                    self._system.rm_file(path)
        return freed

    def _place(self, digest: str) -> str:
        return f"{self._prefix}/{digest[:2]}/{digest}"


@contextlib.contextmanager
def _reached(shown: str) -> Iterator[None]:
    """Around the use of a remote place: its failures are as many classes as there are places."""
    try:
        yield
    except FileNotFoundError:
        raise WorkspaceException("a stored file is gone", where=shown, hint="register the model again") from None
    except (OSError, WorkspaceException):
        raise
    except Exception as error:  # (Azure's, Amazon's and others' own roots)
        raise WorkspaceException(
            "the store's files cannot be reached",
            where=shown,
            reason=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            hint="see that the place is there, and that the credentials for it are in the environment",
        ) from None


class RemoteStaging:
    """Files on their way to a remote place.

    Args:
        system: The file system.
        place: From a hash to its path there.
        shown: How messages name the place.
    """

    def __init__(self, system: AbstractFileSystem, place: Callable[[str], str], shown: str) -> None:
        self._system = system
        self._shown = shown
        self._place = place
        self._stored: set[Content] = set()

    def add(self, file: Path, progress: Callable[[int], None]) -> Content:
        """See `Staging`. The hash is its address, so it is read before it is sent."""
        with file.open("rb", buffering=0) as read:
            hasher, size = blake3(), 0
            while block := read.read(BLOCK):
                hasher.update(block)
                size += len(block)
            content = Content(hasher.hexdigest(), size)
            if self._is_there(content):
                progress(size)
            else:
                read.seek(0)
                with _reached(self._shown), self._system.open(self._place(content.digest), "wb") as write:
                    while block := read.read(BLOCK):
                        write.write(block)
                        progress(len(block))
        self._stored.add(content)
        return content

    def keep(self) -> None:
        """See `Staging`."""
        if not all(self._is_there(content) for content in self._stored):
            raise Vanished

    def _is_there(self, content: Content) -> bool:
        # By size too: where a file appears before it is whole, one that broke off does not count.
        self._system.invalidate_cache()
        with _reached(self._shown):
            try:
                return bool(self._system.info(self._place(content.digest))["size"] == content.size)
            except FileNotFoundError:
                return False
