"""The main thread's work: `run()`, one request at a time.

The HTTP loop puts requests into a queue and gets the answers back as calls in its own thread. It also watches
the scoring timeout: it answers on time, whatever `run()` does, and then interrupts the main thread by SIGALRM,
whose handler raises `TimeoutError` in the script, as the official server's does. The next `run()` begins only
when this one is over.
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from mldeploy_serving.contract.arguments import Refused, builder
from mldeploy_serving.contract.encoding import Encoder
from mldeploy_serving.entry.script import Script
from mldeploy_serving.messages import Answer, Request, refusal
from mldeploy_serving.settings import Settings
from mldeploy_serving.worker.logs import LOGGER, NO_REQUEST, CurrentRequest, describe, entries, in_users_code, stack

_SCRIPT_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
_INTERNAL = "An unexpected internal error occurred. Check the logs for more info."
# where inference-schema turns what was sent into what was declared; errors from there are the client's
_CONVERSION = "_deserialize_input_argument"


class Scorer:
    """Calls `run()` on the thread that `serve` is called on.

    Args:
        script: The entry script, its `init()` done.
        settings: This worker's.
        loop: The HTTP loop, which runs in another thread.
        finish: Called in that thread with every answer.
    """

    def __init__(
        self,
        script: Script,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        finish: Callable[[Request, Answer], None],
    ) -> None:
        self.raw = script.raw
        self._run = script.run
        self._decorated = script.decorated
        self._arguments = builder(script)
        self._encode = Encoder(nan_as_null=settings.nan_as_null).encode
        self._timeout_ms = settings.scoring_timeout_ms
        self._loop = loop
        self._finish = finish
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._running: tuple[Request, float] | None = None  # and since when
        self._late: Request | None = None
        self._watching = False
        self._thread_id = 0
        self._process = os.getpid()

    # in the HTTP loop's thread

    def submit(self, request: Request) -> None:
        """Have a request scored."""
        self._requests.put(request)
        if self._timeout_ms and not self._watching:
            self._watching = True
            self._loop.call_later(self._timeout_ms / 1000, self._watch)

    def close(self) -> None:
        """Let `serve` return when it has done what is queued."""
        self._requests.put(None)

    def _watch(self) -> None:
        """Expire the request that is late; come back when the next one could be."""
        limit = self._timeout_ms / 1000
        running = self._running
        rest = limit
        if running is not None:
            request, since = running
            rest = since + limit - time.perf_counter()
            if rest <= 0:
                rest = limit
                if request is not self._late:
                    self._expire(request)
        elif self._requests.empty():
            self._watching = False
            return
        self._loop.call_later(rest, self._watch)

    def _expire(self, request: Request) -> None:
        LOGGER.error(
            "%s Scoring timeout after %d ms; run() is at\n%s",
            request.request_id.decode("latin-1"),
            self._timeout_ms,
            stack(self._thread_id),
        )
        self._late = request
        self._finish(request, refusal(500, f"Scoring timeout after {self._timeout_ms} ms", failed=True))
        signal.pthread_kill(self._thread_id, signal.SIGALRM)

    # in the main thread

    def serve(self) -> None:
        """Score requests until `close`."""
        self._thread_id = threading.get_ident()
        signal.signal(signal.SIGALRM, self._interrupt)
        while True:
            try:
                request = self._requests.get()
                if request is None:
                    return
                if not request.answered:
                    self._score(request)
            except TimeoutError:
                # the alarm came in the instant after run() had returned: its request has been answered
                self._running = None

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        running = self._running
        if running is not None and running[0] is self._late:
            raise TimeoutError(f"Scoring timeout after {self._timeout_ms} ms")

    def _score(self, request: Request) -> None:
        try:
            arguments = self._arguments(request)
        except Refused as refused:
            answer = refused.answer
        except Exception as error:
            LOGGER.error("%s The request could not be read\n%s", _id(request), describe(error))
            answer = refusal(500, _INTERNAL)
        else:
            CurrentRequest.id = _id(request)
            answer = self._call(request, arguments)
            if os.getpid() != self._process:  # run() has forked, and this is the child
                os._exit(0)
            CurrentRequest.id = NO_REQUEST
        self._loop.call_soon_threadsafe(self._finish, request, answer)

    def _call(self, request: Request, arguments: dict[str, Any]) -> Answer:
        since = time.perf_counter()
        self._running = (request, since)
        try:
            result = self._run(**arguments)
            if hasattr(type(result), "__await__"):
                from mldeploy_serving.worker.awaiting import wait_for

                result = wait_for(result)
        except BaseException as error:  # SystemExit too: a request must not end the service
            self._running = None
            return self._failure(request, error)
        exec_ms = (time.perf_counter() - since) * 1000
        self._running = None
        try:
            return self._success(result, exec_ms)
        except Exception as error:
            LOGGER.error("%s What run() returned could not be sent\n%s", _id(request), describe(error))
            return refusal(500, _INTERNAL)

    def _success(self, result: Any, exec_ms: float) -> Answer:
        wrappers = sys.modules.get("werkzeug.wrappers")
        if wrappers is not None and isinstance(result, wrappers.Response):
            from mldeploy_serving.entry.aml_response import to_answer

            return to_answer(result, exec_ms)
        return Answer(200, self._encode(result), failed=False, exec_ms=exec_ms)

    def _failure(self, request: Request, error: BaseException) -> Answer:
        if self._decorated and isinstance(error, Exception):
            place = _misfit(error.__traceback__)
            if place is not None:
                message = f"The value of {place!r} does not fit its declared schema: {error}"
                LOGGER.warning("%s %s", _id(request), message)
                return refusal(400, message)
        LOGGER.error("%s run() failed\n%s", _id(request), describe(error))
        return refusal(500, _SCRIPT_FAILED, failed=True)


def _id(request: Request) -> str:
    return request.request_id.decode("latin-1")


def _misfit(trace: TracebackType | None) -> str | None:
    """Which value could not be converted (`parameter.key`); None where the user's own code was reached first."""
    place: list[str] = []
    for entry in entries(trace):
        code = entry.tb_frame.f_code
        if code.co_name == _CONVERSION and "inference_schema" in code.co_filename:
            name = str(entry.tb_frame.f_locals["param_name"])
            if place[-1:] != [name]:  # the elements of a list go by the list's name
                place.append(name)
        elif not place and in_users_code(entry):
            return None
    return ".".join(place) or None
