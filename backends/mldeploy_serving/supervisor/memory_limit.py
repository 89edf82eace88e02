"""Whether the kernel has killed a worker for memory: only a counter of the cgroup says so."""

from __future__ import annotations

import signal
import time
from pathlib import Path, PurePosixPath

OUT_OF_MEMORY = "out of memory"
_GB = 1 << 30  # as Docker and `memoryInGB` count
_NO_LIMIT = 1 << 60  # version 1 says "none" by the largest number of whole pages
_AT_ONCE_S = 1.0
_FILES = {1: ("memory.oom_control", "memory.limit_in_bytes"), 2: ("memory.events", "memory.max")}


class MemoryLimit:
    """The memory limit of this process and its workers, and what was killed for it.

    The kernel counts the processes of a cgroup that it has killed for memory (`oom_kill`; cgroup-v2.rst, and
    memory.rst of version 1, in the kernel's documentation). It does not say which they were: a worker that ended by
    SIGKILL after the counter has risen is taken for one of them. What cannot be read is not known, and nothing is said.

    Args:
        own: Which cgroups this process is in, as proc_cgroups(7) has it.
        root: Where they are mounted.
    """

    def __init__(self, own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> None:
        self._folders, (self._counter, self._limit) = _found(own, root)
        self._seen = self._killed()
        self._rose = -_AT_ONCE_S

    def blamed_for(self, status: int) -> str:
        """Why a worker ended, where the kernel has killed it for memory; empty where it has not, or that is unknown.

        Args:
            status: Its exit code, or minus the signal that killed it.
        """
        if status != -signal.SIGKILL:
            return ""
        killed, now = self._killed(), time.monotonic()
        if killed > self._seen:
            self._seen, self._rose = killed, now
        # those killed at once are all counted when the first is looked at, and forked workers die with their template
        if now - self._rose > _AT_ONCE_S:
            return ""
        limit = self.limit_bytes()
        if limit is None:
            return f"{OUT_OF_MEMORY}: killed by the kernel"
        return f"{OUT_OF_MEMORY}: the limit is {round(limit / _GB, 3):g} GB"

    def limit_bytes(self) -> int | None:
        """The lowest limit on the way to the root of the cgroups that can be seen; None where there is none."""
        limits = [_number(_read(folder / self._limit)) for folder in self._folders]
        return min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)

    def _killed(self) -> int:
        for folder in self._folders[:1]:
            for line in _read(folder / self._counter).splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return _number(number) or 0
        return 0


def _found(own: Path, root: Path) -> tuple[list[Path], tuple[str, str]]:
    """The folder of this process's cgroup, then those above it, and the names of the files in them."""
    paths = {}
    for line in _read(own).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            paths[2] = path
        elif "memory" in controllers.split(","):
            paths[1] = path
    version = min(paths, default=2)  # where both are mounted, the one that has the controller
    mount = root / "memory" if version == 1 else root
    relative = PurePosixPath(paths.get(version, "/")).relative_to("/")
    # a container sees its own cgroup as the root, whatever it is called outside
    folder = mount / relative if ".." not in relative.parts and (mount / relative).is_dir() else mount
    folders = [each for each in (folder, *folder.parents) if each.is_relative_to(mount)]
    return folders, _FILES[version]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None
