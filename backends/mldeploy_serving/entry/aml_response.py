"""`AMLResponse`, and how any werkzeug (so also Flask) response becomes an answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from werkzeug.wrappers import Response

from mldeploy_serving.contract.encoding import Unsendable
from mldeploy_serving.messages import Answer

# said by the server itself, whatever the script says
_SERVERS_OWN = {
    *("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade"),
    *("x-request-id", "x-ms-request-id"),
}
_WITHOUT_BODY = {204, 304}


class AMLResponse(Response):
    """What a script returns to decide status, headers and body itself.

    Args:
        message: The body; None is `{}`.
        status_code: The HTTP status.
        response_headers: More headers; a value with commas becomes a header for each part.
        json_str: Write `message` as JSON.
        run_function_failed: The `x-ms-run-function-failed` header.
    """

    default_mimetype = "text/html"  # Flask's

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        given = response_headers or {}
        if message is None or json_str:
            body = json.dumps({} if message is None else message)
            super().__init__(body, status=status_code, mimetype="application/json")
        else:
            super().__init__(message, status=status_code)
            if "Content-Type" in given:  # spelt otherwise, it is a second one in the contract too
                self.headers.remove("Content-Type")
        self.headers["x-ms-run-function-failed"] = str(run_function_failed)
        for name, values in given.items():
            for value in values.split(","):
                self.headers.add(name, value.strip())


def to_answer(response: Response, exec_ms: float) -> Answer:
    """The answer that `response` asks for; a status of 500 or more counts as failed, whatever it says.

    A response whose length is not known is sent in chunks, as its iterator makes them.

    Raises:
        Unsendable: A header is not Latin-1, or the body is nothing to iterate over, or fails at once.
    """
    try:
        return _answer(response, exec_ms)
    except Exception as error:
        raise Unsendable(f"the response cannot be sent: {error}") from error


def _answer(response: Response, exec_ms: float) -> Answer:
    if response.status_code >= 500:
        response.headers["x-ms-run-function-failed"] = "True"
    if not response.is_streamed:
        response.make_sequence()  # its length is known then
    finished = response.get_wsgi_headers({})  # of the request nothing is looked at for relative locations
    headers = tuple(
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in finished
        if name.lower() not in _SERVERS_OWN
    )
    chunks = _chunks(response)
    if "Content-Length" in finished or response.status_code in _WITHOUT_BODY:
        return Answer(response.status_code, b"".join(chunks), None, exec_ms=exec_ms, headers=headers)
    first = list(itertools.islice(chunks, 1))  # what fails at once can still be answered otherwise
    chunks = itertools.chain(first, chunks)
    return Answer(response.status_code, b"", None, exec_ms=exec_ms, headers=headers, chunks=chunks)


def _chunks(response: Response) -> Iterator[bytes]:
    with response:
        yield from response.iter_encoded()
