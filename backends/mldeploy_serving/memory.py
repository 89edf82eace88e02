"""Memory that large requests need again and again is kept, instead of being given back and mapped anew each time."""

from __future__ import annotations

import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 32 << 20


def keep_freed() -> None:
    """Have glibc keep up to 32 MB of what has been freed; other libraries are left as they are.

    Mapping the pages of a request of 1 MB anew took longer than all else that is done to it before `run()`.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES // 2)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
