"""What belongs to a model: the files a path names, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mldeploy.errors import ModelPathNotFoundException, UserErrorException
from mldeploy.events import Notice, Report, silent
from mldeploy.store.files import Source

_LFS = b"version https://git-lfs.github.com/spec/"


def find_sources(
    model_path: str | Path, child_paths: Iterable[str] | None = None, report: Report = silent
) -> list[Source]:
    """The files of a model.

    A file is stored under its name, a folder's files under the folder's name and theirs. Links are followed,
    and stored as what they point to.

    Args:
        model_path: A file or folder.
        child_paths: Files and folders below `model_path`, if only those belong to the model.
        report: Is told of Git LFS pointers, which are not the model but say where it is.

    Returns:
        The files, by path.

    Raises:
        ModelPathNotFoundException: A path does not exist, or a link leaves the folder.
        UserErrorException: There is nothing in it, or it cannot be read.
    """
    root = Path(os.path.abspath(model_path))  # noqa: PTH100  (links stay: the folder's name is the user's)
    if not root.exists():
        raise ModelPathNotFoundException(
            f"there is no model file or folder {model_path}",
            where=str(root),
            hint="a path relative to the current folder, or an absolute one",
        )
    if root.is_file():
        if child_paths:
            raise UserErrorException(
                f"child_paths needs a folder, and {model_path} is a file", where=str(root), hint="leave out child_paths"
            )
        sources = [Source(root.name, root, root.stat().st_size)]
    else:
        chosen = [_child(root, child) for child in child_paths] if child_paths else [root]
        found = {file for start in chosen for file in _below(start, root)}
        sources = [_source(root, file) for file in sorted(found)]
    _refuse_empty(root, sources)
    for source in sources:
        _tell_of_pointer(source, report)
    return sources


def _child(root: Path, child: str) -> Path:
    path = Path(os.path.normpath(root / child))
    if not path.is_relative_to(root):
        raise ModelPathNotFoundException(
            f"child path {child} leaves the model's folder", where=str(root), hint="paths relative to model_path"
        )
    if not path.exists():
        raise ModelPathNotFoundException(
            f"there is no child path {child}", where=str(root), hint="paths relative to model_path"
        )
    return path


def _below(start: Path, root: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    _refuse_leaving(start, root)
    if not start.is_dir():
        if start.is_file():
            yield start
        return
    real = start.resolve()
    if real in above:
        raise UserErrorException(
            "a link in the model's folder leads back to a folder it is in",
            where=str(start),
            hint="remove the link, or name what belongs to the model with child_paths",
        )
    try:
        children = sorted(start.iterdir())
    except OSError as error:
        raise _unreadable(start, error) from None
    for child in children:
        yield from _below(child, root, above | {real})


def _refuse_leaving(path: Path, root: Path) -> None:
    if not path.is_symlink():
        return
    target = path.resolve()
    if not target.is_relative_to(root.resolve()):
        raise ModelPathNotFoundException(
            f"the link {path.relative_to(root)} leaves the model's folder",
            where=str(path),
            reason=f"it points to {target}",
            hint="put the file itself into the folder, or leave the link out with child_paths",
        )
    if not target.exists():
        raise ModelPathNotFoundException(
            f"the link {path.relative_to(root)} points to nothing",
            where=str(path),
            reason=f"it points to {target}",
            hint="remove the link, or put the file in its place",
        )


def _source(root: Path, file: Path) -> Source:
    path = file.relative_to(root.parent)
    return Source(path.as_posix(), file, file.stat().st_size)


def _refuse_empty(root: Path, sources: list[Source]) -> None:
    if not sources:
        raise UserErrorException(
            "the model's folder has no files in it", where=str(root), hint="name the folder the model was saved to"
        )
    if not any(source.size for source in sources):
        raise UserErrorException(
            "the model has 0 bytes",
            where=str(root),
            reason="an empty file is what a broken download or an interrupted training leaves",
            hint="train or fetch the model again",
        )


def _tell_of_pointer(source: Source, report: Report) -> None:
    try:
        with source.file.open("rb") as file:
            pointer = source.size < 1024 and file.read(len(_LFS)) == _LFS
    except OSError as error:
        raise _unreadable(source.file, error) from None
    if pointer:
        report(Notice(f"{source.path} is a Git LFS pointer, not the file itself: `git lfs pull` fetches that"))


def _unreadable(path: Path, error: OSError) -> UserErrorException:
    return UserErrorException(
        "the model cannot be read", where=str(path), reason=error.strerror or str(error), hint=f"chmod u+r {path}"
    )
