"""What is answered on which path.

Paths, statuses, bodies and header names are azureml-inference-server-http 1.5.1's, as observed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote_to_bytes

from mldeploy_serving.contract.table import Table
from mldeploy_serving.http import metrics, swagger
from mldeploy_serving.http.connection import Connection, Source
from mldeploy_serving.http.cors import Cors
from mldeploy_serving.http.request_ids import RequestIds
from mldeploy_serving.http.request_log import RequestLog
from mldeploy_serving.messages import HTML, Answer, Request, refusal
from mldeploy_serving.settings import Settings

ID_LIMIT = 100
_CLIENT_ID = b"x-ms-client-request-id"
FLUSH_S = 0.01

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_METHODS = {
    b"/": (b"GET", b"HEAD", b"OPTIONS"),
    b"/score": (b"GET", b"HEAD", b"OPTIONS", b"POST"),
    b"/swagger.json": (b"GET", b"HEAD", b"OPTIONS"),
}
_METRICS = {b"/metrics": (b"GET", b"HEAD", b"OPTIONS")}
_OUT_OF_MEMORY = b"x-mldeploy-out-of-memory"
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

    restarts: int
    out_of_memory: str
    """Why the last worker that was killed for memory was; empty where none was."""

    @property
    def queued(self) -> int:
        """How many requests wait for a worker."""

    @property
    def in_flight(self) -> int:
        """How many have not been scored, those included."""

    def submit(self, request: Request) -> None:
        """Have `run()` called; the answer comes to `Application.finish`."""


class Application:
    """The routes, and what every answer has in common.

    Args:
        settings: The service's.
        write: Writes lines to the log.

    Attributes:
        available: A worker could score now.
        draining: No new connections are taken, and every answer is its connection's last.
        connections: Those that are open.
    """

    def __init__(self, settings: Settings, write: Callable[[bytes], None]) -> None:
        self.available = False
        self.draining = False
        self._scorer: Scorer | None = None
        self._shut = _STARTING
        self._raw = False
        self._documents: dict[str, bytes] = {}
        self.connections: set[Connection] = set()
        self._ids = RequestIds()
        self._log = RequestLog(write, settings.request_log)
        self._metrics = metrics.Metrics() if settings.metrics else None
        self._methods = {**_METHODS, **_METRICS} if settings.metrics else _METHODS
        self._table = Table(settings.contract)
        self._cors = Cors(settings.cors_origins)
        self._version = settings.server_version.encode("latin-1", "replace")
        self._starts: dict[tuple[int, bytes | None, bool | None, bool], bytes] = {}
        self._date_second = 0
        self._date = b""
        self._when_drained: Callable[[], None] = _nothing

    def open(self, scorer: Scorer, raw: bool, documents: dict[str, bytes]) -> None:
        """A worker's `init()` is done: requests are served from now on.

        Args:
            scorer: Where requests for `run()` go.
            raw: `run()` wants the request itself, whatever its method.
            documents: The swagger documents, by every name of their version.
        """
        self._scorer = scorer
        self._raw = raw
        self._documents = documents
        self.available = True

    def shut(self, reason: str, waiting: Iterable[Request]) -> None:
        """There will be no worker for a while: requests are refused with the reason, those that wait too."""
        self.available = False
        self._scorer = None
        self._shut = refusal(503, reason)
        for request in waiting:
            self.finish(request, self._shut)

    def drain(self, when_done: Callable[[], None]) -> None:
        """Answer what is under way, take nothing new, and call `when_done` when no connection is left."""
        self.draining = True
        self._when_drained = when_done
        for connection in [each for each in self.connections if each.idle]:
            connection.close()
        self._tell_when_drained()

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self.connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A client is gone."""
        self.connections.discard(connection)
        self._tell_when_drained()

    def _tell_when_drained(self) -> None:
        if self.draining and not self.connections:
            self._when_drained()

    def handle(self, request: Request) -> None:
        """Answer a request, or have it answered by `run()`."""
        answer = request.verdict or self._route(request)
        if answer is not None:
            self.finish(request, answer)

    def _route(self, request: Request) -> Answer | None:
        path = request.path if b"%" not in request.path else unquote_to_bytes(request.path)
        if path.startswith(b"//"):
            path = b"/" + path.lstrip(b"/")
        methods = self._methods.get(path)
        if methods is None:
            return _NOT_FOUND
        if request.method not in methods:
            return _NOT_ALLOWED
        return self._identify(request) or self._dispatch(path, request)

    def _dispatch(self, path: bytes, request: Request) -> Answer | None:
        scorer = self._scorer
        if scorer is None:
            return self._shut
        if path == b"/score":
            return self._score(scorer, request)
        if request.method == b"OPTIONS":
            return Answer(200, b"", HTML, headers=((b"Allow", b"GET, OPTIONS, HEAD"),))
        if path == b"/":
            return self._health(scorer)
        if path == b"/swagger.json":
            return swagger.answer(self._documents, request)
        return self._measured(scorer)

    def _health(self, scorer: Scorer) -> Answer:
        if not self.available:
            return _STARTING
        lost = scorer.out_of_memory
        return Answer(200, b"Healthy", HTML, headers=((_OUT_OF_MEMORY, lost.encode()),) if lost else ())

    def _score(self, scorer: Scorer, request: Request) -> Answer | None:
        if not self._raw:
            if request.method == b"OPTIONS":
                return Answer(200, b"", HTML, failed=False)
            if request.method == b"HEAD":
                return refusal(405, "Method not allowed")
        scorer.submit(request)
        return None

    def _measured(self, scorer: Scorer) -> Answer:
        assert self._metrics is not None
        text = self._metrics.text(in_flight=scorer.in_flight, queued=scorer.queued, restarts=scorer.restarts)
        return Answer(200, text, metrics.CONTENT_TYPE, with_ids=False)

    def _identify(self, request: Request) -> Answer | None:
        """Settle the three ids: the request's own, and the client's in its old and new spelling."""
        fields = request.fields
        request_id = fields.get(b"x-request-id")
        if request_id is None:
            request_id = self._ids.next()
        elif len(request_id) > ID_LIMIT:
            return refusal(431, f"x-request-id must not exceed {ID_LIMIT} characters")
        request.request_id = request_id
        client = fields.get(_CLIENT_ID, b"")
        old = fields.get(b"x-ms-request-id", b"")
        if old:
            client = client or old
        else:
            old = client or request_id
        if len(old) > ID_LIMIT or len(client) > ID_LIMIT:
            return refusal(431, f"x-ms-request-id and x-ms-client-request-id must not exceed {ID_LIMIT} characters")
        request.ms_request_id, request.client_request_id = old, client
        return None

    def finish(self, request: Request, answer: Answer, error: str = "") -> None:
        """Send `answer`, unless the request has been answered or its client is gone.

        Args:
            request: What is answered.
            answer: By what.
            error: The kind of error, where `answer` does not tell: `timeout` or `worker`.
        """
        if request.answered:
            return
        request.answered = True
        last = self.draining or not request.keep_alive
        body = b"" if request.method == b"HEAD" else answer.body
        _connection(request).answer(self._head(request, answer, last), body, last=last)
        self._note(request, answer, error)

    def fail(self, request: Request, reason: str) -> None:
        """The worker has ended while it had this request."""
        if request.answered:
            return
        rule = self._table["run.process-ends"]
        if rule.status:
            self.finish(request, refusal(rule.status, rule.message(reason=reason), failed=True), "worker")
        else:  # the connection is closed without a word
            request.answered = True
            _connection(request).abort()

    def expire(self, request: Request, timeout_ms: int) -> None:
        """The request has taken too long."""
        rule = self._table["run.timeout"]
        self.finish(request, refusal(rule.status, rule.message(timeout=timeout_ms), failed=True), "timeout")

    def begin(self, request: Request, answer: Answer) -> None:
        """Send the head of an answer whose body comes in pieces."""
        if request.answered:
            return
        last = self.draining or not request.keep_alive or request.http_version == "1.0"
        self._note(request, answer, "")
        _connection(request).begin(self._head(request, answer, last, whole=False), last=last)

    def send(self, request: Request, chunk: bytes, source: Source) -> None:
        """Send a piece of such an answer, which comes from `source`."""
        if not request.answered:
            _connection(request).send(chunk, source)

    def end(self, request: Request, *, complete: bool) -> None:
        """That was the last piece; or, if it is not complete, there will be no more."""
        if request.answered:
            return
        request.answered = True
        if complete:
            _connection(request).end()
        else:
            _connection(request).abort()

    def _note(self, request: Request, answer: Answer, error: str) -> None:
        """Log and count an answer."""
        if not answer.with_ids or request.path == b"/":
            return
        took = time.perf_counter() - request.begun
        if self._log.add(request, answer, took):
            asyncio.get_running_loop().call_later(FLUSH_S, self._log.flush)
        if self._metrics is not None and request.path == b"/score":
            self._metrics.add(answer, took, error)

    def _head(self, request: Request, answer: Answer, last: bool, *, whole: bool = True) -> bytes:
        status = answer.status
        parts = [self._start(status, answer.content_type, answer.failed, answer.with_ids), self._today()]
        add = parts.append
        if last:
            add(b"Connection: close\r\n")
        elif request.http_version == "1.0":
            add(b"Connection: keep-alive\r\n")
        if whole and status >= 200 and status not in {204, 304}:
            add(b"Content-Length: %d\r\n" % len(answer.body))
        for name, value in answer.headers:
            if name.lower() != _CLIENT_ID or not request.client_request_id:  # the client's own is said below
                add(b"%s: %s\r\n" % (name, value))
        if answer.exec_ms is not None:
            add(b"x-ms-run-fn-exec-ms: %.3f\r\n" % answer.exec_ms)
        if answer.with_ids:
            self._add_shared(request, add)
        add(b"\r\n")
        return b"".join(parts)

    def _start(self, status: int, content_type: bytes | None, failed: bool | None, with_ids: bool) -> bytes:
        """What many answers begin with, made once."""
        key = (status, content_type, failed, with_ids)
        start = self._starts.get(key)
        if start is None:
            start = b"HTTP/1.1 %d %s\r\n" % (status, _REASONS.get(status, "Unknown").encode())
            if content_type is not None:
                start += b"Content-Type: %s\r\n" % content_type
            if failed is not None:
                start += b"x-ms-run-function-failed: %s\r\n" % str(failed).encode()
            if with_ids and self._version:
                start += b"x-ms-server-version: %s\r\n" % self._version
            self._starts[key] = start
        return start

    def _add_shared(self, request: Request, add: Callable[[bytes], None]) -> None:
        self._cors.add(request, add)
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
            self._date = b"Date: %s\r\n" % _http_date(second)
        return self._date

    def flush_log(self) -> None:
        """Write the request lines that are still kept."""
        self._log.flush()


def _http_date(seconds: int) -> bytes:
    """RFC 9110's form, in English whatever the locale; `email.utils` would cost 5 ms of every start.

    Examples:
        >>> _http_date(784111777)
        b'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    now = time.gmtime(seconds)
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return f"{day}, {now.tm_mday:02d} {month} {now.tm_year} {time.strftime('%H:%M:%S', now)} GMT".encode()


def _connection(request: Request) -> Connection:
    assert request.connection is not None
    return request.connection


def _nothing() -> None:
    """Nobody waits for the end yet."""
