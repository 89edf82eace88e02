"""A line for every request, written together every few milliseconds: a write costs more than a line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from mldeploy_serving.messages import Answer, Request

_PROCESS = os.getpid()


class Entry(NamedTuple):
    """What is told of a request; of its target only the path.

    Args:
        time: Of its answer, in seconds since the epoch.
        took_s: Seconds from the complete request to its answer.
        request_id: Its own id.
        client_request_id: The client's; empty where it sent none.
        method: Its method.
        path: Its path.
        request_bytes: Size of its body.
        status: What was answered.
        failed: The answer's `x-ms-run-function-failed`.
        run_ms: Milliseconds that `run()` took, where it came back.
        response_bytes: Size of the answer's body.
    """

    time: float
    took_s: float
    request_id: bytes
    client_request_id: bytes
    method: bytes
    path: bytes
    request_bytes: int
    status: int
    failed: bool | None
    run_ms: float | None
    response_bytes: int


class RequestLog:
    """The lines of requests; they are formatted when they are written, so that no answer waits for it.

    Args:
        write: Takes whole lines.
        form: `text`, in the format of the workers' log, or `json`, an object a line.
    """

    def __init__(self, write: Callable[[bytes], None], form: str) -> None:
        self._write = write
        self._line = _json if form == "json" else _text
        self._pending: list[Entry] = []

    def add(self, request: Request, answer: Answer, took_s: float) -> bool:
        """Keep what is told of a request.

        Args:
            request: What was asked.
            answer: What was answered.
            took_s: Seconds from the complete request to its answer.

        Returns:
            Whether it is the first one, so that a flush has to be planned.
        """
        self._pending.append(
            Entry(
                *(time.time(), took_s, request.request_id, request.client_request_id, request.method, request.path),
                *(len(request.body), answer.status, answer.failed, answer.exec_ms, len(answer.body)),
            )
        )
        return len(self._pending) == 1

    def flush(self) -> None:
        """Write what there is."""
        if self._pending:
            entries, self._pending = self._pending, []
            self._write("".join(map(self._line, entries)).encode("utf-8", "backslashreplace"))


def _text(entry: Entry) -> str:
    second = int(entry.time)
    return (
        f"{_day_time(second, ' ')},{int((entry.time - second) * 1000):03d} I [{_PROCESS}] mldeploy - "
        f"{_str(entry.request_id)} {_str(entry.method)} {_str(entry.path)} "
        f"{entry.status} {entry.took_s * 1000:.3f}ms {entry.response_bytes}\n"
    )


def _json(entry: Entry) -> str:
    second = int(entry.time)
    line = {
        "time": f"{_day_time(second, 'T')}.{int((entry.time - second) * 1000):03d}Z",
        "request_id": _str(entry.request_id) or None,
        "client_request_id": _str(entry.client_request_id) or None,
        "method": _str(entry.method),
        "path": _str(entry.path),
        "status": entry.status,
        "failed": entry.failed,
        "duration_ms": round(entry.took_s * 1000, 3),
        "run_ms": None if entry.run_ms is None else round(entry.run_ms, 3),
        "request_bytes": entry.request_bytes,
        "response_bytes": entry.response_bytes,
    }
    return json.dumps(line) + "\n"


@lru_cache(maxsize=2)  # the second that is, and the one before
def _day_time(second: int, between: str) -> str:
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", time.gmtime(second))


def _str(text: bytes) -> str:
    return text.decode("latin-1")
