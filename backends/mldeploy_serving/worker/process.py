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
from types import FrameType
from typing import NoReturn

from mldeploy_serving import memory
from mldeploy_serving.channel import Channel
from mldeploy_serving.entry import names, script, swagger
from mldeploy_serving.settings import Settings, StartError
from mldeploy_serving.worker import forks, lifeline, logs
from mldeploy_serving.worker.logs import LOGGER
from mldeploy_serving.worker.scoring import Scorer

FAILED_TO_START = 3


def main(arguments: Sequence[str]) -> NoReturn:
    """Run a worker until its channel ends.

    Args:
        arguments: The inherited end of the socket pair, the supervisor's process id, and how many seconds `init()`
            may take: the supervisor sends SIGALRM then.
    """
    faulthandler.enable()
    logs.configure()
    end = socket.socket(fileno=int(arguments[0]))
    end.set_inheritable(False)
    lifeline.die_with(int(arguments[1]), end)
    memory.keep_freed()
    names.install()
    channel = Channel(end)
    try:
        _work(channel, float(arguments[2]))
    except StartError as error:
        _fail(channel, str(error))
    except Exception as error:
        LOGGER.exception("The scoring server itself has failed")
        _fail(channel, f"the scoring server itself has failed: {logs.told(error)}")
    _end(0)


def _work(channel: Channel, init_timeout: float) -> None:
    settings = Settings.read(os.environ)
    try:
        os.chdir(settings.app_root)
    except OSError as error:
        raise StartError(f"The app root {settings.app_root} cannot be entered: {error.strerror}") from error
    # for scripts that leave this folder, and for processes that they start
    os.environ["AML_APP_ROOT"] = str(settings.app_root)
    _catch_signals(channel, init_timeout)
    forks.keep_apart(channel.socket.fileno())
    if settings.debug_port:
        _wait_for_debugger(settings.debug_host, settings.debug_port)
    entry = script.load(settings)
    script.start(entry)
    _catch_signals(channel, init_timeout)  # whatever init() has done to them
    documents = swagger.documents(entry.run, settings)
    LOGGER.info("Scoring timeout is set to %d", settings.scoring_timeout_ms)
    if settings.worker_preload:
        from mldeploy_serving.worker.template import fork_workers

        forked = fork_workers(channel)
        if forked is None:
            return
        channel = forked
        _catch_signals(channel, init_timeout)
    scorer = Scorer(entry, settings, channel)
    LOGGER.info("Worker with pid %d ready for serving traffic", os.getpid())
    channel.send(("ready", os.getpid(), entry.raw, entry.raw or entry.wants_headers, documents))
    scorer.serve()


def _catch_signals(channel: Channel, init_timeout: float) -> None:
    """The supervisor ends a worker by its channel; a signal to the whole group must not cut off what it works on."""
    main_thread = threading.get_ident()

    def give_up(*_: object) -> None:
        reason = f"init() did not finish in {init_timeout:g} s"
        LOGGER.error("%s; it is at\n%s", reason, logs.stack(main_thread))
        channel.send(("reason", reason))
        _end_at_once(FAILED_TO_START)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave_to_supervisor)
    signal.signal(signal.SIGALRM, give_up)
    # blocked since the process was started
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM, signal.SIGTERM, signal.SIGINT))


def _wait_for_debugger(host: str, port: int) -> None:
    try:
        import debugpy  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise StartError("AZUREML_DEBUG_PORT needs debugpy in the service's environment: pip install debugpy") from None
    try:
        debugpy.listen((host, port))
    except RuntimeError as error:
        raise StartError(f"debugpy cannot listen on {host}:{port}: {error}") from error
    LOGGER.info("Waiting for a debugger on %s:%d", host, port)
    debugpy.wait_for_client()


def _fail(channel: Channel, reason: str) -> NoReturn:
    LOGGER.error("The service cannot start: %s", reason)
    channel.send(("reason", reason))
    _end(FAILED_TO_START)


def _end(code: int) -> NoReturn:
    """What scripts have registered by `atexit` is done; threads that they left running are not waited for."""
    atexit._run_exitfuncs()
    _end_at_once(code)


def _end_at_once(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a script may have put anything there
            stream.flush()
    os._exit(code)


def _leave_to_supervisor(number: int, frame: FrameType | None) -> None:
    """Nothing to do."""
