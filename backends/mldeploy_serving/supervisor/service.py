"""The supervisor's own process: listening sockets, signals, and the end of the service."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from mldeploy_serving import memory
from mldeploy_serving.http.application import Application
from mldeploy_serving.http.connection import Connection, watch
from mldeploy_serving.settings import Settings
from mldeploy_serving.supervisor.ending import Ending
from mldeploy_serving.supervisor.memory_limit import MemoryLimit
from mldeploy_serving.supervisor.orphans import bury
from mldeploy_serving.supervisor.output import Output
from mldeploy_serving.supervisor.pool import Pool
from mldeploy_serving.supervisor.sources import Sources
from mldeploy_serving.supervisor.spawning import Spawned

DRAIN_S = 30.0
STOP_GRACE_S = 2.0


class Service:
    """A service from its start to its end.

    Args:
        settings: Its settings.
        listeners: Its listening sockets.
        output: Where its output goes.
        init_timeout: Seconds that `init()` may take; 0 is for ever.
        limit: Tells of workers that are killed for memory, since before the first one was started.
        reloads: The script is loaded again when a source file changes.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        output: Output,
        init_timeout: float,
        limit: MemoryLimit,
        *,
        reloads: bool = False,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._output = output
        self._init_timeout = init_timeout
        self._limit = limit
        self._reloads = reloads
        self._application = Application(settings, output.write)
        self._servers: list[asyncio.AbstractServer] = []
        self._stopping: signal.Signals | None = None

    def run(self, first: Spawned, spawn: Callable[[], Spawned]) -> Ending:
        """Serve until the end.

        Args:
            first: The first worker, which has been started.
            spawn: Starts another one.
        """
        memory.keep_freed()
        loop = _new_loop()
        asyncio.set_event_loop(loop)
        self._ended: asyncio.Future[Ending] = loop.create_future()
        try:
            return loop.run_until_complete(self._serve(first, spawn))
        finally:
            self._application.flush_log()
            self._output.copy()

    async def _serve(self, first: Spawned, spawn: Callable[[], Spawned]) -> Ending:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._say_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        if self._output.pipe is not None:
            os.set_blocking(self._output.pipe[0], False)
            loop.add_reader(self._output.pipe[0], self._output.copy)
        application = self._application
        self._pool = Pool(
            *(self._settings, spawn, application, self._output.say),
            *(self._init_timeout, self._reloads, self._end, self._limit),
        )
        for listener in self._listeners:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections inherit it
            self._servers.append(await loop.create_server(lambda: Connection(application), sock=listener, backlog=2048))
        self._pool.start(first)
        tasks = [loop.create_task(watch(application.connections))]
        if os.getpid() == 1:
            tasks.append(loop.create_task(bury(self._pool.pids)))
        if self._reloads:
            tasks.append(loop.create_task(self._watch_sources()))
        ending = await self._ended
        for task in tasks:
            task.cancel()
        self._output.copy()
        self._output.say(f"The worker has ended with exit code {ending.exit_code}: {ending.reason}")
        return ending

    def _say_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        told = "" if error is None else "\n" + "".join(traceback.format_exception(error)).rstrip()
        self._output.say(f"The scoring server itself has failed: {context['message']}{told}", "E")

    async def _watch_sources(self) -> None:
        root = self._settings.app_root
        script = root / self._settings.entry_script
        await Sources({root, script.parent}, self._pool.reload).watch()

    def _stop(self, received: signal.Signals) -> None:
        """Answer what is under way, then end."""
        if self._stopping is not None:
            if received is signal.SIGINT:  # whoever types Ctrl-C again does not want to wait
                self._pool.kill()
                self._end(Ending(-signal.SIGKILL, f"stopped by {self._stopping.name}", signal.SIGKILL))
            return
        self._stopping = received
        self._output.say(f"Stopping: {received.name}")
        for server in self._servers:
            server.close()
        if not self._pool.ready and not self._pool.in_flight:
            self._close_pool()
            return
        asyncio.get_running_loop().call_later(DRAIN_S, self._close_pool)
        self._application.drain(self._close_pool)

    def _close_pool(self) -> None:
        asyncio.get_running_loop().call_later(STOP_GRACE_S, self._pool.kill)
        self._pool.close()

    def _end(self, ending: Ending) -> None:
        if self._ended.done():
            return
        if self._stopping is not None and ending.exit_code == 0:
            ending = Ending(0, f"stopped by {self._stopping.name}")
        self._ended.set_result(ending)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
