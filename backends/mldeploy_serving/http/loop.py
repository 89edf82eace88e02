"""The HTTP loop and its thread."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable

from mldeploy_serving.http.application import Application
from mldeploy_serving.http.connection import Connection
from mldeploy_serving.worker import forks

BACKLOG = 1024


class HttpLoop:
    """An event loop in a daemon thread that serves HTTP on one listening socket.

    Signals arrive on the main thread, which may be deep in a C call; what their handlers' wake-up socket gets is
    read here, at once. The same for the end of the supervisor.

    Args:
        listener: The listening socket.
        control: The socket whose end of file means that the supervisor is gone.
        orphaned: Called then, in the loop's thread.
        stop: Called there when SIGTERM or SIGINT has come.
    """

    def __init__(
        self,
        listener: socket.socket,
        control: socket.socket,
        orphaned: Callable[[], None],
        stop: Callable[[signal.Signals], None],
    ) -> None:
        self.loop = _new_loop()
        self._listener = listener
        self._control = control
        self._orphaned = orphaned
        self._stop = stop
        self._server: asyncio.AbstractServer | None = None
        self._woken, self._waker = socket.socketpair()

    def start(self, application: Application) -> None:
        """Serve from now on; has to be called on the main thread."""
        for end in (self._woken, self._waker, self._control):
            end.setblocking(False)
        self.catch_signals()
        own = [each.fileno() for each in (self._listener, self._control, self._woken, self._waker)]
        forks.keep_apart(lambda: [*own, *application.descriptors()])
        threading.Thread(target=self._run, args=(application,), name="mldeploy-http", daemon=True).start()

    def catch_signals(self) -> None:
        """Have SIGTERM and SIGINT come here; has to be called on the main thread."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _wake_only)

    def stop_listening(self) -> None:
        """Take no new connections."""
        if self._server is not None:
            self._server.close()

    def _run(self, application: Application) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.add_reader(self._woken.fileno(), self._read_signals)
        self.loop.add_reader(self._control.fileno(), self._read_control)
        self._server = self.loop.run_until_complete(
            self.loop.create_server(lambda: Connection(application), sock=self._listener, backlog=BACKLOG)
        )
        self.loop.run_forever()

    def _read_signals(self) -> None:
        for number in set(self._woken.recv(4096)) & {signal.SIGTERM, signal.SIGINT}:
            self._stop(signal.Signals(number))

    def _read_control(self) -> None:
        try:
            gone = not self._control.recv(1)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            self._orphaned()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _wake_only(number: int, frame: object) -> None:
    """The wake-up socket has told the loop already."""
