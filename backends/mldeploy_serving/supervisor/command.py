"""The parent process: starts the worker, keeps its log, passes signals on and records how it ended.

It imports little, for it is alive as long as the service is. It and its worker share two things: a socket pair
(the worker says `ready` or why it fails; its end of file tells the worker that the supervisor is gone) and,
with a log file, the pipe that is the worker's stdout and stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mldeploy_serving.supervisor.rotation import RotatedLog

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 5001
BACKLOG = 1024
FAILED_TO_START = 3
# The worker ends by itself in these times; the supervisor only helps where the interpreter itself hangs.
INIT_GRACE_S = 1.0
STOP_GRACE_S = 32.0

_CHUNK = 65536


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until it ends.

    Args:
        arguments: Command line without the program; None takes this process's own.

    Returns:
        The worker's exit code; 3 where it failed to start, 128 + N where signal N killed it.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(os, "posix_spawn"):
        parser.error("the scoring server runs on Linux and macOS")
    try:
        log = RotatedLog(options.log_file) if options.log_file else None
    except OSError as error:
        parser.error(f"the log file {options.log_file} cannot be opened: {error.strerror}")
    if options.exit_file and not options.exit_file.parent.is_dir():
        parser.error(f"the exit file {options.exit_file} cannot be written: its folder does not exist")
    try:
        listener = _listener(options)
    except OSError as error:
        place = _place(options.host, options.port) if options.fd is None else f"file descriptor {options.fd}"
        reason = f"cannot listen on {place}: {error.strerror}"
        ending = Ending(FAILED_TO_START, reason, None)
        _say(log, reason)
    else:
        _say(log, f"Listening on http://{_place(*listener.getsockname()[:2])}")
        supervisor = Supervisor(_variables(options), listener, log, options.init_timeout)
        ending = supervisor.watch()
    if options.exit_file:
        ending.write(options.exit_file)
    return ending.exit_code if ending.exit_code >= 0 else 128 - ending.exit_code


class Ending:
    """How the worker ended.

    Args:
        exit_code: Its exit code, or minus the signal that killed it.
        reason: Why, in one line.
        signal_number: The signal that killed it, if one did.
    """

    def __init__(self, exit_code: int, reason: str, signal_number: int | None) -> None:
        self.exit_code = exit_code
        self.reason = reason
        self.signal_number = signal_number

    def write(self, path: Path) -> None:
        """Write it as JSON; a reader never sees half a file."""
        record = {"exit_code": self.exit_code, "reason": self.reason, "signal": self.signal_number}
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(record) + "\n", encoding="utf-8")
        unfinished.replace(path)


class Supervisor:
    """One worker, watched from its start to its end.

    Args:
        variables: The worker's environment.
        listener: The listening socket; it is the worker's from then on.
        log: Where the worker's output goes; None lets it write to this process's own stdout and stderr.
        init_timeout: Seconds until the worker has to be ready; None is for ever.
    """

    def __init__(
        self,
        variables: dict[str, str],
        listener: socket.socket,
        log: RotatedLog | None,
        init_timeout: float | None,
    ) -> None:
        self._log = log
        self._init_timeout = init_timeout
        self._selector = selectors.DefaultSelector()
        self._catch_signals()
        self._control, far_control = socket.socketpair()
        self._output: int | None
        self._output, far_output = os.pipe() if log else (None, None)
        self._pid = _spawn(variables, listener, far_control, far_output, init_timeout)
        for ours, reader in ((self._control, self._read_control), (self._output, self._read_output)):
            if ours is not None:
                self._watch(ours, reader)
        self._received = b""
        self._ready = False
        self._reason = ""
        self._stopping: signal.Signals | None = None
        self._deadline = time.monotonic() + init_timeout + INIT_GRACE_S if init_timeout else None
        self._ending: Ending | None = None

    def watch(self) -> Ending:
        """Wait for the worker's end."""
        while self._ending is None:
            patience = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            for key, _ in self._selector.select(patience):
                key.data()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._end_by_force()
        return self._ending

    def _catch_signals(self) -> None:
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        self._woken, self._waker = woken, waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, _wake_only)
        self._watch(woken, self._read_signals)

    def _watch(self, file: socket.socket | int, reader: Callable[[], None]) -> None:
        os.set_blocking(file if isinstance(file, int) else file.fileno(), False)
        self._selector.register(file, selectors.EVENT_READ, reader)

    def _read_signals(self) -> None:
        for number in set(self._woken.recv(4096)):
            if number == signal.SIGCHLD:
                self._reap()
            else:
                self._stop(signal.Signals(number))

    def _stop(self, received: signal.Signals) -> None:
        if self._stopping is not None:
            if received is signal.SIGINT:  # whoever types Ctrl-C again does not want to wait
                self._deadline = time.monotonic()
            return
        self._stopping = received
        self._deadline = time.monotonic() + STOP_GRACE_S
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)

    def _reap(self) -> None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return
        self._read_control()
        if self._output is not None:
            self._read_output()
        self._ending = self._judge(os.waitstatus_to_exitcode(status))
        _say(self._log, f"The worker has ended with exit code {self._ending.exit_code}: {self._ending.reason}")

    def _judge(self, code: int) -> Ending:
        if code < 0:
            reason = self._reason or f"the worker was killed by {signal.Signals(-code).name}"
            return Ending(FAILED_TO_START if self._stopping is signal.SIGABRT else code, reason, -code)
        if self._stopping is not None:
            return Ending(code, self._reason or f"stopped by {self._stopping.name}", None)
        if not self._ready and code == 0:
            code = FAILED_TO_START
        return Ending(code, self._reason or "the worker ended by itself (os._exit in the entry script?)", None)

    def _read_control(self) -> None:
        """Lines of JSON: `{"ready": true}` or `{"reason": "why I end"}`."""
        try:
            chunk = self._control.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self._forget(self._control)
        *lines, self._received = (self._received + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._reason = message.get("reason", self._reason)
            if message.get("ready"):
                self._ready = True
                self._deadline = None if self._stopping is None else self._deadline

    def _read_output(self) -> None:
        """All there is now. A process that the worker left behind may hold the pipe: end of file is not waited for."""
        assert self._output is not None
        assert self._log is not None
        for _ in range(64):
            try:
                chunk = os.read(self._output, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._forget(self._output)
                return
            self._log.write(chunk)

    def _forget(self, file: socket.socket | int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(file)

    def _end_by_force(self) -> None:
        if self._ending is not None:
            return  # it has just ended by itself, and its pid may be another's by now
        if self._stopping is None:
            self._reason = f"init() did not finish in {self._init_timeout:g} s, and held the interpreter"
            # faulthandler, which the worker has on, writes the stacks
            os.kill(self._pid, signal.SIGABRT)
            self._stopping = signal.SIGABRT
            self._deadline = time.monotonic() + INIT_GRACE_S
        else:
            self._reason = self._reason or "killed: it did not end in time"
            os.kill(self._pid, signal.SIGKILL)
            self._deadline = None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mldeploy_serving",
        description="Serve an entry script's init() and run() over HTTP, as Azure Machine Learning v1 did.",
    )
    add = parser.add_argument
    add("--entry-script", "--entry_script", type=Path, help="the entry script [AZUREML_ENTRY_SCRIPT, else main.py]")
    add("--model-dir", "--model_dir", type=Path, help="the model's folder [AZUREML_MODEL_DIR]")
    add("--port", type=_port, default=DEFAULT_PORT, help="port to listen on [%(default)s]")
    add("--host", default=LOOPBACK, help="address to listen on [%(default)s]")
    add("--fd", type=int, help="an inherited listening socket, instead of --host and --port")
    add("--log-file", type=Path, help="the worker's stdout and stderr go there; 10 MB, then FILE.1 to FILE.3")
    add("--exit-file", type=Path, help="how the worker ended is written there, as JSON")
    add("--init-timeout", type=_seconds, help="seconds that init() may take [no limit]")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return value


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.fd is not None:
        listener = socket.socket(fileno=options.fd)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.close()
            raise OSError(errno.EINVAL, "it is a socket that does not listen")
        return listener
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)


def _variables(options: argparse.Namespace) -> dict[str, str]:
    variables = dict(os.environ)
    if options.entry_script is not None:
        # like the official server's flag: relative to the current folder, not to the app root
        variables["AZUREML_ENTRY_SCRIPT"] = str(options.entry_script.absolute())
    if options.model_dir is not None:
        variables["AZUREML_MODEL_DIR"] = str(options.model_dir)
    return variables


def _spawn(
    variables: dict[str, str],
    listener: socket.socket,
    control: socket.socket,
    output: int | None,
    init_timeout: float | None,
) -> int:
    """Start the worker; what is passed to it is closed here."""
    for passed in (listener, control):
        passed.set_inheritable(True)
    command = [
        *(sys.executable, "-m", "mldeploy_serving", "--as-worker"),
        *(str(listener.fileno()), str(control.fileno()), str(os.getpid()), str(init_timeout or 0)),
    ]
    actions = [] if output is None else [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    pid = os.posix_spawn(sys.executable, command, variables, file_actions=actions)
    listener.close()
    control.close()
    if output is not None:
        os.close(output)
    return pid


def _say(log: RotatedLog | None, message: str) -> None:
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))},{int(now * 1000) % 1000:03d}"
    line = f"{stamp} I [{os.getpid()}] mldeploy.supervisor - {message}\n".encode()
    if log:
        log.write(line)
    else:
        with contextlib.suppress(OSError):
            os.write(2, line)


def _wake_only(number: int, frame: object) -> None:
    """The wake-up socket has told the loop already."""
