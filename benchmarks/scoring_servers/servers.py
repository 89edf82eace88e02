"""Ours and the official server, each started as its users start it, with one worker, on loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRIPTS = Path(__file__).parent / "entry"
OFFICIAL = Path(__file__).parents[2] / ".tools" / "azmlinfsrv" / "bin" / "python"
PATIENCE_S = 30.0
POLL_S = 0.002

# `azmlinfsrv` listens on every address: there is no flag for another one, only this constant.
_ON_LOOPBACK = (
    "from azureml_inference_server_http import amlserver; amlserver.DEFAULT_HOST = '127.0.0.1'; amlserver.run()"
)
# They may keep what they have compiled, and hear nothing of what this process was told.
_NOT_INHERITED = ("PYTHON", "AML_", "AZUREML_", "MLDEPLOY_", "WORKER_", "SCORING_", "GUNICORN_")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Unusable(Exception):
    """A measurement that does not count: an error or a wrong answer was among the answers."""


class Server:
    """A server process.

    Args:
        command: Its command line; `{port}` in it is where it has to listen.
        log: Where its stdout and stderr go.
        variables: Its environment variables besides the inherited ones.

    Attributes:
        port: Where it listens.
        pid: The process at the root of its tree.
        start_s: Seconds from its start to its first answer, once it has been waited for.
    """

    def __init__(self, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
        self.port = _free_port()
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        self._begun = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [each.format(port=self.port) for each in command],
                env={**inherited, **_ONE_THREAD, **variables},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.start_s = 0.0

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of the answer to a request on a connection of its own.

        Raises:
            OSError: There was none.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def wait(self, body: bytes) -> None:
        """Wait until `run()` has answered `body`.

        Raises:
            RuntimeError: It has ended, or takes too long.
        """
        while time.perf_counter() < self._begun + PATIENCE_S and self._process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("POST", "/score", body)[0] == 200:
                    self.start_s = time.perf_counter() - self._begun
                    return
            time.sleep(POLL_S)
        raise RuntimeError(f"no answer; the server's log:\n{self._log.read_text(encoding='utf-8', errors='replace')}")

    def stop(self) -> None:
        """End it with all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def ours(python: Path, script: str, folder: Path, **variables: str) -> Server:
    """Start the scoring server of mldeploy.

    Args:
        python: The environment's interpreter.
        script: The entry script's name, without its suffix.
        folder: Where its log goes.
        variables: Environment variables.
    """
    log = folder / "ours.log"
    command = [str(python), "-m", "mldeploy_serving", "--port", "{port}", "--log-file", str(log)]
    return Server([*command, "--entry-script", str(SCRIPTS / f"{script}.py")], log, variables)


def official(python: Path, script: str, folder: Path) -> Server:
    """Start `azmlinfsrv`; arguments as above."""
    command = [str(python), "-c", _ON_LOOPBACK, "--port", "{port}"]
    # the socket of gunicorn's own command line would be at one place for all
    variables = {"GUNICORN_CMD_ARGS": "--no-control-socket"}
    return Server([*command, "--entry_script", str(SCRIPTS / f"{script}.py")], folder / "official.log", variables)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
