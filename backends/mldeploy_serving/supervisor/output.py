"""Where the service's output goes: a rotated file, or the supervisor's own stdout and stderr."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mldeploy_serving.supervisor.rotation import RotatedLog
from mldeploy_serving.supervisor.stream import Stream

_SLOW_MS = 500


class Output:
    """The output of the supervisor and its workers.

    Args:
        path: The file; None is stdout for requests, stderr for what the supervisor says, and the workers write to
            both by themselves.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._log = None if path is None else RotatedLog(path)
        self._stdout, self._stderr = Stream(1), Stream(2)
        self.pipe = None if path is None else os.pipe()  # what workers write to

    def write(self, text: bytes) -> None:
        """Write lines as they are."""
        if self._log:
            self._log.write(text)
        else:
            self._stdout.write(text)

    def say(self, message: str, level: str = "I") -> None:
        """Write a line of the supervisor's own, in the workers' format.

        Args:
            message: What there is to say.
            level: The level's first letter.
        """
        now = time.time()
        stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))},{int(now * 1000) % 1000:03d}"
        line = f"{stamp} {level} [{os.getpid()}] mldeploy.supervisor - {message}\n".encode()
        if self._log:
            self._log.write(line)
        else:
            self._stderr.write(line)

    def copy(self) -> None:
        """Write what workers have written into the pipe by now.

        Its end is not waited for: a process that a worker left behind may hold it.
        """
        if self.pipe is None:
            return
        for _ in range(64):
            try:
                chunk = os.read(self.pipe[0], 65536)
            except BlockingIOError:
                return
            self.write(chunk)

    def finish(self) -> None:
        """Write what is left, for readers that are slow, but not for those that do not read."""
        for stream in (self._stdout, self._stderr):
            stream.flush(_SLOW_MS)
