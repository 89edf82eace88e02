"""The main thread's work: `run()`, one request at a time.

The supervisor watches the scoring timeout: it answers on time, whatever `run()` does, and then interrupts this
thread by SIGALRM, whose handler raises `TimeoutError` in the script, as the official server's does. Whether it was
answered or not, every request gets its frame from here: that `run()` is over is what the supervisor waits for.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

from mldeploy_serving.channel import Channel, Head
from mldeploy_serving.contract.arguments import Headers, Refused
from mldeploy_serving.contract.rules import Rules
from mldeploy_serving.entry.script import Script
from mldeploy_serving.messages import Answer, Request, by_name
from mldeploy_serving.settings import Settings
from mldeploy_serving.worker.logs import LOGGER, NO_REQUEST, CurrentRequest, describe


class Scorer:
    """Calls `run()` on the thread that `serve` is called on.

    Args:
        script: The entry script, its `init()` done.
        settings: The service's.
        channel: Where requests come from and answers go.
    """

    def __init__(self, script: Script, settings: Settings, channel: Channel) -> None:
        self._run = script.run
        self._rules = Rules(script, settings)
        self._timeout_ms = settings.scoring_timeout_ms
        self._channel = channel
        self._since: float | None = None  # when run() was called, as long as it works
        self._process = os.getpid()

    def serve(self) -> None:
        """Score requests until the supervisor closes the channel."""
        signal.signal(signal.SIGALRM, self._interrupt)
        for head, body in self._channel:
            try:
                self._score(_request(head, body))
            except TimeoutError:
                # the alarm came in the instant after run() had returned: its request has been answered
                self._since = None
                self._channel.send(("done",))

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # The alarm may be late for the call that it was meant for: the next one has then just begun.
        if self._since is not None and (time.perf_counter() - self._since) * 2000 >= self._timeout_ms:
            raise TimeoutError(f"Scoring timeout after {self._timeout_ms} ms")

    def _score(self, request: Request) -> None:
        try:
            arguments, headers = self._rules.arguments(request)
        except Refused as refused:
            answer = refused.answer
        except Exception as error:
            LOGGER.error("%s The request could not be read\n%s", _id(request), describe(error))
            answer = self._rules.internal(error)
        else:
            CurrentRequest.id = _id(request)
            answer = self._call(request, arguments, headers)
            if os.getpid() != self._process:  # run() has forked, and this is the child
                os._exit(0)
            CurrentRequest.id = NO_REQUEST
        if answer.chunks is None:
            self._channel.send(("answer", *_parts(answer)), answer.body)
        else:
            self._stream(request, answer, answer.chunks)

    def _call(self, request: Request, arguments: dict[str, Any], headers: Headers) -> Answer:
        self._since = since = time.perf_counter()
        try:
            result = self._run(**arguments)
            if self._rules.awaits(result):
                from mldeploy_serving.worker.awaiting import wait_for

                result = wait_for(result)
        except BaseException as error:  # SystemExit too: a request must not end the service
            self._since = None
            return self._failure(request, error)
        exec_ms = (time.perf_counter() - since) * 1000
        self._since = None
        try:
            return self._rules.success(result, exec_ms, headers)
        except Exception as error:
            LOGGER.error("%s What run() returned could not be sent\n%s", _id(request), describe(error))
            return self._rules.internal(error)

    def _failure(self, request: Request, error: BaseException) -> Answer:
        answer = self._rules.failure(request, error)
        if answer.status < 500:
            LOGGER.warning("%s %s", _id(request), answer.body.decode())
        else:
            LOGGER.error("%s run() failed\n%s", _id(request), describe(error))
        return answer

    def _stream(self, request: Request, answer: Answer, chunks: Iterable[bytes]) -> None:
        self._channel.send(("begin", *_parts(answer)))
        try:
            for chunk in chunks:
                self._channel.send(("chunk",), chunk)
        except Exception as error:
            LOGGER.error("%s The response could not be sent to its end\n%s", _id(request), describe(error))
            self._channel.send(("broken",))
        else:
            self._channel.send(("end",))


def _request(head: Head, body: bytes) -> Request:
    request = Request()
    (
        request.method,
        request.path,
        request.query,
        request.http_version,
        request.headers,
        request.request_id,
        request.peer,
    ) = head
    request.fields = by_name(request.headers)
    request.body = body
    return request


def _parts(answer: Answer) -> Head:
    return (answer.status, answer.content_type, answer.failed, answer.exec_ms, answer.headers, answer.with_ids)


def _id(request: Request) -> str:
    return request.request_id.decode("latin-1")
