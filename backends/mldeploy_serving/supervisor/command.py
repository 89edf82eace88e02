"""`python -m mldeploy_serving`: flags, listening sockets, the first worker, and then the service."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mldeploy_serving.settings import Settings, StartError
from mldeploy_serving.supervisor.ending import FAILED_TO_START, Ending
from mldeploy_serving.supervisor.memory_limit import MemoryLimit
from mldeploy_serving.supervisor.output import Output
from mldeploy_serving.supervisor.spawning import spawn

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 5001
BACKLOG = 1024

Serve = Callable[[argparse.Namespace, Output], Ending]


def main(arguments: Sequence[str] | None = None, serve: Serve | None = None) -> int:
    """Run the service until it ends.

    Args:
        arguments: Command line without the program; None takes this process's own.
        serve: What runs it; None is this package's own server.

    Returns:
        The worker's exit code; 3 where it failed to start, 128 + N where signal N killed it.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(os, "posix_spawn"):
        parser.error("the scoring server runs on Linux and macOS")
    try:
        output = Output(options.log_file)
    except OSError as error:
        parser.error(f"the log file {options.log_file} cannot be opened: {error.strerror}")
    if options.exit_file and not options.exit_file.parent.is_dir():
        parser.error(f"the exit file {options.exit_file} cannot be written: its folder does not exist")
    if options.exit_file:
        options.exit_file.unlink(missing_ok=True)  # of an earlier run of the same container
    try:
        ending = (serve or _serve)(options, output)
    except StartError as error:
        output.say(str(error), "E")
        ending = Ending(FAILED_TO_START, str(error))
    if options.exit_file:
        ending.write(options.exit_file)
    output.finish()
    return ending.returned


def _serve(options: argparse.Namespace, output: Output) -> Ending:
    variables = variables_of(options)
    settings = Settings.read(variables)
    if options.reload and settings.worker_preload:
        raise StartError("--reload does not go with WORKER_PRELOAD")
    listeners = listen(options, settings.health_port, output)
    init_timeout = options.init_timeout or 0
    limit = MemoryLimit()  # counts from here on: a worker may be killed before the rest is imported
    another = partial(spawn, variables, None if output.pipe is None else output.pipe[1], init_timeout)
    try:
        first = another()
    except OSError as error:
        raise StartError(f"a worker cannot be started: {error}") from error
    # while it starts
    from mldeploy_serving.supervisor.service import Service

    return Service(settings, listeners, output, init_timeout, limit, reloads=options.reload).run(first, another)


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
    add("--health-port", "--health_port", type=_port, help="a second port [5000, with SEPERATE_HEALTH_ENDPOINT=true]")
    add("--worker-count", "--worker_count", type=int, help="how many processes have the script [WORKER_COUNT, else 1]")
    add("--config-file", "--config_file", type=Path, help="JSON file of environment variables [AZUREML_CONFIG_FILE]")
    add(
        *("--access-control-allow-origins", "--access_control_allow_origins"),
        help="origins, with commas between them, that browsers may call from [AML_CORS_ORIGINS]",
    )
    add("--debug-port", "--debug_port", type=_port, help="wait there for a debugger, by debugpy [AZUREML_DEBUG_PORT]")
    add("--debug-host", help="address where the debugger is waited for [MLDEPLOY_DEBUG_HOST, else 127.0.0.1]")
    add("--reload", action="store_true", help="load the script again when it, or a Python file beside it, changes")
    add("--log-file", type=Path, help="the workers' stdout and stderr go there; 10 MB, then FILE.1 to FILE.3")
    add("--exit-file", type=Path, help="how the service ended is written there, as JSON")
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


def listen(options: argparse.Namespace, health_port: int | None, output: Output) -> list[socket.socket]:
    """The listening sockets: the service's, and the second one where there is one.

    Raises:
        StartError: An address cannot be listened on.
    """
    listeners = [_listener(options)]
    if health_port:
        listeners.append(_bound(options.host, health_port))
    for listener in listeners:
        output.say(f"Listening on http://{_place(*listener.getsockname()[:2])}")
    return listeners


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.fd is None:
        return _bound(options.host, options.port)
    try:
        listener = socket.socket(fileno=options.fd)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.close()
            raise OSError(errno.EINVAL, "it is a socket that does not listen")
    except OSError as error:
        raise StartError(f"cannot listen on file descriptor {options.fd}: {_told(error)}") from error
    os.set_inheritable(options.fd, False)
    return listener


def _told(error: OSError) -> str:
    """Without what `socket.create_server` adds to it."""
    return (error.strerror or str(error)).partition(" (while")[0]


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise StartError(f"cannot listen on {_place(host, port)}: {_told(error)}") from error


def variables_of(options: argparse.Namespace) -> dict[str, str]:
    """The workers' environment: this process's, with what flags say."""
    variables = dict(os.environ)
    said = {
        # like the official server's flag: relative to the current folder, not to the app root
        "AZUREML_ENTRY_SCRIPT": options.entry_script and options.entry_script.absolute(),
        "AZUREML_MODEL_DIR": options.model_dir,
        "AZUREML_CONFIG_FILE": options.config_file and options.config_file.absolute(),
        "AML_CORS_ORIGINS": options.access_control_allow_origins,
        "WORKER_COUNT": options.worker_count,
        "HEALTH_PORT": options.health_port,
        "AZUREML_DEBUG_PORT": options.debug_port,
        "MLDEPLOY_DEBUG_HOST": options.debug_host,
    }
    variables.update({name: str(value) for name, value in said.items() if value is not None})
    return variables
