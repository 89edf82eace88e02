"""One process at a time makes a thing; who comes second waits, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mldeploy.events import Notice, Report
from mldeploy.packaging import explain


@contextmanager
def alone(path: Path, report: Report, what: str = "the same environment") -> Iterator[None]:
    """Hold the lock beside a path, which the operating system releases when the process dies.

    Args:
        path: What is made; its folder is made too.
        report: Told when another process has to be waited for.
        what: What the other process makes, in the words of that notice.

    Raises:
        EnvironmentException: The lock cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Notice(f"another process makes {what}: waiting for it"))
            lock.acquire()
    except OSError as error:
        raise explain.disk(error, path) from None
    try:
        yield
    finally:
        lock.release()
