"""The process engine: a package runs as a process group of this machine, without Docker.

A service is a supervisor (`python -m mldeploy_serving`) and its workers, in a session of their own, so that it
outlives the command that deployed it as v1's local container did. The engine binds the listening socket and
hands it over: the port is known before the process runs, nobody can take it in between, and a taken one is an
error of the deploying command, not a line in a log.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mldeploy.engines.loopback import health, listen

STOP_GRACE_S = 5.0
_LOOK_AGAIN_S = 0.01

# A container would start with nothing of the shell's environment; a process needs these to run at all, to reach
# a proxy or certificate store as other programs here do, and to keep the machine's limits on numeric libraries.
_PASSED_ON = ("HOME", "LANG", "TMPDIR", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_PASSED_ON_PREFIXES = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "SSL_CERT_", "REQUESTS_CA_")
_PASSED_ON_SUFFIXES = ("_proxy", "_PROXY")

# Popen objects of services started here: what has ended is reaped through them.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """Services outlive this process on purpose; Popen would warn of each that runs on."""
    for child in _children.values():
        child.returncode = 0


@dataclass(frozen=True)
class Program:
    """What is to run.

    Args:
        python: The interpreter of the service's environment.
        folder: The instance's own folder; `app/` in it is the app root and the working directory.
        variables: Added to the environment of the process.
        init_timeout: Seconds `init()` may take.
        module: The scoring server: what `python -m` runs. Its flags are those of `mldeploy_serving`.
    """

    python: Path
    folder: Path
    variables: Mapping[str, str]
    init_timeout: float
    module: str = "mldeploy_serving"


@dataclass(frozen=True)
class Running:
    """A started program, as it can be found again by another process.

    The folder is in the supervisor's command line and in no other: a pid alone may have been given to somebody
    else since, and a start time moves when the clock is set.
    """

    pid: int
    port: int
    folder: str
    host: str


@dataclass(frozen=True)
class Observation:
    """What is seen of a program now.

    Args:
        alive: The supervisor runs.
        health: The status of `GET /`; None where nothing answered in time.
        exit_code: The worker's exit code, or minus its signal; None while it runs or where nobody could record
            it (the whole group was killed).
        reason: In one line, why it ended.
    """

    alive: bool
    health: int | None
    exit_code: int | None
    reason: str


def start(program: Program, port: int | None) -> Running:
    """Start a program on a loopback port.

    Args:
        program: What to run.
        port: The port to listen on; None lets the system choose one.

    Returns:
        How to find it again.

    Raises:
        WebserviceException: The port is taken or not allowed.
    """
    with listen(port) as listener:
        command = [
            str(program.python),
            *("-m", program.module),
            *("--fd", str(listener.fileno())),
            *("--log-file", str(log_file(program.folder))),
            *("--exit-file", str(_exit_file(program.folder))),
            *("--init-timeout", str(program.init_timeout)),
        ]
        child = subprocess.Popen(
            command,
            cwd=program.folder / "app",
            env=_environment(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )
        _children[child.pid] = child
        chosen: int = listener.getsockname()[1]
    return Running(child.pid, chosen, str(program.folder), platform.node())


def elsewhere(running: Running) -> bool:
    """Whether it was started on another machine, as far as can be told from here."""
    return running.host != platform.node() and not Path(running.folder).exists()


def observe(running: Running) -> Observation:
    """Look at a program. What does not answer `GET /` within two seconds counts as not answering."""
    if _alive(running):
        return Observation(True, health(running.port)[0], None, "")
    try:
        ended = json.loads(_exit_file(Path(running.folder)).read_text())
    except (OSError, ValueError):
        return Observation(False, None, None, "killed from outside: it left no exit code")
    return Observation(False, None, ended["exit_code"], ended["reason"])


def stop(running: Running) -> None:
    """End a program and all of its process group; returns when it is gone. Ending an ended one does nothing."""
    if not _alive(running):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        if _gone(running.pid, STOP_GRACE_S):
            break
    # the worker may outlive its supervisor for a moment: nothing of the group is left when this returns
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)
    _alive(running)  # reaps it, if it was started here


def remove(folder: Path) -> None:
    """End what runs out of an instance's folder, whoever started it, and remove the folder."""
    for found in psutil.process_iter(["cmdline"]):
        if _names(found.info["cmdline"] or (), str(folder)):
            stop(Running(found.pid, 0, str(folder), ""))
    shutil.rmtree(folder, ignore_errors=True)


def log_file(folder: Path) -> Path:
    """Where the program's output goes; the server rotates it to `log.1`, `log.2`, `log.3`."""
    return folder / "log"


def logs(folder: Path, num_lines: int) -> str:
    """The last `num_lines` lines of output, over the rotated files too."""
    lines: list[str] = []
    newest = log_file(folder)
    for path in (newest, *(newest.with_name(f"log.{age}") for age in (1, 2, 3))):
        if len(lines) >= num_lines or not path.exists():
            break
        lines = path.read_text(errors="replace").splitlines(keepends=True) + lines
    return "".join(lines[-num_lines:]) if num_lines > 0 else ""


def _exit_file(folder: Path) -> Path:
    return folder / "exit.json"


def _environment(program: Program) -> dict[str, str]:
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES) or name.endswith(_PASSED_ON_SUFFIXES)
    }
    binaries = f"{program.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**passed_on, "PATH": binaries, **program.variables}


def _alive(running: Running) -> bool:
    child = _children.get(running.pid)
    if child is not None and child.poll() is not None:
        del _children[running.pid]
    try:
        words = psutil.Process(running.pid).cmdline()
        # One that is just beginning or just ending has none, but is a session's leader as ours are.
        return _names(words, running.folder) if words else os.getsid(running.pid) == running.pid
    except (psutil.Error, ProcessLookupError):  # a zombie too
        return False


def _names(words: Sequence[str], folder: str) -> bool:
    """Whether a command line is that of the supervisor of the instance in a folder.

    The folder's own name, which no other instance has, decides: its place may be seen under another path.
    """
    return any(word.endswith(f"/{_exit_file(Path(Path(folder).name))}") for word in words)


def _gone(pid: int, seconds: float) -> bool:
    """Whether a process is gone in time, with its port.

    A zombie counts as gone: its parent may be another process that lives on. One that is just ending does not: its
    command line goes before its sockets do.
    """
    deadline = time.monotonic() + seconds
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_AGAIN_S)
    except psutil.NoSuchProcess:
        pass
    return True
