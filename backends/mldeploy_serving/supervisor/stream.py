"""Writing to a stream whose reader may stop reading, such as a terminal or another program's pipe."""

from __future__ import annotations

import contextlib
import os
import select

_KEPT_BYTES = 1 << 20
_AT_ONCE = 4096  # a pipe that can be written to takes so many bytes without waiting
_AGAIN_S = 0.05


class Stream:
    """A file descriptor that is written to without waiting for its reader: HTTP has to be answered meanwhile.

    What is not taken is kept, and written later; what is more than 1 MB is lost.

    Args:
        descriptor: The file descriptor, which stays blocking: it is shared with other processes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept = bytearray()
        self._planned = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, text: bytes) -> None:
        """Write lines."""
        if len(self._kept) + len(text) <= _KEPT_BYTES or not self._kept:
            self._kept += text
        self.flush()
        if self._kept and not self._planned:
            self._plan()

    def flush(self, wait_ms: int = 0) -> None:
        """Write what the reader takes.

        Args:
            wait_ms: Milliseconds that it may take for each piece.
        """
        while self._kept and self._poll.poll(wait_ms):
            try:
                written = os.write(self._descriptor, self._kept[:_AT_ONCE])
            except OSError:  # nobody reads any more
                self._kept.clear()
            else:
                del self._kept[:written]

    def _plan(self) -> None:
        import asyncio  # rarely needed, and the first worker is started before it is imported

        with contextlib.suppress(RuntimeError):  # there is no loop yet, or no more
            asyncio.get_running_loop().call_later(_AGAIN_S, self._write_on)
            self._planned = True

    def _write_on(self) -> None:
        self._planned = False
        self.write(b"")
