"""What a service tells about itself: metrics, request lines as JSON, a second port, and a debugger's way in."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve, Service

SCRIPT = """
import os, time
def init(): pass
def run(data):
    if data == "exit": os._exit(1)
    if data == "sleep": time.sleep(60)
    return 1 / int(data)
"""


def samples(service: Service) -> dict[tuple[str, str], float]:
    """Every sample by its name and its only label that says something."""
    answer = service.ask("GET", "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name.removeprefix("mldeploy_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.holds("routes.metrics")
def test_metrics_count_what_was_answered(serve: Serve) -> None:
    service = serve(SCRIPT, MLDEPLOY_METRICS="true", SCORING_TIMEOUT_MS="300")
    for data in ("1", "2", "0", "x", "sleep", "exit", b"\xff"):
        service.post(data)
    service.ask("PUT", "/score")
    service.wait_for_log("ready for serving traffic", times=2)
    seen = samples(service)
    assert {status: seen["requests_total", status] for status in ("200", "400", "500")} == {
        "200": 2,
        "400": 1,
        "500": 4,
    }
    errors = {kind: seen["errors_total", kind] for kind in ("client", "script", "server", "timeout", "worker")}
    assert errors == {"client": 1, "script": 2, "server": 0, "timeout": 1, "worker": 1}
    assert seen["request_duration_seconds_count", ""] == seen["request_duration_seconds_bucket", "+Inf"] == 7
    assert 0.3 < seen["request_duration_seconds_sum", ""] < 5
    assert seen["request_duration_seconds_bucket", "0.25"] < 7
    assert seen["worker_restarts_total", ""] == 1
    assert seen["requests_in_flight", ""] == seen["requests_queued", ""] == 0


def test_metrics_tell_what_waits(serve: Serve, tmp_path: Path) -> None:
    script = SCRIPT.replace('if data == "sleep": time.sleep(60)', "while not os.path.exists('go'): time.sleep(0.005)")
    service = serve(script, MLDEPLOY_METRICS="true")
    asked = [service.asking("1") for _ in range(3)]
    service.wait_for_in_flight(3)
    assert samples(service)["requests_queued", ""] == 2
    assert "/metrics" not in service.log()
    (tmp_path / "app" / "go").touch()
    assert [asking.result().status_code for asking in asked] == [200, 200, 200]


@pytest.mark.holds("routes.metrics")
def test_there_are_no_metrics_unless_asked_for(plain: Service) -> None:
    assert plain.ask("GET", "/metrics").status_code == 404


@pytest.mark.holds("log.json")
def test_request_lines_as_json(serve: Serve) -> None:
    service = serve(SCRIPT, MLDEPLOY_REQUEST_LOG="json")
    service.ask("POST", "/score?secret=1", "4", x_request_id="the-id", x_ms_client_request_id="theirs")
    service.ask("PUT", "/score")
    service.post("0")
    service.wait_for_log('"status": 500')
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    assert len(lines) == 2
    first = lines[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert 0 <= first.pop("run_ms") <= first.pop("duration_ms") < 5000
    assert first == {
        "request_id": "the-id",
        "client_request_id": "theirs",
        "method": "POST",
        "path": "/score",
        "status": 200,
        "failed": False,
        "request_bytes": 1,
        "response_bytes": 4,
    }
    assert (lines[1]["status"], lines[1]["failed"], lines[1]["run_ms"]) == (500, True, None)
    assert "secret" not in service.log()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.not_on("docker", "it publishes the port of the service, and no other")
@pytest.mark.holds("start.health-port")
def test_a_second_port_answers_the_same(serve: Serve) -> None:
    port = free_port()
    service = serve(SCRIPT, SEPERATE_HEALTH_ENDPOINT="true", HEALTH_PORT=str(port))
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=20).text == "Healthy"
    assert requests.post(f"http://127.0.0.1:{port}/score", "2", timeout=20).json() == 0.5
    service.signal(signal.SIGTERM)
    assert service.wait()["returned"] == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/", timeout=20)


@pytest.mark.not_on("docker", "a container has all ports to itself")
@pytest.mark.holds("start.port-taken")
def test_a_second_port_that_is_taken_is_told(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = serve(SCRIPT, SEPERATE_HEALTH_ENDPOINT="true", HEALTH_PORT=str(port), wait=False)
        ended = service.wait()
    assert ended["exit_code"] == 3
    assert ended["reason"] == f"cannot listen on 127.0.0.1:{port}: Address already in use"


class Debugger:
    """As much of the Debug Adapter Protocol as it takes to attach."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), timeout=20)
        self._answers = self._socket.makefile("rb")
        self._sent = 0

    def ask(self, command: str, **arguments: Any) -> None:
        self._sent += 1
        request = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def wait_for(self, name: str) -> None:
        """An event of that name, or the response to a command of that name."""
        while True:
            size = int(self._answers.readline().split(b":")[1])
            self._answers.readline()
            message = json.loads(self._answers.read(size))
            if name in {message.get("event"), message.get("command")}:
                return

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


@pytest.mark.not_on("docker", "it publishes the port of the service, and no other")
@pytest.mark.holds("start.debug-port")
def test_a_debugger_is_waited_for(serve: Serve) -> None:
    port = free_port()
    service = serve("print('imported')\n" + SCRIPT, "--debug-port", str(port), wait=False)
    service.wait_for_log("Waiting for a debugger on 127.0.0.1")
    assert service.ask("GET", "/").status_code == 503
    assert "imported" not in service.log()
    debugger = Debugger(port)
    debugger.ask("initialize", adapterID="test", clientID="test")
    debugger.wait_for("initialize")
    debugger.ask("attach", justMyCode=True)
    debugger.wait_for("initialized")
    debugger.ask("configurationDone")
    service.wait_until_healthy()
    assert service.post("2").json() == 0.5
    debugger.close()


@pytest.mark.not_on("docker", "a container has addresses of its own; a package for debugging is attached to there")
def test_a_debugger_is_waited_for_at_another_address(serve: Serve) -> None:
    port = free_port()
    service = serve(SCRIPT, "--debug-port", str(port), "--debug-host", "127.0.0.2", wait=False)
    service.wait_for_log(f"Waiting for a debugger on 127.0.0.2:{port}")
    with pytest.raises(ConnectionRefusedError):
        Debugger(port)
    debugger = Debugger(port, "127.0.0.2")
    debugger.ask("initialize", adapterID="test", clientID="test")
    debugger.wait_for("initialize")
    debugger.close()


def test_without_debugpy_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "debugpy.py").write_text("raise ImportError")
    (tmp_path / "main.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mldeploy_serving", "--port", "0", "--debug-port", "5678"],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 3
    assert "AZUREML_DEBUG_PORT needs debugpy in the service's environment: pip install debugpy" in done.stdout


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"WORKER_COUNT": "2"}, "AZUREML_DEBUG_PORT goes with one worker only, and not with WORKER_PRELOAD"),
        ({"AZUREML_DEBUG_PORT": "0"}, "AZUREML_DEBUG_PORT=0 is not a port from 1 to 65535"),
    ],
)
def test_debugging_that_cannot_be(serve: Serve, variables: dict[str, str], reason: str) -> None:
    ended = serve(SCRIPT, wait=False, **{"AZUREML_DEBUG_PORT": "5678", **variables}).wait()
    assert (ended["exit_code"], ended["reason"]) == (3, reason)


def test_a_form_that_does_not_reach_run_is_told_once(serve: Serve) -> None:
    service = serve(SCRIPT.replace("1 / int(data)", "data"))
    for _ in range(2):
        assert service.ask("POST", "/score", {"a": "1"}).json() == ""
    service.wait_for_log("POST /score", times=2)
    assert service.log().count("A form's fields do not reach run()") == 1
