"""That a worker does not live on without its supervisor."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(supervisor: int, channel: socket.socket) -> None:
    """End this process when its supervisor ends, whatever `run()` does.

    On Linux the kernel does it, even while a C call keeps the interpreter; elsewhere a thread sees the channel's end.

    Args:
        supervisor: The supervisor's process id; this process's parent.
        channel: This process's end of the socket pair.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(channel,), name="mldeploy-lifeline", daemon=True).start()
    if os.getppid() != supervisor:  # it died before that
        os._exit(1)


def _watch(channel: socket.socket) -> None:
    poll = select.poll()
    poll.register(channel, 0)  # that the other end is gone is told unasked
    poll.poll()
    os._exit(1)
