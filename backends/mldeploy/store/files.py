"""Content-addressed files: what every place for models' bytes can do."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_STORED = re.compile(r"(?:^|/)([0-9a-f]{2})/\1[0-9a-f]{62}$")


@dataclass(frozen=True)
class Source:
    """A file that is to be stored.

    Args:
        path: Its name in the model, relative and with `/`.
        file: Where its bytes are now.
        size: Bytes.
    """

    path: str
    file: Path
    size: int


@dataclass(frozen=True)
class Content:
    """The bytes of a file, by what they are.

    Args:
        digest: BLAKE3, hex.
        size: Bytes.
    """

    digest: str
    size: int


class Vanished(Exception):
    """Bytes that were there have been swept away in between: they have to be stored again."""


class Staging(Protocol):
    """Files on their way in: hashed, and stored as far as nobody can see them yet."""

    def add(self, file: Path, progress: Callable[[int], None]) -> Content:
        """Hash and store a file in one pass; `progress` is told of every block's bytes."""
        ...

    def keep(self) -> None:
        """Put all of them in their places. Runs while nothing can sweep; raises `Vanished`."""
        ...


class Files(Protocol):
    """A place for bytes."""

    def staging(self) -> AbstractContextManager[Staging]:
        """Begin to store files; what was not kept is gone when the context ends."""
        ...

    def fetch(self, content: Content, target: Path, *, link: bool = True) -> None:
        """Write a file's bytes to `target`, as a hard link where that can be and `link` allows it.

        Raises:
            WorkspaceException: The stored file is gone, or is not what was stored.
        """
        ...

    def sweep(self, wanted: Collection[str]) -> int:
        """Remove all other bytes, but none that a living process is storing; the number of bytes freed."""
        ...


def is_stored(path: str) -> bool:
    """Whether a path ends as those of stored files do: a place may have files of other people in it.

    Examples:
        >>> is_stored("models/e3/" + "e3" * 32), is_stored("models/uk/prices.csv")
        (True, False)
    """
    return _STORED.search(path) is not None


def total(sources: Iterable[Source]) -> int:
    """The bytes of all sources."""
    return sum(source.size for source in sources)
