"""The rule for paths in a config file: relative to that file, else, as v1 had it, to the current folder."""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a path in a config file leads.

    Args:
        base: The folder it was found relative to.
        path: The absolute path; it need not exist.
        note: What to tell the user when the current folder had to help; empty otherwise.
    """

    base: Path
    path: Path
    note: str = ""


def locate(value: str, folder: Path) -> Place:
    """Resolves a path that was written in a file.

    Args:
        value: The path as written.
        folder: The folder of the file it was written in.
    """
    folder = folder.absolute()
    here = Path.cwd()
    path = folder / _from_home(value)
    # not Path.exists(), which raises for a text that is no path at all: one too long, say
    if not os.path.exists(path) and os.path.exists(here / value):  # noqa: PTH110
        note = f"is not beside its file; taken from the current folder, as v1 did: {here / value}"
        return Place(here, here / value, note)
    return Place(folder, path)


def _from_home(value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:  # no such user: it is the name of a file
        return Path(value)
