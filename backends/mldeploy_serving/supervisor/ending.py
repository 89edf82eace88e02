"""How a service has ended, for who started it."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

FAILED_TO_START = 3


@dataclass(frozen=True)
class Ending:
    """How a worker ended, and with it the service.

    Args:
        exit_code: Its exit code, or minus the signal that killed it.
        reason: Why, in one line.
        signal_number: The signal that killed it, if one did.
    """

    exit_code: int
    reason: str
    signal_number: int | None = None

    @property
    def returned(self) -> int:
        """The exit code of the supervisor itself: 128 + N where signal N killed the worker."""
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code

    def write(self, path: Path) -> None:
        """Write it as JSON; a reader never sees half a file."""
        record = {"exit_code": self.exit_code, "reason": self.reason, "signal": self.signal_number}
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(record) + "\n", encoding="utf-8")
        unfinished.replace(path)


def told(code: int) -> str:
    """An exit code in words.

    Args:
        code: The exit code, or minus the signal.

    Examples:
        >>> told(-11), told(7)
        ('killed by SIGSEGV', 'ended by itself with exit code 7 (os._exit in the entry script?)')
    """
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended by itself with exit code {code} (os._exit in the entry script?)"
