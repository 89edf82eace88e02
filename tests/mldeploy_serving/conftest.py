"""Real server processes, started as the process engine starts them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import requests

PATIENCE_S = 20.0


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Poll until `condition` is true, and return its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    pytest.fail(f"not seen in {PATIENCE_S} s: {what}")


class Asking(threading.Thread):
    """A request under way."""

    def __init__(self, url: str, data: str) -> None:
        super().__init__()
        self._url, self._data = url, data
        self.answer: requests.Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = requests.post(self._url, self._data, timeout=PATIENCE_S)

    def result(self) -> requests.Response:
        self.join()
        assert self.answer is not None
        return self.answer


class Service:
    """A server process and the folder it runs in."""

    def __init__(self, folder: Path, flags: Sequence[str], variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.log_file = folder.with_name("log")
        self.exit_file = folder.with_name("exit.json")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AML_", "AZUREML_", "MLDEPLOY_"))}
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.port: int = listener.getsockname()[1]
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mldeploy_serving", "--fd", str(listener.fileno())),
                    *("--log-file", str(self.log_file), "--exit-file", str(self.exit_file), *flags),
                ],
                cwd=folder,
                env={**inherited, **variables},
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
        self.http = requests.Session()
        self.http.trust_env = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str = "/score", data: Any = None, **headers: str) -> requests.Response:
        """Send a request; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + path, data=data, headers=named, timeout=PATIENCE_S)

    def post(self, data: Any, content_type: str = "application/json", path: str = "/score") -> requests.Response:
        return self.ask("POST", path, data, Content_Type=content_type)

    def asking(self, data: str) -> Asking:
        """Post in a thread of its own."""
        return Asking(self.url + "/score", data)

    def until(self, condition: Callable[[], Any], what: str) -> None:
        eventually(condition, f"{what}; its log:\n{self.log()}")

    def wait_for_in_flight(self, number: int) -> None:
        """Wait until so many requests have not been answered; with MLDEPLOY_METRICS=true."""
        line = f"mldeploy_requests_in_flight {number}\n"
        self.until(lambda: line in self.ask("GET", "/metrics").text, f"{number} requests in flight")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def is_healthy(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return self.ask("GET", "/").status_code == 200
        return False

    def wait_until_healthy(self) -> None:
        def settled() -> bool:
            return self.process.poll() is not None or self.is_healthy()

        eventually(settled, "a healthy service")
        assert self.process.returncode is None, self.log()

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait_for_log(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.log().count(text) >= times, f"{text!r} in the log")

    def worker_pid(self) -> int:
        marker = "Worker with pid "
        self.wait_for_log(marker)
        return int(self.log().rsplit(marker)[1].split()[0])

    def wait(self) -> dict[str, Any]:
        """Wait for the supervisor's end; returns its record with its own exit code."""
        code = self.process.wait(PATIENCE_S)
        record: dict[str, Any] = json.loads(self.exit_file.read_text())
        return {**record, "returned": code}

    def stop(self) -> None:
        self.http.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


Serve = Callable[..., Service]


def _start(root: Path, script: str | None, *flags: str, wait: bool = True, **variables: str) -> Service:
    folder = root / "app"
    folder.mkdir(exist_ok=True)
    if script is not None:
        (folder / "score.py").write_text(dedent(script))
    service = Service(folder, flags, {"AZUREML_ENTRY_SCRIPT": "score.py", **variables})
    if wait:
        try:
            service.wait_until_healthy()
        except BaseException:
            service.stop()
            raise
    return service


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a service of this test's own: `serve(script, *flags, wait=True, **variables)`."""
    services = []

    def start(script: str | None, *flags: str, wait: bool = True, **variables: str) -> Service:
        services.append(_start(tmp_path, script, *flags, wait=wait, **variables))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture(scope="session")
def start_service() -> Callable[..., Service]:
    """Start a service that several tests share: `start_service(folder, script, *flags, wait=True, **variables)`."""
    return _start


def _shared(name: str, script: str, **variables: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
        started = _start(tmp_path_factory.mktemp(name), script, wait=True, **variables)
        yield started
        started.stop()

    return service


_plain = _shared(
    "plain",
    """
    import asyncio, collections, concurrent.futures, datetime, sys, time
    pool = concurrent.futures.ThreadPoolExecutor(2)
    def init():
        print("printed by init")
    def run(data):
        if data.startswith("!"):
            return eval(data[1:])
        return {"got": data}
    def fail(error):
        raise error
    async def later(value):
        await asyncio.sleep(0)
        return value
    """,
    AML_CORS_ORIGINS="https://a.example, https://b.example",
)
_decorated = _shared(
    "decorated",
    """
    import numpy as np
    import pandas as pd
    from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
    from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
    from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
    from inference_schema.schema_decorators import input_schema, output_schema
    def init():
        pass
    @input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
    @input_schema("frame", PandasParameterType(pd.DataFrame({"a": [1]})))
    @input_schema("inner", StandardPythonParameterType({"x": NumpyParameterType(np.array([1.0]))}))
    @output_schema(NumpyParameterType(np.array([3.0])))
    def run(data, frame=None, inner=None, fail=False):
        if fail:
            raise ValueError("by run itself")
        return data.sum(axis=1)
    """,
    SERVICE_NAME='say "hi"',
    SERVICE_VERSION="7",
)
_raw = _shared(
    "raw",
    """
    from azureml.contrib.services.aml_request import AMLRequest, rawhttp
    from azureml_inference_server_http.api.aml_response import AMLResponse
    from werkzeug.wrappers import Response
    def init():
        pass
    @rawhttp
    def run(request):
        assert isinstance(request, AMLRequest)
        wanted = request.headers.get("X-Want")
        if wanted == "form":
            return {"form": request.form.to_dict(), "files": {k: f.read().hex() for k, f in request.files.items()}}
        if wanted == "empty":
            return AMLResponse(None, 201)
        if wanted == "image":
            return AMLResponse(request.get_data(), 200, {"Content-Type": "image/png", "X-Two": "1, 2"})
        if wanted == "failing":
            return AMLResponse("no", 503)
        if wanted == "json":
            return AMLResponse({"a": 1}, 200, {}, True)
        if wanted == "werkzeug":
            return Response(iter([b"a", b"", b"b"]), 202, {"Access-Control-Allow-Origin": "*"})
        return {
            "method": request.method, "full_path": request.full_path, "args": request.args.to_dict(flat=False),
            "json": request.get_json(silent=True), "data": request.data.decode("latin-1"),
            "type": request.content_type, "header": request.headers.get("X-Some-Thing"),
            "remote": request.remote_addr,
        }
    """,
)
