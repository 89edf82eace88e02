"""One HTTP connection: bytes in, requests to the application one after another, answers out in their order.

`httptools` (llhttp) does the parsing, strictly: bare CR or LF, both Content-Length and Transfer-Encoding, and
the like are errors, after which nothing of that connection is read any more.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol, cast

import httptools

from mldeploy_serving.messages import Answer, Request, by_name, refusal
from mldeploy_serving.settings import BODY_LIMIT_BYTES
from mldeploy_serving.writing import write_at_once

HEAD_LIMIT_BYTES = 64 * 1024
# how long a client may stop in the middle of a request, or of reading an answer
STALL_S = 60.0
# how long a client that was refused may go on sending before it is cut off, so that it can read why
LINGER_S = 2.0
_RESET = struct.pack("ii", 1, 0)
_LOOKS = 4  # within the time that a client may stall
_SMALL = 4096
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = f"The body is larger than {BODY_LIMIT_BYTES} bytes."
_ORIGIN = re.compile(rb"[^:/?#]+://[^/?#]*")


class Application(Protocol):
    """What a connection needs of the application."""

    draining: bool

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def closed(self, connection: Connection) -> None:
        """A client is gone."""

    def handle(self, request: Request) -> None:
        """Answer `request` by its connection's `answer`, now or later."""


class Source(Protocol):
    """Where a streamed answer comes from."""

    def hold(self) -> None:
        """Make no more of it, until `go_on`."""

    def go_on(self) -> None:
        """The client has read, or is gone."""


class Connection(asyncio.Protocol):
    """The protocol that `asyncio` drives; every method runs in the loop's thread."""

    # defaults stand in the class: a connection may serve one small request only
    _quiet = 0  # looks since something has come from the client, or gone to it
    _written = 0  # bytes that the transport was given
    _gone = 0  # how many of them it had got rid of at the last look
    _fruitless = 0  # bytes since a request began or its body last grew
    _streaming = False  # the answer of the current request has begun
    _held: Source | None = None  # what waits until the client reads on
    _replaying = False  # the parser is told again of a head that has been dealt with

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

    def _restart_parser(self) -> None:
        """Go on after the head of a request that wants another protocol.

        The parser takes what follows for that protocol, even where it is the body: a new one is told of the body.
        """
        request = self._incoming
        self._start_parser()
        if request is None:
            return
        framing = next(each for each in request.headers if each[0] in {b"content-length", b"transfer-encoding"})
        self._replaying = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%s: %s\r\n\r\n" % framing)
        self._replaying = False
        self._incoming = request

    @property
    def idle(self) -> bool:
        """Whether no request is under way, not even in part."""
        return self.current is None and self._incoming is None and not self._waiting

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor: int = transport.get_extra_info("socket").fileno()
        self._application.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what it asked for and was not begun need not be done."""
        self._forget()
        self._incoming = None
        self._release()
        del self._parser  # it knows this object: the two, and a body, would be left to the next collection of garbage
        self._application.closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._quiet = 0
        begun = self._incoming
        size = self._body_size if begun is not None else 0
        while data and not self._broken:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # no other protocol is spoken here: such a request is answered as any other
                data = data[upgrade.args[0] :]
                self._restart_parser()
            except httptools.HttpParserError as error:
                self._refuse(_invalid(error))
                return
            else:
                break
        if begun is not None and self._incoming is begun and self._body_size == size:
            self._limit_fruitless(len(data))
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
        self._release()
        self._next()

    # what httptools calls

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._replaying or self._broken:
            return
        self._incoming = Request(self)
        self._target = b""
        self._head_size = 0
        self._fruitless = 0
        self._body: list[bytes | bytearray] = []
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        request = self._incoming
        if request is not None and not request.method:  # what follows a chunked body is no header
            self._head_size += len(name) + len(value) + 4
            request.headers.append((name.lower(), value.rstrip(b" \t")))  # the parser keeps blanks at the end

    def on_headers_complete(self) -> None:
        """The head is complete; the body may follow."""
        request, parser = self._incoming, self._parser
        if request is None or self._broken:  # refused, or replayed
            return
        request.method = parser.get_method()
        request.http_version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        request.fields = fields = by_name(request.headers)
        request.path, request.query = _split(self._target)
        if self._head_size + len(self._target) > HEAD_LIMIT_BYTES:
            self._refuse(refusal(431, "The headers are too large.", with_ids=False))
        elif (wrong := _unreadable(request)) is not None:
            self._refuse(wrong)
        elif int(fields.get(b"content-length", 0)) > BODY_LIMIT_BYTES:
            self._refuse(refusal(413, _TOO_LARGE))
        elif fields.get(b"expect", b"").lower() == b"100-continue" and request.http_version != "1.0":
            self._expects_continue = True
            self._say_continue()

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        if self._broken:
            return
        self._body_size += len(chunk)
        self._fruitless = 0
        body = self._body
        if not body or len(chunk) >= _SMALL:
            body.append(chunk)
        elif isinstance(body[-1], bytearray):  # as many objects as there are bytes would take many times the memory
            body[-1] += chunk
        else:
            body.append(bytearray(chunk))
        if self._body_size > BODY_LIMIT_BYTES:
            self._body.clear()
            self._refuse(refusal(413, _TOO_LARGE))

    def on_message_complete(self) -> None:
        """A request is complete."""
        request = self._incoming
        if request is None or self._broken:
            return
        if self._parser.should_upgrade() and _has_body(request):  # it follows, though the parser does not think so
            return
        self._incoming = None
        self._expects_continue = False
        body = self._body
        request.body = bytes(body[0]) if len(body) == 1 else b"".join(body)
        self._body = []
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
        if self._streaming:  # too late for another answer; the client has to see that the one it gets is not whole
            self.abort()
            return
        self.current = None
        if self._transport.is_closing():
            return
        self._written += len(head) + len(body)
        if len(body) < HEAD_LIMIT_BYTES:
            write_at_once(self._transport, self._descriptor, head + body)
        else:
            self._transport.writelines((head, body))
        self._turn(last=last)

    def begin(self, head: bytes, *, last: bool) -> None:
        """Begin an answer whose body comes in pieces, each by `send`, until `end`.

        In HTTP/1.1 they are chunks; in 1.0 the end of the connection is the end of the body.

        Args:
            head: Status line and headers, with the empty line at their end; without those of the body's length.
            last: Close the connection afterwards; has to be true in HTTP/1.0.
        """
        request = self.current
        assert request is not None
        self._streaming = True
        self._last = last
        self._silent = request.method == b"HEAD"
        self._chunked = request.http_version != "1.0"
        if self._chunked:
            head = head[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
        self._write(head)

    def send(self, chunk: bytes, source: Source) -> None:
        """Send a piece of the body.

        Args:
            chunk: What is sent.
            source: Where it comes from; held while the client does not read, as all that is sent is kept until then.
        """
        if not chunk or self._silent:  # an empty chunk would be the end
            return
        self._write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if self._chunked else chunk)
        if self._clogged and self._held is None:
            self._held = source
            source.hold()

    def end(self) -> None:
        """That was all of the body."""
        if self._chunked and not self._silent:
            self._write(b"0\r\n\r\n")
        self._streaming = False
        self.current = None
        self._turn(last=self._last)

    def abort(self) -> None:
        """Close at once: the request under way has no answer, or none to its end."""
        self._streaming = False
        self._forget()
        if (client := self._transport.get_extra_info("socket")) is not None:  # by a reset: in HTTP/1.0 ends are ends
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def look(self) -> bool:
        """See whether the client has stalled; `watch` calls this four times in the time that it may.

        Returns:
            Whether it has, and was told so or cut off.
        """
        unsent = self._transport.get_write_buffer_size()
        gone = self._written - unsent  # not `unsent` alone: a streamed answer fills up what the client has read
        reads_on = gone > self._gone
        self._gone = gone
        owes_bytes = self._incoming is not None and not self._paused and not self._expects_continue
        if reads_on or not (owes_bytes or unsent):
            self._quiet = 0
            return False
        self._quiet += 1
        if self._quiet <= _LOOKS:
            return False
        if unsent:
            self.abort()
        else:
            self._refuse(refusal(408, "The rest of the request did not come in time.", with_ids=False))
        return True

    def close(self) -> None:
        """Close a connection on which nothing is under way."""
        self._transport.close()

    def peer(self) -> str:
        """The client's address."""
        return str((self._transport.get_extra_info("peername") or ("",))[0])

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        self._transport.write(data)

    def _forget(self) -> None:
        """Nobody waits for an answer any more; a worker that still makes one must not write to this connection."""
        for request in (self.current, *self._waiting):
            if request is not None:
                request.answered = True
        self.current = None
        self._waiting.clear()

    def _turn(self, *, last: bool) -> None:
        """An answer has been sent."""
        if last:
            self._waiting.clear()
            self._end()
        else:
            self._next()

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

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held.go_on()

    def _say_continue(self) -> None:
        """Ask for the body, once it is this request's turn to speak."""
        if self._expects_continue and self.current is None and not self._waiting:
            self._expects_continue = False
            self._write(_CONTINUE)

    def _limit_fruitless(self, received: int) -> None:
        """A head, chunk extensions or trailers without an end are not read without an end."""
        self._fruitless += received
        if self._fruitless > 2 * HEAD_LIMIT_BYTES:
            self._refuse(refusal(431, "The headers are too large.", with_ids=False))

    def _refuse(self, verdict: Answer) -> None:
        """Answer what came before, then `verdict`, then no more."""
        if self._broken:  # the parser goes on to the end of what has come, in which more may be wrong
            return
        request = self._incoming or Request(self)
        request.verdict = verdict
        request.keep_alive = False
        request.begun = time.perf_counter()
        self._broken = True
        self._incoming = None
        self._waiting.append(request)
        self._next()

    def _end(self) -> None:
        if self._at_end:
            self._transport.close()
            return
        # Closing at once, while the client still sends, would reset the connection before it has read the answer; and
        # whether it will is not known (RFC 9112, 9.6). Most close when they have read the end.
        self._broken = True
        self._incoming = None
        self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, self._cut_off)

    def _cut_off(self) -> None:
        if self._transport.get_write_buffer_size():  # it still reads; `look` sees when it does not
            asyncio.get_running_loop().call_later(LINGER_S, self._cut_off)
        else:
            self._transport.abort()


async def watch(connections: Iterable[Connection], stall_s: float = STALL_S) -> None:
    """Cut off clients that stall, for ever: one look at all of them now and then, not a timer for each request.

    A client that is silent between requests has not stalled.

    Args:
        connections: All that are open, at any time.
        stall_s: Seconds without a byte that a client may take; up to a quarter more passes before it is noticed.
    """
    while True:
        await asyncio.sleep(stall_s / _LOOKS)
        for connection in list(connections):
            connection.look()


def _unreadable(request: Request) -> Answer | None:
    """The refusal of a request that the parser takes, but whose body others on its way may see elsewhere."""
    fields = request.fields
    if request.http_version not in {"1.1", "1.0"}:
        return _invalid(f"HTTP/{request.http_version} is not spoken here")
    if len(fields) < len(request.headers) and sum(name == b"host" for name, _ in request.headers) > 1:
        return _invalid("More than one Host")
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return None
    if request.http_version == "1.0":
        return _invalid("Transfer-Encoding in HTTP/1.0")
    if coding.lower() != b"chunked":
        return _invalid("Transfer-Encoding may only be chunked")
    return None


def _invalid(reason: object) -> Answer:
    return refusal(400, f"The request is not valid HTTP: {reason}", with_ids=False)


def _has_body(request: Request) -> bool:
    fields = request.fields
    return b"transfer-encoding" in fields or int(fields.get(b"content-length", 0)) > 0


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, which may be a whole URL.

    Examples:
        >>> _split(b"/score?a=1")
        (b'/score', b'a=1')
        >>> _split(b"http://host:80/score")
        (b'/score', b'')
        >>> _split(b"http://host?a=/b")
        (b'/', b'a=/b')
    """
    if not target.startswith(b"/") and (origin := _ORIGIN.match(target)):
        target = target[origin.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query
