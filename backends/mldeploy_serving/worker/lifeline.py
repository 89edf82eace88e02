"""The worker's tie to its supervisor: what it reports, and that it does not live on without it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Lifeline:
    """The worker's end of the socket pair.

    Args:
        control: That end.
        supervisor: The supervisor's process id.
    """

    def __init__(self, control: socket.socket, supervisor: int) -> None:
        self.control = control
        _die_with_parent()
        if os.getppid() != supervisor:  # it died before that
            os._exit(1)

    def ready(self) -> None:
        """`init()` is done."""
        self._send({"ready": True})

    def ending(self, reason: str) -> None:
        """Why this process is about to end."""
        self._send({"reason": reason})

    def _send(self, message: dict[str, object]) -> None:
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(1)  # nobody is there


def _die_with_parent() -> None:
    """On Linux the kernel does it, even while a C call keeps the interpreter; elsewhere the loop sees the end."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
