"""`GET /metrics`: counts and times, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from mldeploy_serving.messages import Answer

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
# seconds
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """What has been answered on `/score` since the service started."""

    def __init__(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._errors: Counter[str] = Counter()
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def add(self, answer: Answer, seconds: float, error: str) -> None:
        """Count an answer.

        Args:
            answer: It.
            seconds: From the complete request to it.
            error: The kind of error that only the supervisor knows: `timeout` or `worker`.
        """
        self._statuses[answer.status] += 1
        kind = error or _kind(answer)
        if kind:
            self._errors[kind] += 1
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self, *, in_flight: int, queued: int, restarts: int) -> bytes:
        """All of it.

        Args:
            in_flight: Requests that have not been answered, waiting ones included.
            queued: Those of them that wait for a worker.
            restarts: How often a worker was replaced.
        """
        return "".join(f"{line}\n" for line in self._lines(in_flight, queued, restarts)).encode()

    def _lines(self, in_flight: int, queued: int, restarts: int) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Answers on /score, by status.")
        for status, count in sorted(self._statuses.items()):
            yield f'mldeploy_requests_total{{status="{status}"}} {count}'
        yield from _head("errors_total", "counter", "Answers on /score that are errors, by what failed.")
        for kind in ("client", "script", "server", "timeout", "worker"):
            yield f'mldeploy_errors_total{{kind="{kind}"}} {self._errors[kind]}'
        yield from _head("request_duration_seconds", "histogram", "From a complete request to its answer.")
        total = 0
        for limit, count in zip((*_BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            yield f'mldeploy_request_duration_seconds_bucket{{le="{limit}"}} {total}'
        yield f"mldeploy_request_duration_seconds_sum {self._seconds!r}"
        yield f"mldeploy_request_duration_seconds_count {total}"
        for name, value, help_text in (
            ("requests_in_flight", in_flight, "Requests on /score that have not been answered."),
            ("requests_queued", queued, "Those that wait for a worker."),
        ):
            yield from _head(name, "gauge", help_text)
            yield f"mldeploy_{name} {value}"
        yield from _head("worker_restarts_total", "counter", "Workers that were replaced.")
        yield f"mldeploy_worker_restarts_total {restarts}"


def _head(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP mldeploy_{name} {help_text}"
    yield f"# TYPE mldeploy_{name} {kind}"


def _kind(answer: Answer) -> str:
    if answer.status < 400:
        return ""
    if answer.status < 500:
        return "client"
    return "script" if answer.failed else "server"
