"""`async def` in an entry script: one event loop for all of its calls, so that clients it opened stay usable."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from functools import cache
from typing import Any


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


os.register_at_fork(after_in_child=_loop.cache_clear)  # a loop belongs to one process


def wait_for(awaitable: Awaitable[Any]) -> Any:
    """Run `awaitable` to its end on the calling thread; it is cancelled when this call is interrupted."""
    loop = _loop()
    task = asyncio.ensure_future(_as_coroutine(awaitable), loop=loop)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
