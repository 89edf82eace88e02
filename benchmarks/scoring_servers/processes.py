"""What a process and all of its descendants take (Linux)."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

_ANONYMOUS = re.compile(r"^Anonymous:\s+(\d+) kB", re.MULTILINE)
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_THREADS = re.compile(r"^Threads:\s+(\d+)", re.MULTILINE)
_GONE = (FileNotFoundError, ProcessLookupError)


class Taken(NamedTuple):
    """What a process tree takes.

    Args:
        pss_mb: Memory in MB; what processes share, these and any others, is divided by how many have it.
        own_mb: Memory in MB that is no file's: what grows where something leaks, whoever else runs.
        threads: How many threads.
        files: How many open files.
        processes: How many processes.
    """

    pss_mb: float
    own_mb: float
    threads: int
    files: int
    processes: int


def taken(root: int) -> Taken:
    """What the tree of process `root` takes now.

    Raises:
        SystemExit: This system does not tell.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("what processes take is read from /proc/PID/smaps_rollup: Linux 4.14 or later")
    pss_kb = own_kb = threads = files = 0
    tree = _tree(root)
    for pid in tree:
        process = Path("/proc") / str(pid)
        with contextlib.suppress(*_GONE):
            pss_kb += _number(_PSS, process / "smaps_rollup")
            own_kb += _number(_ANONYMOUS, process / "smaps_rollup")
            threads += _number(_THREADS, process / "status")
            files += len(list((process / "fd").iterdir()))
    return Taken(pss_kb / 1024, own_kb / 1024, threads, files, len(tree))


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:  # it grows meanwhile
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(*_GONE):
                found += map(int, children.read_text(encoding="ascii").split())
    return found


def _number(pattern: re.Pattern[str], path: Path) -> int:
    match = pattern.search(path.read_text(encoding="ascii", errors="replace"))
    return int(match[1]) if match else 0
