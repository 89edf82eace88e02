"""`python -m mldeploy_serving.official`: the official server instead of ours, supervised in the same way.

It takes the flags of `python -m mldeploy_serving` and sets the variables that `azmlinfsrv` sets from its own (names and
defaults: azureml-inference-server-http 1.5.1). That command binds every interface, so gunicorn is run here as it
runs it, on a socket of loopback; in a process of its own, whose output, start and end are watched.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldeploy_serving.entry import names
from mldeploy_serving.settings import Settings, StartError
from mldeploy_serving.supervisor import command
from mldeploy_serving.supervisor.ending import FAILED_TO_START, Ending, told
from mldeploy_serving.worker import lifeline, logs

if TYPE_CHECKING:
    from mldeploy_serving.supervisor.output import Output

_APPLICATION = "azureml_inference_server_http.server.entry:app"
_INIT_GRACE_S = 1.0  # the stack of what hangs is written in it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the official server until it ends.

    Args:
        arguments: Command line without the program; None takes this process's own.

    Returns:
        Its exit code; 3 where it failed to start, 128 + N where signal N killed it.
    """
    return command.main(arguments, serve=_serve)


def _serve(options: Namespace, output: Output) -> Ending:
    if options.reload or options.debug_port:
        raise StartError("--reload and --debug-port are flags of mldeploy's own server")
    variables = command.variables_of(options)
    settings = Settings.read(variables)
    _refuse(settings)
    listeners = command.listen(options, settings.health_port, output)
    variables |= {
        "AML_APP_ROOT": str(settings.app_root),
        "AML_APP_INSIGHTS_ENABLED": variables.get("AML_APP_INSIGHTS_ENABLED", "false"),
        "HEALTH_PORT": str(listeners[-1].getsockname()[1]),
        "PYTHONUNBUFFERED": "1",
        "SERVER_PORT": str(listeners[0].getsockname()[1]),
        "TRANSPORT_PROTOCOL": "grpc",
    }
    if settings.server_version:
        own = f"azmlinfsrv/{version('azureml-inference-server-http')}"
        variables["HTTP_X_MS_SERVER_VERSION"] = variables.get("HTTP_X_MS_SERVER_VERSION", own)
    return _Supervisor(listeners, variables, output, options.init_timeout).watch()


def _refuse(settings: Settings) -> None:
    """What the official server cannot do is refused, never ignored.

    Raises:
        StartError: Something of that kind is set.
    """
    asked = {
        "MLDEPLOY_CONTRACT=strict": settings.contract == "strict",
        "MLDEPLOY_NAN=null": settings.nan_as_null,
        "MLDEPLOY_SCORING_GRACE_MS": settings.scoring_grace_ms != Settings.scoring_grace_ms,
        "MLDEPLOY_METRICS=true": settings.metrics,
        "MLDEPLOY_REQUEST_LOG=json": settings.request_log == "json",
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise StartError(f"{what} is not for the official server, which has nothing of the kind")


class _Supervisor:
    """One gunicorn, from its start to its end."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        variables: Mapping[str, str],
        output: Output,
        init_timeout: float | None,
    ) -> None:
        self._output = output
        self._init_timeout = init_timeout
        self._stopping: signal.Signals | None = None
        self._control, far = socket.socketpair()
        self._process = self._start(listeners, variables, far)
        for passed in (far, *listeners):
            passed.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def watch(self) -> Ending:
        """Wait for its end."""
        reason = self._until_ready()
        code = self._process.wait()
        if self._output.pipe:
            self._pump.join(_INIT_GRACE_S)  # a process that a worker left behind may hold the pipe
        if self._stopping and code in {0, -self._stopping}:
            ending = Ending(0, f"stopped by {self._stopping.name}")
        elif reason:
            ending = Ending(FAILED_TO_START, reason)
        else:
            ending = Ending(code, f"the official server {told(code)}", -code if code < 0 else None)
        self._output.say(f"The service has ended with exit code {ending.exit_code}: {ending.reason}")
        return ending

    def _start(
        self, listeners: Sequence[socket.socket], variables: Mapping[str, str], control: socket.socket
    ) -> subprocess.Popen[bytes]:
        descriptors = [passed.fileno() for passed in (control, *listeners)]
        pipe = self._output.pipe
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mldeploy_serving.official", "--as-gunicorn"),
                *(str(os.getpid()), str(self._init_timeout or 0), *map(str, descriptors)),
            ],
            env=variables,
            stdout=pipe and pipe[1],
            stderr=pipe and pipe[1],
            pass_fds=descriptors,
        )
        if pipe:
            os.close(pipe[1])
            self._pump = threading.Thread(target=self._copy, args=(pipe[0],), daemon=True)
            self._pump.start()
        return process

    def _copy(self, pipe: int) -> None:
        while chunk := os.read(pipe, 65536):
            self._output.write(chunk)

    def _until_ready(self) -> str:
        """Wait until `init()` is done.

        Returns:
            Why it failed to start; empty where it has started, or was stopped before that.
        """
        patience = self._init_timeout + _INIT_GRACE_S if self._init_timeout else None
        if not select.select([self._control], [], [], patience)[0]:
            self._process.kill()
            return f"init() did not finish in {self._init_timeout:g} s"
        said = self._control.recv(4096).decode()
        if said == "ready" or self._stopping:
            return ""
        return said or "the official server ended before it was ready"

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = self._stopping or signal.Signals(number)
        self._process.terminate()


def _run_gunicorn(arguments: Sequence[str]) -> None:
    """Be gunicorn's master.

    Args:
        arguments: The supervisor's process id, the seconds that `init()` may take or 0, and descriptors: of the socket
            where the supervisor is told that the script is loaded or why it is not, and of those to listen on.
    """
    init_timeout, control = float(arguments[1]), socket.socket(fileno=int(arguments[2]))
    lifeline.die_with(int(arguments[0]), control)
    _watch_init(init_timeout)
    names.fill_in()
    sys.path.append(os.environ["AML_APP_ROOT"])
    os.chdir(os.environ["AML_APP_ROOT"])
    master = os.getpid()

    from azureml_inference_server_http.constants import PACKAGE_ROOT  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from azureml_inference_server_http.log_config import load_logging_config  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-not-found,import-untyped,unused-ignore]

    load_logging_config(PACKAGE_ROOT)

    def forked(_server: object, _worker: object) -> None:
        lifeline.die_with(master, control)
        _watch_init(init_timeout)

    def ready(_worker: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        control.send(b"ready")

    class Application(WSGIApplication):  # type: ignore[misc,unused-ignore]
        def load_config(self) -> None:
            super().load_config()
            # a socket of gunicorn's own, for its command line, at a place that all services would share
            if "control_socket_disable" in self.cfg.settings:
                self.cfg.set("control_socket_disable", True)
            self.cfg.set("when_ready", lambda _server: faulthandler.cancel_dump_traceback_later())
            self.cfg.set("post_fork", forked)
            self.cfg.set("post_worker_init", ready)

        def load(self) -> Any:
            try:
                return super().load()
            except BaseException as error:
                control.send(_cause(error).encode())
                raise

    sys.argv[1:] = _gunicorn_flags(arguments[3:])
    Application("%(prog)s [OPTIONS] [APP_MODULE]").run()


def _gunicorn_flags(descriptors: Sequence[str]) -> list[str]:
    """What `azmlinfsrv` gives to gunicorn, but for the address."""
    flags = [word for descriptor in descriptors for word in ("-b", f"fd://{descriptor}")]
    flags += ["-w", os.environ.get("WORKER_COUNT", "1"), "--timeout", os.environ.get("WORKER_TIMEOUT", "300")]
    flags += ["--access-logfile", "-", "--error-logfile", os.devnull]
    if os.environ.get("WORKER_PRELOAD", "").lower() == "true":
        flags.append("--preload")
    return [*flags, _APPLICATION]


def _watch_init(seconds: float) -> None:
    """Have the stack written if `init()` is not done in time."""
    if seconds:
        faulthandler.dump_traceback_later(seconds)


def _cause(error: BaseException) -> str:
    """What was raised first: by the entry script, for the official server logs that and raises SystemExit."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    text = logs.told(error)
    if error.__traceback__ is not None and not isinstance(error, SyntaxError):  # that says it by itself
        last = traceback.extract_tb(error.__traceback__)[-1]
        text += f" ({Path(last.filename).name}, line {last.lineno})"
    return f"the official server cannot start: {text}"


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    if sys.argv[1:2] == ["--as-gunicorn"]:
        _run_gunicorn(sys.argv[2:])
    sys.exit(main())
