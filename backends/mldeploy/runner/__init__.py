"""The `mldeploy` command: the verbs and flags of Azure ML v1's command line, on this backend.

What it is made of is imported when it is called, so that Ctrl-C in the first tenths of a second is caught too.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

_INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: What was typed after `mldeploy`; None takes it from the process, which ends then.

    Returns:
        The exit code; `docs/runner.md` has the table.
    """
    try:
        from mldeploy.runner._program import run

        code = run(sys.argv[1:] if args is None else args)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if args is None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the result is out: a late Ctrl-C changes nothing
    return code
