"""Hashing a file while it is copied: one pass, in memory that does not grow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path

from mldeploy.store.files import Content

BLOCK = 1024 * 1024


def copy_hashed(source: Path, target: Path, progress: Callable[[int], None]) -> Content:
    """Copy a file and hash it; the copy is read-only, and on the disk when this returns.

    Args:
        source: The file.
        target: A new file.
        progress: Is told of every block's bytes.

    Returns:
        The hash and size of what was copied.
    """
    with source.open("rb", buffering=0) as read, target.open("xb", buffering=0) as write:
        first = read.read(BLOCK) or b""
        if len(first) < BLOCK:
            # A small file; a raw read may also stop early, so what is left is looked for.
            first += read.readall()
            _write_all(write.fileno(), memoryview(first))
            progress(len(first))
            content = Content(hashlib.sha256(first).hexdigest(), len(first))
        else:
            read.seek(0)
            content = _copy_side_by_side(read, write.fileno(), progress)
        os.fchmod(write.fileno(), 0o444)
        os.fsync(write.fileno())
    return content


def _copy_side_by_side(read: RawIOBase, target: int, progress: Callable[[int], None]) -> Content:
    # hashlib and the disk let go of the interpreter: one block is hashed while the next is copied, and the
    # disk writes meanwhile, so that little is left to wait for at the end.
    digest = hashlib.sha256()
    size = 0
    with ThreadPoolExecutor(1) as hasher, ThreadPoolExecutor(1) as disk:
        hashed: Future[None] | None = None
        flushed: Future[None] | None = None
        buffers = (memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK)))
        while count := read.readinto(buffers[0]):
            block = buffers[0][:count]
            previous, hashed = hashed, hasher.submit(digest.update, block)
            _write_all(target, block)
            if previous:
                previous.result()
            if flushed is None or flushed.done():
                flushed = disk.submit(os.fsync, target)
            buffers = buffers[1], buffers[0]
            size += count
            progress(count)
    return Content(digest.hexdigest(), size)


def _write_all(descriptor: int, block: memoryview) -> None:
    while block:
        block = block[os.write(descriptor, block) :]
