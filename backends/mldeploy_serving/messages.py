"""A request and its answer, on either side of the channel."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from mldeploy_serving.http.connection import Connection

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"


_ESCAPED = "mldeploy.escaped"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPED, _escaped)


class Request:
    """One HTTP request, complete with its body.

    Args:
        connection: Where it came from and where the answer goes; None in a worker.

    Attributes:
        headers: Names in lower case and values, as they came and in their order.
        fields: The same as a dict; the values of a repeated header are joined by commas.
        begun: `time.perf_counter()` when it was complete.
        verdict: The answer where it is known without looking further (broken HTTP, too large).
        answered: Nobody waits for `run()` any more: timed out, or the client is gone.
        peer: The client's address.
    """

    # defaults stand in the class: a request is made twice for every answer
    method = b""
    path = b""
    query = b""
    http_version = "1.1"
    fields: Mapping[bytes, bytes] = MappingProxyType({})
    body = b""
    keep_alive = False
    begun = 0.0
    request_id = b""
    ms_request_id = b""
    client_request_id = b""
    verdict: Answer | None = None
    answered = False
    peer = ""

    def __init__(self, connection: Connection | None = None) -> None:
        self.connection = connection
        self.headers: list[tuple[bytes, bytes]] = []

    @property
    def mimetype(self) -> bytes:
        """The content type without parameters, in lower case.

        Examples:
            >>> request = Request()
            >>> request.fields = {b"content-type": b"Application/JSON; charset=utf-8"}
            >>> request.mimetype
            b'application/json'
        """
        return self.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()

    def pairs(self) -> list[tuple[str, str]]:
        """The query's names and values; bytes that are not UTF-8 stay escaped.

        Examples:
            >>> request = Request()
            >>> request.query = b"a=%C3%A9&a=%FF&b"
            >>> request.pairs()
            [('a', 'é'), ('a', '%FF'), ('b', '')]
        """
        return parse_qsl(self.query.decode("latin-1"), keep_blank_values=True, errors=_ESCAPED)


class Answer:
    """Status, body and the headers that differ from answer to answer.

    Args:
        status: The HTTP status.
        body: All of the body.
        content_type: None where `headers` has it, or there is none.
        failed: The `x-ms-run-function-failed` header; None leaves it out.
        exec_ms: How long `run()` took, in milliseconds, where it came back.
        headers: More headers.
        with_ids: Whether the request's ids are answered too.
        chunks: The body where it is sent piece by piece, as it is made.
    """

    __slots__ = ("body", "chunks", "content_type", "exec_ms", "failed", "headers", "status", "with_ids")

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: bytes | None = JSON,
        *,
        failed: bool | None = None,
        exec_ms: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        with_ids: bool = True,
        chunks: Iterable[bytes] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.failed = failed
        self.exec_ms = exec_ms
        self.headers = headers
        self.with_ids = with_ids
        self.chunks = chunks


def by_name(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, with the values of a repeated one joined as CGI does it.

    Examples:
        >>> by_name([(b"traceid", b"a"), (b"host", b"h"), (b"traceid", b"b")])
        {b'traceid': b'a,b', b'host': b'h'}
    """
    fields = dict(headers)
    if len(fields) < len(headers):  # rare, so that it is looked into only now
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            values.setdefault(name, []).append(value)
        return {name: b",".join(each) for name, each in values.items()}
    return fields


def refusal(status: int, message: str, *, failed: bool = False, with_ids: bool = True) -> Answer:
    """An error in the contract's form: `{"message": …}`.

    Examples:
        >>> refusal(415, "Expects Content-Type to be application/json").body
        b'{"message": "Expects Content-Type to be application/json"}'
    """
    return Answer(status, to_json({"message": message}), failed=failed, with_ids=with_ids)


def to_json(value: Any) -> bytes:
    """What `json.dumps` writes."""
    return json.dumps(value).encode()
