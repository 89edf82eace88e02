"""Processes that nobody waits for: the first process of a container inherits them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection

POLL_S = 1.0  # the loop has SIGCHLD for itself


async def bury(own: Callable[[], Collection[int]]) -> None:
    """Wait for inherited processes that have ended, for ever; they would keep their process ids.

    Args:
        own: The process ids that somebody else here waits for.
    """
    while True:
        await asyncio.sleep(POLL_S)
        _bury_all(own())


def _bury_all(own: Collection[int]) -> None:
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:  # what is behind that one is seen the next time
            return
        os.waitpid(ended.si_pid, os.WNOHANG)
