"""Differences that no single request and its answer show: connections, time, limits, the log, the address."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mldeploy_serving.conftest import Engine
    from tests.mldeploy_serving.differential.conftest import Asked, Group, Reply, Server, Servers

    Receive = Callable[..., Reply]

HEALTH = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
SCORE = b"POST /score HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n"
PATIENCE_S = 30.0
UNANSWERED_S = 0.3
BODY_LIMIT_BYTES = 100 * 1024 * 1024

# one function waits until somebody opens the pipe for writing
WAITING = """
def {name}({parameter}):
    open({pipe!r}).close()
def {other}({other_parameter}):
    return "done"
"""


def connect(server: Server, *sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    for each in sent:
        connection.sendall(each)
    return connection


def is_answered(connection: socket.socket, within: float) -> bool:
    return bool(select.select([connection], [], [], within)[0])


def release(pipe: str) -> None:
    """Let the reader of a pipe go on, once there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while not was_released(pipe):
        assert time.monotonic() < deadline, "nobody reads the pipe"
        time.sleep(0.01)


def was_released(pipe: str) -> bool:
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:  # ENXIO: nobody reads it yet
        return False
    return True


@pytest.fixture
def pipes(tmp_path: Path, engine: Engine) -> list[str]:
    """One for the official server and one for ours."""
    engine.share(tmp_path)
    paths = [str(tmp_path / name) for name in ("official", "ours")]
    for path in paths:
        os.mkfifo(path)
        Path(path).chmod(0o666)  # whoever the container's user is
    return paths


@pytest.mark.holds("http.keep-alive")
def test_keep_alive(servers: Servers, scripts: dict[str, Group], receive: Receive) -> None:
    official, ours = servers.pair(scripts["undecorated"], "v1")
    with connect(official, SCORE) as connection:
        assert receive(connection).header("Connection") == "close"
        assert connection.recv(1) == b""
    with connect(ours, SCORE) as connection:
        for _ in range(2):
            reply = receive(connection)
            assert (reply.status, reply.header("Connection")) == (200, None)
            connection.sendall(SCORE)


@pytest.mark.holds("headers.no-server")
def test_server_header(servers: Servers, scripts: dict[str, Group], asking: type[Asked]) -> None:
    official, ours = (server.ask(asking()) for server in servers.pair(scripts["undecorated"], "v1"))
    assert (official.header("Server"), ours.header("Server")) == ("gunicorn", None)


def test_date(servers: Servers, scripts: dict[str, Group]) -> None:
    official, ours = servers.pair(scripts["undecorated"], "v1")
    assert official.send(b"garbage\r\n\r\n").header("Date") is None
    assert ours.send(b"garbage\r\n\r\n").header("Date") is not None
    assert official.send(SCORE).header("Date") is not None


@pytest.mark.holds("http.health-under-load")
def test_health_under_load(servers: Servers, pipes: list[str], receive: Receive) -> None:
    for start, pipe, answers in zip((servers.official, servers.ours), pipes, (False, True), strict=True):
        script = WAITING.format(name="run", parameter="data", pipe=pipe, other="init", other_parameter="")
        server = start({"score.py": script}, {})
        server.wait_until_healthy()
        with connect(server, SCORE) as scoring, connect(server, HEALTH) as health:
            assert is_answered(health, PATIENCE_S if answers else UNANSWERED_S) == answers
            release(pipe)
            assert receive(scoring).status == 200
            assert receive(health).status == 200


@pytest.mark.holds("start.starting")
def test_starting(servers: Servers, pipes: list[str], receive: Receive) -> None:
    for start, pipe, status in zip((servers.official, servers.ours), pipes, (200, 503), strict=True):
        script = WAITING.format(name="init", parameter="", pipe=pipe, other="run", other_parameter="data")
        server = start({"score.py": script}, {})
        if status == 503:
            server.wait_until_answering()
        with connect(server, HEALTH) as connection:
            assert is_answered(connection, PATIENCE_S if status == 503 else UNANSWERED_S) == (status == 503)
            release(pipe)
            assert receive(connection).status == status
        server.wait_until_healthy()


@pytest.mark.holds("run.timeout")
def test_timeout_on_time(servers: Servers, receive: Receive) -> None:
    script = """
import hashlib
def init():
    pass
def run(data):
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)  # a second that no signal ends
"""
    both = [start({"score.py": script}, {"SCORING_TIMEOUT_MS": "100"}) for start in (servers.official, servers.ours)]
    for server in both:
        server.wait_until_healthy()
    official, ours = (connect(server, SCORE) for server in both)
    assert is_answered(ours, PATIENCE_S)
    assert not is_answered(official, 0)
    replies = [receive(connection) for connection in (official, ours)]
    assert [reply.comparable() for reply in replies] == [replies[0].comparable()] * 2
    assert replies[0].body == b'{"message": "Scoring timeout after 100 ms"}'
    for connection in (official, ours):
        connection.close()


@pytest.mark.holds("workers.timeout")
def test_worker_timeout(servers: Servers, asking: type[Asked]) -> None:
    script = """
import hashlib, time
def init():
    pass
def run(data):
    while data == "python":
        time.sleep(0.01)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)  # minutes that no exception ends
"""
    answers = {
        "official": [(500, "<title>Internal Server Error</title>"), (0, "")],
        "v1": [(0, ""), (0, "")],
        "compatible": [(500, "(WORKER_TIMEOUT).")] * 2,
    }
    files = {"score.py": script}
    started = {
        name: servers.ours(files, {"WORKER_TIMEOUT": "1", "MLDEPLOY_CONTRACT": name}) for name in list(answers)[1:]
    }
    started["official"] = servers.official(files, {"WORKER_TIMEOUT": "1"})
    for name, server in started.items():
        server.wait_until_healthy()
        for body, (status, words) in zip((b"python", b"c"), answers[name], strict=True):
            reply = server.ask(asking(body=body))
            assert reply.status == status
            assert words in reply.body.decode()


@pytest.mark.holds("http.body-too-large")
def test_large_body(servers: Servers, scripts: dict[str, Group], asking: type[Asked]) -> None:
    asked = asking(body=b"x" * (BODY_LIMIT_BYTES + 1))
    official, ours = (server.ask(asked) for server in servers.pair(scripts["ids"], "v1"))
    assert (official.status, ours.status) == (200, 413)


@pytest.mark.holds("log.line")
def test_one_line(servers: Servers, scripts: dict[str, Group], asking: type[Asked]) -> None:
    for server, lines in zip(servers.pair(scripts["undecorated"], "v1"), (2, 1), strict=True):
        before, later = (server.log().count(text) for text in ("POST /score", "GET /score"))
        server.ask(asking())
        server.ask(asking("GET"))
        deadline = time.monotonic() + PATIENCE_S
        while server.log().count("GET /score") == later:
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.01)
        assert server.log().count("POST /score") - before == lines


@pytest.mark.holds("start.loopback")
def test_loopback(servers: Servers, tmp_path: Path) -> None:
    told = "from azureml_inference_server_http.constants import DEFAULT_HOST; print(DEFAULT_HOST)"
    official = subprocess.run([servers.official_python, "-c", told], check=True, capture_output=True, text=True)
    assert official.stdout == "0.0.0.0\n"
    (tmp_path / "score.py").write_text("import sys\ndef init(): sys.exit()\ndef run(data): pass\n")
    command = [sys.executable, "-m", "mldeploy_serving", "--entry-script", "score.py", "--port", "0"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert re.findall(r"Listening on http://(\S+):\d+", ended.stderr) == ["127.0.0.1"]
