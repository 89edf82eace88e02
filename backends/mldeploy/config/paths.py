"""The rule for paths in a config file: relative to that file, else, as v1 had it, to the current folder."""

from __future__ import annotations

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
    path = folder / Path(value).expanduser()
    if not path.exists() and (here / value).exists():
        note = f"is not beside its file; taken from the current folder, as v1 did: {here / value}"
        return Place(here, here / value, note)
    return Place(folder, path)
