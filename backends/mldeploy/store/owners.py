"""Which process does a piece of work, and whether it is still there.

A process id alone is used again by the system; with the time the process started it is not.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

ELSEWHERE = timedelta(hours=1)


def this_process() -> dict[str, Any]:
    """The process that runs this: its `pid`, its `start_time` (seconds since 1970) and its `host`."""
    return _owner(os.getpid())


@lru_cache(maxsize=1)
def _owner(pid: int) -> dict[str, Any]:
    import psutil

    return {"pid": pid, "start_time": psutil.Process(pid).create_time(), "host": platform.node()}


def alive(owner: dict[str, Any] | None, since: datetime) -> bool:
    """Whether a piece of work is still being done.

    Args:
        owner: What `this_process` gave where the work began; None is nobody.
        since: When the owner last told of itself (UTC); decides only for another machine's processes, which
            cannot be seen from here: they count as alive for an hour.

    Returns:
        True while the process runs.
    """
    if owner is None:
        return False
    if owner.get("host", platform.node()) != platform.node():
        return datetime.now(timezone.utc) - since < ELSEWHERE
    import psutil

    try:
        process = psutil.Process(owner["pid"])
        # Seconds: the clock that a start time is computed from may be stepped a little.
        return abs(process.create_time() - owner["start_time"]) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
