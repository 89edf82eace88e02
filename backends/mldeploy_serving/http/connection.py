"""One HTTP connection: bytes in, requests to the application one after another, answers out in their order.

`httptools` (llhttp) does the parsing, strictly: bare CR or LF, both Content-Length and Transfer-Encoding, and
the like are errors, after which nothing of that connection is read any more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol, cast

import httptools

from mldeploy_serving.messages import Answer, Request, by_name, refusal
from mldeploy_serving.settings import BODY_LIMIT_BYTES

HEAD_LIMIT_BYTES = 64 * 1024
# how long a client that was refused may go on sending before it is cut off, so that it can read why
LINGER_S = 2.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = f"The body is larger than {BODY_LIMIT_BYTES} bytes."


class Application(Protocol):
    """What a connection needs of the application."""

    draining: bool

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def closed(self, connection: Connection) -> None:
        """A client is gone."""

    def handle(self, request: Request) -> None:
        """Answer `request` by its connection's `answer`, now or later."""


class Connection(asyncio.Protocol):
    """The protocol that `asyncio` drives; every method runs in the loop's thread."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._waiting: deque[Request] = deque()
        self.current: Request | None = None
        self._broken = False  # nothing more is read of this client
        self._at_end = False  # the client has said that it sends nothing more
        self._clogged = False  # the client does not read its answers
        self._paused = False  # requests are waiting: no more are read meanwhile
        self._turning = False
        self._expects_continue = False
        self._start_parser()

    def _start_parser(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: Request | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way, not even in part."""
        return self.current is None and self._incoming is None and not self._waiting

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._application.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what it asked for and was not begun need not be done."""
        for request in (self.current, *self._waiting):
            if request is not None:
                request.answered = True
        self._waiting.clear()
        self._application.closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        begun = self._incoming
        while data and not self._broken:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # no other protocol is spoken here: such a request is answered as any other
                data = data[upgrade.args[0] :]
                self._start_parser()
            except httptools.HttpParserError as error:
                self._refuse(refusal(400, f"The request is not valid HTTP: {error}", with_ids=False))
                return
            else:
                break
        if begun is not None and self._incoming is begun and not begun.method:
            self._limit_head(len(data))
        if self._waiting and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends nothing more, but may still wait for answers."""
        self._at_end = True
        return self.current is not None or bool(self._waiting)

    def pause_writing(self) -> None:
        """The client reads too slowly; the next request waits."""
        self._clogged = True

    def resume_writing(self) -> None:
        """The client has read."""
        self._clogged = False
        self._next()

    # what httptools calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._incoming = Request(self)
        self._target = b""
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        request = self._incoming
        if request is not None and not request.method:  # what follows a chunked body is no header
            self._head_size += len(name) + len(value)
            request.headers.append((name.lower(), value.rstrip(b" \t")))  # the parser keeps blanks at the end

    def on_headers_complete(self) -> None:
        """The head is complete; the body may follow."""
        request, parser = self._incoming, self._parser
        if request is None or self._broken:
            return
        request.method = parser.get_method()
        request.http_version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        request.fields = fields = by_name(request.headers)
        request.path, request.query = _split(self._target)
        if self._head_size + len(self._target) > HEAD_LIMIT_BYTES:
            self._refuse(refusal(431, "The headers are too large.", with_ids=False))
        elif int(fields.get(b"content-length", 0)) > BODY_LIMIT_BYTES:
            self._refuse(refusal(413, _TOO_LARGE))
        elif fields.get(b"expect", b"").lower() == b"100-continue":
            self._expects_continue = True
            self._say_continue()

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        if self._broken:
            return
        self._body_size += len(chunk)
        self._body.append(chunk)
        if self._body_size > BODY_LIMIT_BYTES:
            self._body.clear()
            self._refuse(refusal(413, _TOO_LARGE))

    def on_message_complete(self) -> None:
        """A request is complete."""
        request = self._incoming
        if request is None or self._broken:
            return
        self._incoming = None
        self._expects_continue = False
        body = self._body
        request.body = body[0] if len(body) == 1 else b"".join(body)
        request.begun = time.perf_counter()
        self._waiting.append(request)
        self._next()

    # answers

    def answer(self, head: bytes, body: bytes, *, last: bool) -> None:
        """Send the answer of the current request.

        Args:
            head: Status line and headers, with the empty line at their end.
            body: What follows, already empty for HEAD.
            last: Close the connection afterwards.
        """
        self.current = None
        if self._transport.is_closing():
            return
        if len(body) < HEAD_LIMIT_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        if last:
            self._waiting.clear()
            self._end()
        else:
            self._next()

    def begin(self, head: bytes, *, last: bool) -> None:
        """Begin an answer whose body comes in pieces, each by `send`, until `end`.

        In HTTP/1.1 they are chunks; in 1.0 the end of the connection is the end of the body.

        Args:
            head: Status line and headers, with the empty line at their end; without Transfer-Encoding.
            last: Close the connection afterwards.
        """
        request = self.current
        assert request is not None
        self._chunked = request.http_version != "1.0"
        self._bodiless = request.method == b"HEAD"
        self._last = last or not self._chunked
        if self._chunked:
            head = head[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
        self._transport.write(head)

    def send(self, chunk: bytes) -> None:
        """Send a piece of the body."""
        if not chunk or self._bodiless:  # an empty chunk would be the end
            return
        self._transport.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if self._chunked else chunk)

    def end(self) -> None:
        """That was all of the body."""
        self.answer(b"0\r\n\r\n" if self._chunked and not self._bodiless else b"", b"", last=self._last)

    def abort(self) -> None:
        """Close at once: the request under way has no answer, or none to its end."""
        self.current = None
        self._transport.abort()

    def close(self) -> None:
        """Close a connection on which nothing is under way."""
        self._transport.close()

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 once it is closed."""
        socket = self._transport.get_extra_info("socket")
        return -1 if socket is None else int(socket.fileno())

    def peer(self) -> str:
        """The client's address."""
        return str((self._transport.get_extra_info("peername") or ("",))[0])

    def _next(self) -> None:
        """Begin requests for as long as they are answered at once; `handle` may come back here while it runs."""
        if self._turning:
            return
        self._turning = True
        while self._waiting and self.current is None and not self._clogged and not self._transport.is_closing():
            self.current = request = self._waiting.popleft()
            self._application.handle(request)
        self._turning = False
        if self.current is None and not self._waiting:
            self._rest()

    def _rest(self) -> None:
        if self._transport.is_closing():
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._at_end or (self._application.draining and self.idle):
            self._transport.close()
        elif self._expects_continue:
            self._say_continue()

    def _say_continue(self) -> None:
        """Ask for the body, once it is this request's turn to speak."""
        if self._expects_continue and self.current is None and not self._waiting:
            self._expects_continue = False
            self._transport.write(_CONTINUE)

    def _limit_head(self, received: int) -> None:
        """A head without an end is not collected without an end."""
        self._head_size += received
        if self._head_size > 2 * HEAD_LIMIT_BYTES:
            self._refuse(refusal(431, "The headers are too large.", with_ids=False))

    def _refuse(self, verdict: Answer) -> None:
        """Answer what came before, then `verdict`, then no more."""
        request = self._incoming or Request(self)
        request.verdict = verdict
        request.keep_alive = False
        request.begun = time.perf_counter()
        self._broken = True
        self._incoming = None
        self._waiting.append(request)
        self._next()

    def _end(self) -> None:
        if not self._broken or self._at_end:
            self._transport.close()
            return
        # Closing at once, while the client still sends, would reset the connection before it has read the answer.
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, which may be a whole URL.

    Examples:
        >>> _split(b"/score?a=1")
        (b'/score', b'a=1')
        >>> _split(b"http://host:80/score")
        (b'/score', b'')
    """
    if not target.startswith(b"/") and b"://" in target:
        target = b"/" + target.split(b"://", 1)[1].partition(b"/")[2]
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query
