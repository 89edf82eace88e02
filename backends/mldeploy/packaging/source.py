"""Which files of the source directory go into a package, and how they lie in the app root.

The two layouts that v1's documents describe (C §4.2: working directory is the source directory; working directory
is the folder above it) both work: the source directory stands in the app root under its own name, and each of its
entries is linked beside it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pathspec

from mldeploy.errors import UserErrorException
from mldeploy.events import Notice, Report, Step, silent
from mldeploy.store.copying import digest_of

MODELS_FOLDER = "azureml-models"
LARGE_BYTES = 300 * 1000 * 1000
_NEVER = (".git", "__pycache__/", ".env", ".env.*")


@dataclass(frozen=True)
class SourceFile:
    """One file: `path` relative to the source directory (posix), where it is now, and its size in bytes.

    `link` is set for a linked folder: where it points, relative to the folder it is in.
    """

    path: str
    origin: Path
    size: int
    link: str | None = None


@dataclass(frozen=True)
class Source:
    """The files of a package's source.

    Args:
        entry_script: Relative to the app root, as the server is told: `score.py` or `<directory>/score.py`.
        directory: The source directory's name in the app root; None where only the script is taken.
        files: All files, sorted by path.
    """

    entry_script: str
    directory: str | None
    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def digest(self) -> str:
        """A sha256 (hex) over names, executable bits and contents."""
        total = hashlib.sha256(f"{self.directory}\0{self.entry_script}\0".encode())
        for file in self.files:
            executable = os.access(file.origin, os.X_OK)
            content = file.link or digest_of(file.origin)
            total.update(f"{file.path}\0{executable:d}\0{content}\0".encode())
        return total.hexdigest()

    def copy_to(self, app_root: Path) -> None:
        """Lay the files out below `app_root`."""
        home = app_root / self.directory if self.directory else app_root
        for file in self.files:
            place = home / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.link:
                place.symlink_to(file.link)
            else:
                shutil.copy2(file.origin, place)
        if self.directory:
            for entry in home.iterdir():
                link = app_root / entry.name
                if not link.exists():
                    link.symlink_to(Path(self.directory) / entry.name)


def collect(entry_script: Path, source_directory: Path | None, report: Report = silent) -> Source:
    """Find what goes into the package.

    Args:
        entry_script: The script, absolute.
        source_directory: The folder that goes with it, absolute; None takes the script alone.
        report: Told how much it is, and warned above 300 MB.

    Raises:
        UserErrorException: The script is outside the folder, a link leaves it, or it holds no regular file.
    """
    if source_directory is None:
        only = SourceFile(entry_script.name, entry_script, entry_script.stat().st_size)
        source = Source(entry_script.name, None, (only,))
        _say_size(source, entry_script.parent, report)
        return source
    root = source_directory.resolve()
    name = root.name or "source"
    if name == MODELS_FOLDER:
        raise UserErrorException(
            f"the source directory cannot be called '{MODELS_FOLDER}'",
            where=str(root),
            reason="models lie in a folder of that name beside it",
            hint="rename the folder",
        )
    try:
        relative = entry_script.resolve().relative_to(root).as_posix()
    except ValueError:
        raise UserErrorException(
            f"the entry script {entry_script} is not in the source directory",
            where=str(root),
            hint="give 'entryScript' relative to 'sourceDirectory'",
        ) from None
    files = tuple(sorted(_walk(root), key=lambda file: file.path))
    if relative not in {file.path for file in files}:
        raise UserErrorException(
            f"the entry script {relative} is excluded by {_ignore_file(root)}",
            where=str(root),
            hint="let it in",
        )
    source = Source(f"{name}/{relative}", name, files)
    _say_size(source, root, report)
    return source


def _walk(root: Path) -> Iterator[SourceFile]:
    ignored = pathspec.GitIgnoreSpec.from_lines([*_ignore_lines(root), *_NEVER])
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        below = here.relative_to(root)
        kept = [
            name
            for name in folders
            if not ignored.match_file((below / name).as_posix() + "/") and not (here / name / "pyvenv.cfg").exists()
        ]
        links = [name for name in kept if (here / name).is_symlink()]
        folders[:] = sorted(set(kept) - set(links))
        for name in [*links, *names]:
            relative = (below / name).as_posix()
            if not ignored.match_file(relative):
                yield _source_file(here / name, relative, root)


def _source_file(path: Path, relative: str, root: Path) -> SourceFile:
    if path.is_symlink():
        target = path.resolve()
        if not target.exists() or not target.is_relative_to(root):
            raise UserErrorException(
                f"the link {relative} leaves the source directory"
                if target.exists()
                else f"the link {relative} is broken",
                where=str(root),
                reason=f"it points to {target}, which would not be there in a container",
                hint="copy what it points to, or list the link in .amlignore",
            )
        if target.is_dir():
            return SourceFile(relative, path, 0, os.path.relpath(target, path.parent.resolve()))
    if not path.is_file():
        raise UserErrorException(
            f"{relative} is neither a file nor a folder", where=str(root), hint="list it in .amlignore"
        )
    return SourceFile(relative, path, path.stat().st_size)


def _ignore_file(root: Path) -> Path | None:
    for name in (".amlignore", ".gitignore"):
        if (root / name).is_file():
            return root / name
    return None


def _ignore_lines(root: Path) -> list[str]:
    path = _ignore_file(root)
    return path.read_text(errors="replace").splitlines() if path else []


def _say_size(source: Source, root: Path, report: Report) -> None:
    report(Step("package", f"Taking {_counted(source)} from {root}"))
    if source.size > LARGE_BYTES:
        largest = max(source.files, key=lambda file: file.size)
        report(
            Notice(
                f"The source directory has {source.size / 1e6:.0f} MB; the largest file is {largest.path} "
                f"({largest.size / 1e6:.0f} MB). Register it as a model, or list it in .amlignore."
            )
        )


def _counted(source: Source) -> str:
    count, size = len(source.files), source.size
    amount = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
    return f"{count} file{'' if count == 1 else 's'} ({amount})"
