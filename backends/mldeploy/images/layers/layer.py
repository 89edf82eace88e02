"""A layer: a tar archive of which every byte follows from what is in it, written once and kept in the cache.

Owners, times, order and format are fixed, so equal content gives an equal `diff_id` on every machine and in every
year. Format: the OCI image specification's layer, uncompressed, with PAX headers where a name or size needs one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from mldeploy.store.owners import alive, this_process
from mldeploy.store.places import cache_root

EPOCH_S = 315532800
"""When everything in a layer was last changed: 1980-01-01, the earliest that a zip archive can say too."""

UNUSED_S = 3600.0
"""Seconds after which a layer that nothing asks for may be removed."""

_END = bytes(1024)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file, a folder or a symbolic link in a layer.

    Args:
        path: Where it is in the image, without a leading slash.
        content: A file's bytes, or the file that has them; None for a folder and a link.
        mode: Its permissions.
        owner: The number of its user and group.
        link: Where a symbolic link points.
    """

    path: str
    content: Path | bytes | None = None
    mode: int = 0o644
    owner: int = 0
    link: str | None = None


def folder(path: str, mode: int = 0o755, owner: int = 0) -> Entry:
    """A folder as an entry."""
    return Entry(path, None, mode, owner)


@dataclass(frozen=True)
class Layer:
    """A layer in the cache.

    Args:
        diff_id: `sha256:` and the hash of the archive's bytes.
        path: The archive, uncompressed.
        size: Its bytes.
        created_by: What the image's history says of it.
    """

    diff_id: str
    path: Path
    size: int
    created_by: str


def recall(key: str) -> tuple[Layer, ...] | None:
    """The layers that are remembered under a key.

    Args:
        key: Any text that names the content.

    Returns:
        The layers; None where nothing is remembered, or an archive is gone or not whole.
    """
    try:
        said = json.loads(_note(key).read_text(encoding="utf-8"))
        layers = tuple(Layer(one["diff_id"], _archive(one["diff_id"]), one["size"], one["created_by"]) for one in said)
        if any(layer.path.stat().st_size != layer.size for layer in layers):
            return None
        for layer in layers:
            os.utime(layer.path)  # for `prune`
        return layers
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(key: str, layers: Sequence[Layer]) -> None:
    """Remember layers that are in the cache.

    Raises:
        EnvironmentException: The disk is full.
    """
    said = [{"diff_id": layer.diff_id, "size": layer.size, "created_by": layer.created_by} for layer in layers]
    with _scratch() as scratch:
        scratch.write_text(json.dumps(said), encoding="utf-8")
        scratch.replace(_note(key))


def cached(key: str) -> Layer | None:
    """The layer that was written under a key; None where there is none."""
    layers = recall(key)
    return layers[0] if layers else None


def write(key: str, created_by: str, entries: Iterable[Entry]) -> Layer:
    """Write a layer, unless it is there.

    Args:
        key: Any text that names the content; two contents under one key are a mistake of the caller's.
        created_by: What the image's history says of it.
        entries: What is in it, in any order; not read where the layer is there. A file's parents are made.

    Returns:
        The layer; it appears in the cache whole or not at all.

    Raises:
        EnvironmentException: The disk is full, or a file cannot be read.
    """
    return cached(key) or _kept(key, created_by, _archived(entries))


def join(key: str, created_by: str, layers: Sequence[Layer]) -> Layer:
    """Make one layer of several that have no file in common; a folder may be in more than one.

    Args:
        key: As for `write`.
        created_by: What the image's history says of it.
        layers: In this order.

    Raises:
        EnvironmentException: The disk is full.
    """
    return cached(key) or _kept(key, created_by, _joined(layers))


def copied(key: str, created_by: str, blocks: Iterable[bytes]) -> Layer:
    """Keep a layer that somebody else wrote, as it is.

    Args:
        key: As for `write`.
        created_by: What the image's history says of it.
        blocks: Its archive, uncompressed.

    Raises:
        EnvironmentException: The disk is full.
    """
    return cached(key) or _kept(key, created_by, blocks)


def _joined(layers: Sequence[Layer]) -> Iterator[bytes]:
    folders: set[str] = set()  # Docker takes no path twice in a layer
    for one in layers:
        with one.path.open("rb") as file, tarfile.open(fileobj=file) as archive:
            members = archive.getmembers()
            ends = [*(member.offset for member in members[1:]), one.size - len(_END)]
            for member, end in zip(members, ends, strict=True):
                if member.isdir() and member.name in folders:
                    continue
                folders.add(member.name)
                file.seek(member.offset)
                yield from _blocks(file, end - member.offset)
    yield _END


def _archived(entries: Iterable[Entry]) -> Iterator[bytes]:
    by_path = {entry.path: entry for entry in entries}
    for path in list(by_path):
        for above in reversed(list(Path(path).parents)[:-1]):
            by_path.setdefault(above.as_posix(), folder(above.as_posix()))
    for path in sorted(by_path):
        yield from _member(by_path[path])
    yield _END


def _member(entry: Entry) -> Iterator[bytes]:
    info = tarfile.TarInfo(entry.path)
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.owner, entry.owner, EPOCH_S
    content = entry.content
    if entry.link is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
    elif content is None:
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if isinstance(content, bytes):
        yield content
    elif content is not None:
        with content.open("rb") as file:
            yield from _blocks(file, info.size)
    yield bytes(-info.size % tarfile.BLOCKSIZE)


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """A file's first bytes; it is an error if there are fewer, for the archive's header has said how many."""
    while size:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise OSError(f"{file.name} became shorter while it was read")
        size -= len(block)
        yield block


def _kept(key: str, created_by: str, blocks: Iterable[bytes]) -> Layer:
    with _scratch() as scratch:
        digest, size = hashlib.sha256(), 0
        with scratch.open("wb", buffering=_BLOCK) as file:
            for block in blocks:
                digest.update(block)
                size += file.write(block)
        diff_id = f"sha256:{digest.hexdigest()}"
        layer = Layer(diff_id, _archive(diff_id), size, created_by)
        scratch.replace(layer.path)
    remember(key, [layer])
    return layer


@contextmanager
def _scratch() -> Iterator[Path]:
    """A file to write and to rename into its place; what is not renamed is gone in the end."""
    from mldeploy.packaging import explain

    home = root()
    try:
        (home / "keys").mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_partial(), dir=home)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise explain.disk(error, home) from error


@contextmanager
def staging() -> Iterator[Path]:
    """A folder beside the layers for what goes into one; hard links to the caches work where they can.

    Raises:
        EnvironmentException: The disk is full.
    """
    from mldeploy.packaging import explain

    home = root()
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        with tempfile.TemporaryDirectory(prefix=_partial(), dir=home, ignore_cleanup_errors=True) as folder_:
            yield Path(folder_)
    except OSError as error:
        raise explain.disk(error, home) from error


def _partial() -> str:
    """How the names of what is not whole yet begin: with whose it is."""
    owner = this_process()
    return f"partial-{_machine(owner['host'])}-{owner['pid']}-{owner['start_time']:.0f}-"


def _machine(host: str) -> str:
    return hashlib.sha256(host.encode()).hexdigest()[:8]


def _sweep(home: Path) -> None:
    """Remove what processes of this machine that are gone have left half made."""
    here = platform.node()
    for half in home.glob(f"partial-{_machine(here)}-*"):
        _, _, pid, start, *_ = half.name.split("-")
        owner = {"pid": int(pid), "start_time": float(start), "host": here}
        if alive(owner, since=datetime.now(timezone.utc)):
            continue
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        else:
            half.unlink(missing_ok=True)


def unused(seconds: float = UNUSED_S) -> list[Path]:
    """The archives that nothing has asked for lately: they can go, and are made again when they are needed.

    Args:
        seconds: How long ago counts as lately: whoever has just asked for one may be about to read it.
    """
    before = time.time() - seconds
    return [path for path in root().glob("*.tar") if path.stat().st_mtime < before]


def root() -> Path:
    """The folder of all layers."""
    return cache_root() / "layers"


def _archive(diff_id: str) -> Path:
    return root() / f"{diff_id.removeprefix('sha256:')}.tar"


def _note(key: str) -> Path:
    return root() / "keys" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
