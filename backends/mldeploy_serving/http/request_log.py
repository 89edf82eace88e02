"""A line for every request, written together every few milliseconds: a write costs more than a line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from mldeploy_serving.messages import Answer, Request


class RequestLog:
    """The lines of requests.

    Args:
        write: Takes whole lines.
        form: `text`, in the format of the workers' log, or `json`, an object a line.
    """

    def __init__(self, write: Callable[[bytes], None], form: str) -> None:
        self._write = write
        self._line = _json if form == "json" else _text
        self._pending: list[str] = []
        self._second = 0
        self._stamp = ""

    def add(self, request: Request, answer: Answer, took_ms: float) -> bool:
        """Keep a line.

        Args:
            request: What was asked; of its target only the path is told.
            answer: What was answered.
            took_ms: Milliseconds from the complete request to its answer.

        Returns:
            Whether it is the first one, so that a flush has to be planned.
        """
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp},{int((now - second) * 1000):03d}"
        self._pending.append(self._line(stamp, request, answer, took_ms))
        return len(self._pending) == 1

    def flush(self) -> None:
        """Write what there is."""
        if self._pending:
            lines, self._pending = self._pending, []
            self._write("".join(lines).encode("utf-8", "backslashreplace"))


_PID = os.getpid()


def _text(stamp: str, request: Request, answer: Answer, took_ms: float) -> str:
    return (
        f"{stamp} I [{_PID}] mldeploy - {request.request_id.decode('latin-1')} {request.method.decode('latin-1')} "
        f"{request.path.decode('latin-1')} {answer.status} {took_ms:.3f}ms {len(answer.body)}\n"
    )


def _json(stamp: str, request: Request, answer: Answer, took_ms: float) -> str:
    line = {
        "time": f"{stamp.replace(' ', 'T').replace(',', '.')}Z",
        "request_id": request.request_id.decode("latin-1"),
        "client_request_id": request.client_request_id.decode("latin-1") or None,
        "method": request.method.decode("latin-1"),
        "path": request.path.decode("latin-1"),
        "status": answer.status,
        "failed": answer.failed,
        "duration_ms": round(took_ms, 3),
        "run_ms": None if answer.exec_ms is None else round(answer.exec_ms, 3),
        "request_bytes": len(request.body),
        "response_bytes": len(answer.body),
    }
    return json.dumps(line) + "\n"
