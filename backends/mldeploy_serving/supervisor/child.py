"""A worker as the supervisor sees it: its process, the channel to it, and what it works on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import deque
from typing import Protocol, cast

from mldeploy_serving.channel import Head, Unpacker, pack
from mldeploy_serving.messages import Request
from mldeploy_serving.writing import write_at_once

_LARGE = 65536


class Owner(Protocol):
    """What a worker tells."""

    def received(self, child: Child, head: Head, body: bytes) -> None:
        """A frame has come."""

    def lost(self, child: Child) -> None:
        """The channel has ended: the process is gone, or about to."""


class Child(asyncio.Protocol):
    """A worker process.

    Args:
        owner: Who is told about it.
        pid: Its process id; 0 until it has told it, where the supervisor did not start it itself.

    Attributes:
        ready: Its `init()` is done, and it takes requests.
        served: It was ready at some time.
        template: The process that was to fork it; None where the supervisor has started it.
        unforked: Why that one could not.
        work: Requests that it was sent and has not answered, the one that it works on first.
        since: When that one was begun, in seconds of `time.perf_counter()`.
        exec_ms: How long its last `run()` took; infinite before the first.
        reason: Why it ends, in its own words.
        status: Its exit code, or minus the signal that killed it; None while it runs.
        killed: Why the supervisor has ended it.
        retired: It has an old script: it ends with what it works on.
    """

    def __init__(self, owner: Owner, pid: int) -> None:
        self.pid = pid
        self.ready = False
        self.served = False
        self.template: Child | None = None
        self.unforked = ""
        self.needs_headers = False
        self.work: deque[Request] = deque()
        self.since = 0.0
        self.expired = False
        self.exec_ms = float("inf")
        self.reason = ""
        self.status: int | None = None
        self.killed = ""
        self.retired = False
        self._owner = owner
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)

    def send(self, request: Request) -> None:
        """Have it score a request. Answers come in the order of requests."""
        if not self.work:
            self.since = time.perf_counter()
            self.expired = False
        self.work.append(request)
        headers = request.headers
        if self.needs_headers:
            request.peer = request.connection.peer() if request.connection else ""
        else:
            kind = request.fields.get(b"content-type")
            headers = [] if kind is None else [(b"content-type", kind)]
        head = (
            *(request.method, request.path, request.query, request.http_version),
            *(headers, request.request_id, request.peer),
        )
        prefix = pack(head, len(request.body))
        if len(request.body) < _LARGE:
            write_at_once(self._transport, self._descriptor, prefix + request.body)
        else:
            self._transport.writelines((prefix, request.body))

    def advance(self) -> Request:
        """It is done with the first of its work."""
        request = self.work.popleft()
        self.since = time.perf_counter()
        self.expired = False
        return request

    def pass_on(self, end: socket.socket) -> None:
        """Have a template fork a worker that has this end of a socket pair.

        Raises:
            OSError: The template is gone, or there are too many open files.
        """
        own = os.dup(self._descriptor)  # uvloop's object sends no descriptors
        with socket.socket(fileno=own) as twin:
            socket.send_fds(twin, [b"w"], [end.fileno()])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.pid and self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def hold(self) -> None:
        """Read no more of it, so that it has to wait."""
        self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Let it end: it does so when it has read the end of its channel."""
        self._transport.close()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The channel is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor: int = transport.get_extra_info("socket").fileno()
        self._twin = os.dup(self._descriptor)

    def data_received(self, data: bytes) -> None:
        """Frames have come."""
        for head, body in self._unpacker.feed(data):
            self._owner.received(self, head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel has ended."""
        self._read_on()
        os.close(self._twin)
        self._owner.lost(self)

    def _read_on(self) -> None:
        """What it had sent before its end: a transport that cannot write any more does not read that."""
        with contextlib.suppress(OSError):
            while data := os.read(self._twin, _LARGE):
                self.data_received(data)
