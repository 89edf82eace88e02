"""The process that has the entry script; the supervisor starts it."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from mldeploy_serving.entry import names, script
from mldeploy_serving.entry.swagger import Swagger
from mldeploy_serving.http.application import Application
from mldeploy_serving.http.loop import HttpLoop
from mldeploy_serving.settings import Settings, StartError
from mldeploy_serving.worker import logs
from mldeploy_serving.worker.lifeline import Lifeline
from mldeploy_serving.worker.logs import LOGGER
from mldeploy_serving.worker.scoring import Scorer

FAILED_TO_START = 3
DRAIN_S = 30.0


class Worker:
    """One process of the service.

    Args:
        listener: The listening socket.
        lifeline: The tie to the supervisor.
        init_timeout: Seconds until `init()` has to be done; 0 is for ever.
    """

    def __init__(self, listener: socket.socket, lifeline: Lifeline, init_timeout: float) -> None:
        self._lifeline = lifeline
        self._init_timeout = init_timeout
        self._main_thread = threading.get_ident()
        self._http = HttpLoop(listener, lifeline.control, orphaned=_end_at_once, stop=self._stop)
        self._application: Application | None = None
        self._scorer: Scorer | None = None
        self._stopping = False

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            StartError: The service cannot start.
        """
        settings = Settings.read(os.environ)
        try:
            os.chdir(settings.app_root)
        except OSError as error:
            raise StartError(f"The app root {settings.app_root} cannot be entered: {error.strerror}") from error
        # for scripts that leave this folder, and for processes that they start
        os.environ["AML_APP_ROOT"] = str(settings.app_root)
        self._application = application = Application(settings)
        self._http.start(application)
        if self._init_timeout:
            self._http.loop.call_soon_threadsafe(self._http.loop.call_later, self._init_timeout, self._give_up)
        entry = script.load(settings)
        script.start(entry)
        self._http.catch_signals()  # whatever init() has done to them
        scorer = Scorer(entry, settings, self._http.loop, application.finish)
        swagger = Swagger(entry.run, settings)
        self._http.loop.call_soon_threadsafe(self._open, scorer, swagger)
        LOGGER.info("Scoring timeout is set to %d", settings.scoring_timeout_ms)
        scorer.serve()

    # in the HTTP loop's thread

    def _open(self, scorer: Scorer, swagger: Swagger) -> None:
        assert self._application is not None
        self._scorer = scorer
        self._application.open(scorer, swagger)
        self._lifeline.ready()
        LOGGER.info("Worker with pid %d ready for serving traffic", os.getpid())

    def _give_up(self) -> None:
        if self._scorer is not None:
            return
        reason = f"init() did not finish in {self._init_timeout:g} s"
        LOGGER.error("%s; it is at\n%s", reason, logs.stack(self._main_thread))
        self._fail(reason)

    def _stop(self, received: signal.Signals) -> None:
        """Answer what is under way, then end."""
        if self._stopping:
            return
        self._stopping = True
        LOGGER.info("Stopping: %s", received.name)
        self._lifeline.ending(f"stopped by {received.name}")
        self._http.stop_listening()
        if self._scorer is None or self._application is None:
            _end_at_once(0)
        self._http.loop.call_later(DRAIN_S, _end_at_once, 0)
        self._application.drain(self._scorer.close)

    def _fail(self, reason: str) -> NoReturn:
        self._lifeline.ending(reason)
        _end_at_once(FAILED_TO_START)

    def end(self, reason: str = "") -> NoReturn:
        """End the process from its main thread.

        What scripts have registered by `atexit` is done; threads that they left running are not waited for.

        Args:
            reason: Why it failed to start; empty if it did not fail.
        """
        if self._application is not None:
            self._application.flush_log()
        if reason:
            LOGGER.error("The service cannot start: %s", reason)
            self._lifeline.ending(reason)
        atexit._run_exitfuncs()
        _end_at_once(FAILED_TO_START if reason else 0)


def _end_at_once(code: int = 1) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a script may have put anything there
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the worker.

    Args:
        arguments: The inherited listening socket, the inherited end of the supervisor's socket pair, the
            supervisor's process id, and the seconds until `init()` has to be done, 0 being for ever.
    """
    listener_fd, control_fd, supervisor = map(int, arguments[:3])
    faulthandler.enable()
    logs.configure()
    for fd in (listener_fd, control_fd):
        os.set_inheritable(fd, False)
    lifeline = Lifeline(socket.socket(fileno=control_fd), supervisor)
    names.install()
    worker = Worker(socket.socket(fileno=listener_fd), lifeline, float(arguments[3]))
    try:
        worker.run()
    except StartError as error:
        worker.end(str(error))
    except Exception as error:
        LOGGER.exception("The scoring server itself has failed")
        worker.end(f"the scoring server itself has failed: {logs.told(error)}")
    worker.end()
