"""What is answered on which path; all of it runs in the HTTP loop's thread.

Paths, statuses, bodies and header names are azureml-inference-server-http 1.5.1's, as observed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs, unquote_to_bytes

from mldeploy_serving.entry.swagger import Swagger
from mldeploy_serving.http.connection import Connection
from mldeploy_serving.http.cors import Cors
from mldeploy_serving.messages import HTML, Answer, Request, refusal
from mldeploy_serving.settings import Settings
from mldeploy_serving.worker.logs import RequestLines

ID_LIMIT = 100
FLUSH_S = 0.01

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_METHODS = {
    b"/": (b"GET", b"HEAD", b"OPTIONS"),
    b"/score": (b"GET", b"HEAD", b"OPTIONS", b"POST"),
    b"/swagger.json": (b"GET", b"HEAD", b"OPTIONS"),
}
_NOT_FOUND = refusal(
    404,
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling "
    "and try again.",
    with_ids=False,
)
_NOT_ALLOWED = refusal(405, "The method is not allowed for the requested URL.", with_ids=False)
_STARTING = refusal(503, "The service is starting: init() has not finished yet.")


class Scorer(Protocol):
    """Where requests for `run()` go."""

    raw: bool

    def submit(self, request: Request) -> None:
        """Have `run()` called; the answer comes to `Application.finish` in the loop's thread."""


class Application:
    """The routes, and what every answer has in common.

    Args:
        settings: This worker's.
    """

    def __init__(self, settings: Settings) -> None:
        self.draining = False
        self._scorer: Scorer | None = None
        self._swagger: Swagger | None = None
        self._connections: set[Connection] = set()
        self._lines = RequestLines()
        self._cors = Cors(settings.cors_origins)
        self._version = settings.server_version.encode("latin-1", "replace")
        self._date_second = 0
        self._date = b""
        self._when_drained: Callable[[], None] = _nothing

    def open(self, scorer: Scorer, swagger: Swagger) -> None:
        """`init()` is done: requests are served from now on."""
        self._swagger = swagger
        self._scorer = scorer

    def drain(self, when_done: Callable[[], None]) -> None:
        """Answer what is under way, take nothing new, and call `when_done` when no connection is left."""
        self.draining = True
        self._when_drained = when_done
        for connection in [each for each in self._connections if each.idle]:
            connection.close()
        self._tell_when_drained()

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A client is gone."""
        self._connections.discard(connection)
        self._tell_when_drained()

    def descriptors(self) -> list[int]:
        """The file descriptors of the clients' connections."""
        return [connection.descriptor for connection in self._connections]

    def _tell_when_drained(self) -> None:
        if self.draining and not self._connections:
            self._when_drained()

    def handle(self, request: Request) -> None:
        """Answer a request, or have it answered by `run()`."""
        answer = request.verdict or self._route(request)
        if answer is not None:
            self.finish(request, answer)

    def _route(self, request: Request) -> Answer | None:
        path = request.path if b"%" not in request.path else unquote_to_bytes(request.path)
        methods = _METHODS.get(path)
        if methods is None:
            return _NOT_FOUND
        if request.method not in methods:
            return _NOT_ALLOWED
        return self._identify(request) or self._dispatch(path, request)

    def _dispatch(self, path: bytes, request: Request) -> Answer | None:
        scorer, swagger = self._scorer, self._swagger
        if scorer is None or swagger is None:
            return _STARTING
        if path == b"/score":
            return self._score(scorer, request)
        if request.method == b"OPTIONS":
            return Answer(200, b"", HTML, headers=((b"Allow", b"GET, OPTIONS, HEAD"),))
        if path == b"/":
            return Answer(200, b"Healthy", HTML)
        version = parse_qs(request.query.decode("latin-1"), keep_blank_values=True).get("version", ["2"])[0]
        return swagger.answer(version)

    @staticmethod
    def _score(scorer: Scorer, request: Request) -> Answer | None:
        if not scorer.raw:
            if request.method == b"OPTIONS":
                return Answer(200, b"", HTML, failed=False)
            if request.method == b"HEAD":
                return refusal(405, "Method not allowed")
        scorer.submit(request)
        return None

    @staticmethod
    def _identify(request: Request) -> Answer | None:
        """Settle the three ids: the request's own, and the client's in its old and new spelling."""
        fields = request.fields
        request_id = fields.get(b"x-request-id")
        if request_id is None:
            request_id = str(uuid.uuid4()).encode()
        elif len(request_id) > ID_LIMIT:
            return refusal(431, f"x-request-id must not exceed {ID_LIMIT} characters")
        request.request_id = request_id
        client = fields.get(b"x-ms-client-request-id", b"")
        old = fields.get(b"x-ms-request-id", b"")
        if old:
            client = client or old
        else:
            old = client or request_id
        if len(old) > ID_LIMIT or len(client) > ID_LIMIT:
            return refusal(431, f"x-ms-request-id and x-ms-client-request-id must not exceed {ID_LIMIT} characters")
        request.ms_request_id, request.client_request_id = old, client
        return None

    def finish(self, request: Request, answer: Answer) -> None:
        """Send `answer`, unless the request has been answered or its client is gone."""
        if request.answered:
            return
        request.answered = True
        last = self.draining or not request.keep_alive
        body = b"" if request.method == b"HEAD" else answer.body
        head = self._head(request, answer, last)
        if answer.with_ids and request.path != b"/":
            self._log(request, answer)
        request.connection.answer(head, body, last=last)

    def _head(self, request: Request, answer: Answer, last: bool) -> bytes:
        status = answer.status
        parts = [b"HTTP/1.1 %d %s\r\nDate: %s\r\n" % (status, _reason(status), self._today())]
        add = parts.append
        if last:
            add(b"Connection: close\r\n")
        elif request.http_version == "1.0":
            add(b"Connection: keep-alive\r\n")
        if answer.content_type is not None:
            add(b"Content-Type: %s\r\n" % answer.content_type)
        if status >= 200 and status not in {204, 304}:
            add(b"Content-Length: %d\r\n" % len(answer.body))
        if answer.failed is not None:
            add(b"x-ms-run-function-failed: True\r\n" if answer.failed else b"x-ms-run-function-failed: False\r\n")
        for header in answer.headers:
            add(b"%s: %s\r\n" % header)
        if answer.exec_ms is not None:
            add(b"x-ms-run-fn-exec-ms: %.3f\r\n" % answer.exec_ms)
        if answer.with_ids:
            self._add_shared(request, add)
        add(b"\r\n")
        return b"".join(parts)

    def _add_shared(self, request: Request, add: Callable[[bytes], None]) -> None:
        self._cors.add(request, add)
        if self._version:
            add(b"x-ms-server-version: %s\r\n" % self._version)
        if request.request_id:
            add(b"x-request-id: %s\r\n" % request.request_id)
        if request.ms_request_id:
            add(b"x-ms-request-id: %s\r\n" % request.ms_request_id)
        if request.client_request_id:
            add(b"x-ms-client-request-id: %s\r\n" % request.client_request_id)
        trace_id = request.fields.get(b"traceid")
        if trace_id is not None:
            add(b"TraceId: %s\r\n" % trace_id)

    def _today(self) -> bytes:
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            self._date = _http_date(second)
        return self._date

    def _log(self, request: Request, answer: Answer) -> None:
        took_ms = (time.perf_counter() - request.begun) * 1000
        line = (
            f"{request.request_id.decode('latin-1')} {request.method.decode()} {request.path.decode('latin-1')} "
            f"{answer.status} {took_ms:.3f}ms {len(answer.body)}"
        )
        if self._lines.add(time.time(), line):
            asyncio.get_running_loop().call_later(FLUSH_S, self._lines.flush)

    def flush_log(self) -> None:
        """Write the request lines that are still kept."""
        self._lines.flush()


def _http_date(seconds: int) -> bytes:
    """RFC 9110's form, in English whatever the locale; `email.utils` would cost 5 ms of every start.

    Examples:
        >>> _http_date(784111777)
        b'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    now = time.gmtime(seconds)
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return f"{day}, {now.tm_mday:02d} {month} {now.tm_year} {time.strftime('%H:%M:%S', now)} GMT".encode()


def _reason(status: int) -> bytes:
    return _REASONS.get(status, "Unknown").encode()


def _nothing() -> None:
    """Nobody waits for the end yet."""
