"""The official server, really installed, under the supervision that ours has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest
import requests

from mldeploy.engines import process
from mldeploy.engines.process import Observation, Program, Running

ECHO = """
def init():
    print("hello from init")

def run(data):
    return {"got": data}
"""
Start = Callable[..., Running]


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.02)


def settled(running: Running) -> Observation:
    seen: list[Observation] = []

    def looked() -> bool:
        seen.append(process.observe(running))
        return not seen[-1].alive or seen[-1].health == 200

    until(looked)
    return seen[-1]


def log(running: Running) -> str:
    return process.logs(Path(running.folder), 1000)


def group(running: Running) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        try:
            if os.getpgid(one.pid) == running.pid and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def post(running: Running, body: str, port: int | None = None) -> requests.Response:
    headers = {"Content-Type": "application/json"}
    return requests.post(f"http://127.0.0.1:{port or running.port}/score", body, headers=headers, timeout=20)


@pytest.fixture
def start(tmp_path: Path, official_python: Path) -> Iterator[Start]:
    """Starts a script as a deployment does: `start(script, init_timeout=, **variables)`."""
    begun: list[Running] = []

    def start(script: str = ECHO, init_timeout: float = 60, **variables: str) -> Running:
        app = tmp_path / str(len(begun)) / "app"
        app.mkdir(parents=True)
        (app / "score.py").write_text(dedent(script))
        variables = {"AZUREML_ENTRY_SCRIPT": "score.py", "AML_APP_ROOT": str(app), **variables}
        program = Program(official_python, app.parent, variables, init_timeout, "mldeploy_serving.official")
        begun.append(process.start(program, None))
        return begun[-1]

    yield start
    for running in begun:
        process.stop(running)


def test_it_answers_on_loopback_and_leaves_nothing(start: Start, tmp_path: Path) -> None:
    running = start(HOME=str(tmp_path))
    assert settled(running) == Observation(True, 200, None, "")
    answer = post(running, "[1]")
    assert (answer.status_code, answer.json()) == (200, {"got": "[1]"})
    assert answer.headers["Server"] == "gunicorn"
    assert answer.headers["x-ms-server-version"].startswith("azmlinfsrv/")
    listening = {
        connection.laddr.ip
        for one in group(running)
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert "hello from init" in log(running)
    process.stop(running)
    assert group(running) == []
    ended = process.observe(running)
    assert (ended.exit_code, ended.reason) == (0, "stopped by SIGTERM")
    assert not (tmp_path / ".gunicorn").exists()


@pytest.mark.parametrize(
    ("script", "variables", "reason"),
    [
        ("def init(:", {}, "SyntaxError: invalid syntax (score.py, line 1)"),
        (
            "import a_package_that_is_not_there",
            {},
            "ModuleNotFoundError: No module named 'a_package_that_is_not_there'",
        ),
        ("def init():\n    {}['x']\ndef run(data): pass", {}, "KeyError: 'x' (score.py, line 2)"),
        (ECHO, {"MLDEPLOY_CONTRACT": "strict"}, "MLDEPLOY_CONTRACT=strict is not for the official server"),
        (ECHO, {"MLDEPLOY_NAN": "null"}, "MLDEPLOY_NAN=null is not for the official server"),
        (ECHO, {"MLDEPLOY_METRICS": "true"}, "MLDEPLOY_METRICS=true is not for the official server"),
        (ECHO, {"MLDEPLOY_REQUEST_LOG": "json"}, "MLDEPLOY_REQUEST_LOG=json is not for the official server"),
        (ECHO, {"MLDEPLOY_SCORING_GRACE_MS": "10"}, "MLDEPLOY_SCORING_GRACE_MS is not for the official server"),
        (ECHO, {"WORKER_COUNT": "none"}, "WORKER_COUNT=none is not a whole number"),
    ],
)
def test_what_cannot_start_says_why(start: Start, script: str, variables: dict[str, str], reason: str) -> None:
    running = start(script, **variables)
    ended = settled(running)
    assert ended.exit_code == 3
    assert reason in ended.reason
    assert ended.reason in log(running)
    assert group(running) == []


@pytest.mark.parametrize("preload", ["false", "true"])
def test_an_init_that_hangs_is_ended_with_its_stack(start: Start, preload: str) -> None:
    running = start("import time\ndef init():\n    time.sleep(600)\ndef run(data): pass", 4, WORKER_PRELOAD=preload)
    ended = settled(running)
    assert (ended.exit_code, ended.reason) == (3, "init() did not finish in 4 s")
    assert "score.py" in log(running)
    assert "in init" in log(running)
    until(lambda: group(running) == [])


def test_nothing_outlives_the_supervisor(start: Start) -> None:
    running = start()
    settled(running)
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: group(running) == [])


def test_workers_are_its_own(start: Start) -> None:
    """Their number and preloading come from v1's variables; one that dies is replaced by gunicorn."""
    running = start(
        """
        import os
        def init():
            print("init is called")
        def run(data):
            if data == "die":
                os._exit(9)
            return os.getpid()
        """,
        WORKER_COUNT="2",
        WORKER_PRELOAD="true",
    )
    settled(running)
    assert log(running).count("init is called") == 1
    until(lambda: len(group(running)) == 4)  # the supervisor, gunicorn's master, two workers
    with pytest.raises(requests.ConnectionError):
        post(running, "die")
    assert post(running, "x").status_code == 200
    until(lambda: len(group(running)) == 4)


def test_a_health_port_of_its_own(start: Start, free_port: int) -> None:
    running = start(SEPERATE_HEALTH_ENDPOINT="true", HEALTH_PORT=str(free_port))
    settled(running)
    assert requests.get(f"http://127.0.0.1:{free_port}/", timeout=20).text == "Healthy"
    assert post(running, "[1]", free_port).json() == {"got": "[1]"}


def test_what_scripts_import_is_there(start: Start, tmp_path: Path) -> None:
    """The packages that our server fills are filled here too; what is the official server's comes from itself."""
    running = start(
        """
        from azureml.core.model import Model
        from azureml.contrib.services.aml_request import AMLRequest, rawhttp
        from azureml.contrib.services.aml_response import AMLResponse

        def init():
            print(Model.get_model_path.__module__, AMLResponse.__module__)

        @rawhttp
        def run(request):
            return AMLResponse(request.get_data(as_text=True)[::-1], 201)
        """
    )
    settled(running)
    answer = post(running, "abc")
    assert (answer.status_code, answer.text) == (201, "cba")
    assert "mldeploy_serving.entry.model_path azureml_inference_server_http.api.aml_response" in log(running)


@pytest.mark.parametrize("flags", [["--reload"], ["--debug-port", "5678"]])
def test_flags_it_has_nothing_for(official_python: Path, tmp_path: Path, flags: list[str]) -> None:
    exit_file = tmp_path / "exit.json"
    command = [str(official_python), "-m", "mldeploy_serving.official", "--port", "0", "--exit-file", str(exit_file)]
    done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert json.loads(exit_file.read_text())["reason"] == "--reload and --debug-port are flags of mldeploy's own server"
